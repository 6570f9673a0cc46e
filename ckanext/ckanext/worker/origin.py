"""Who makes a change, as far as the web request tells."""
from __future__ import annotations

import logging
from typing import Any, Optional

import flask

import ckan.model as model

log = logging.getLogger(__name__)

HEADER = "X-CKAN-Worker-Origin"
_LENGTH_MAX = 200


def of_request() -> tuple[Optional[str], Optional[str]]:
    """The user's name and the worker that the change comes from; neither outside a request."""
    if not flask.has_request_context():
        return None, None
    actor = flask.g.get("user") or None
    claimed = flask.request.headers.get(HEADER)
    if claimed is None:
        return actor, None
    try:
        # Workers skip what they caused themselves: from anybody else the header could hide a change from them.
        if not _is_sysadmin(flask.g.get("userobj")):
            return actor, None
    except Exception as error:
        # It may have been expired, or taken out of its session, meanwhile; the change counts more than where it is from.
        log.warning("The origin of a change is not known: %s cannot be read (%s)", actor, type(error).__name__)
        return actor, None
    return actor, _printable(claimed)


def _is_sysadmin(user: Any) -> bool:
    return bool(user) and user.state == model.State.ACTIVE and bool(user.sysadmin)


def _printable(text: str) -> Optional[str]:
    text = text.strip()[:_LENGTH_MAX]
    return text if text and text.isascii() and text.isprintable() else None
