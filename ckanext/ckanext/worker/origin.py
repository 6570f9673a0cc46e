"""Who makes a change, as far as the web request tells."""
from __future__ import annotations

from typing import Any, Optional

import flask

import ckan.model as model

HEADER = "X-CKAN-Worker-Origin"
_LENGTH_MAX = 200


def of_request() -> tuple[Optional[str], Optional[str]]:
    """The user's name and the worker that the change comes from; neither outside a request."""
    if not flask.has_request_context():
        return None, None
    actor = flask.g.get("user") or None
    claimed = flask.request.headers.get(HEADER)
    # Workers skip what they caused themselves: from anybody else the header could hide a change from them.
    if claimed is None or not _is_sysadmin(flask.g.get("userobj")):
        return actor, None
    return actor, _printable(claimed)


def _is_sysadmin(user: Any) -> bool:
    return bool(user) and user.state == model.State.ACTIVE and bool(user.sysadmin)


def _printable(text: str) -> Optional[str]:
    text = text.strip()[:_LENGTH_MAX]
    return text if text and text.isascii() and text.isprintable() else None
