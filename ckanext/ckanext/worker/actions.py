"""The actions by which a host fetches the outbox over HTTPS, without a broker."""
from __future__ import annotations

import json
from typing import Any, Sequence

import ckan.model as model
import ckan.plugins.toolkit as tk

from ckanext.worker import outbox
from ckanext.worker.message import Renderer

LIMIT_DEFAULT = 500
LIMIT_MAX = 1000

# How large the messages of one answer may be together; a dataset of many resources is in the message of each.
SIZE_MAX_BYTES = 8 * 1024 * 1024


def sysadmins_only(context: Any, data_dict: Any) -> dict[str, Any]:
    """CKAN asks only for those who are no sysadmins: the messages hold private datasets."""
    return {"success": False, "msg": tk._("Only sysadmins may read the outbox of the workers")}


@tk.side_effect_free
def worker_outbox_poll(context: Any, data_dict: dict[str, Any]) -> dict[str, Any]:
    """The oldest messages that nobody has acknowledged.

    They come again until `worker_outbox_ack` names them. There is no cursor: a transaction that began earlier may
    commit later, and its rows, with smaller ids, appear behind those that were read already.

    :param limit: how many at most, up to 1000 (default 500)
    :returns: `messages`, each with `id` (for `worker_outbox_ack`), `message_id` and `body`; and `more`, if there are
        others: beyond the limit, or because the messages have more than 8 MB together
    """
    tk.check_access("worker_outbox_poll", context, data_dict)
    limit = _limit(data_dict.get("limit", LIMIT_DEFAULT))
    connection = _connection()
    rows = outbox.oldest(connection, limit + 1)
    messages = _messages(rows[:limit])
    return {"messages": messages, "more": len(rows) > len(messages)}


def _messages(rows: Sequence[Any]) -> list[dict[str, Any]]:
    """As many of the rows, from the first on, as an answer has room for; one at least."""
    messages: list[dict[str, Any]] = []
    renderer, size = Renderer(rows), 0
    for row in rows:
        message = {"id": row.id, "message_id": row.message_id, "body": renderer.body(row)}
        size += len(json.dumps(message))
        if messages and size > SIZE_MAX_BYTES:
            break
        messages.append(message)
    return messages


def worker_outbox_ack(context: Any, data_dict: dict[str, Any]) -> dict[str, Any]:
    """Deletes messages that have arrived.

    :param ids: the ids that `worker_outbox_poll` gave; those that are gone already do no harm
    :returns: `acknowledged`, how many were deleted
    """
    tk.check_access("worker_outbox_ack", context, data_dict)
    ids = data_dict.get("ids")
    if not isinstance(ids, list) or not all(type(id) is int and 0 <= id < 2**63 for id in ids):
        raise tk.ValidationError({"ids": ["expected a list of whole numbers"]})
    acknowledged = outbox.remove(_connection(), ids)
    model.Session.commit()
    return {"acknowledged": acknowledged}


def _connection() -> Any:
    connection = model.Session.connection()
    if not outbox.is_there(connection):
        raise tk.ValidationError({"worker_outbox": [str(outbox.TableMissing())]})
    return connection


def _limit(value: Any) -> int:
    try:
        limit = int(value)
    except (TypeError, ValueError):
        limit = 0
    if limit < 1:
        raise tk.ValidationError({"limit": ["expected a whole number, 1 or more"]})
    return min(limit, LIMIT_MAX)
