"""A row of the outbox as the message that workers read.

The payload is rendered when the row is delivered, not in the user's save: it is what the database has committed by
then, and the save does not wait for it.
"""
from __future__ import annotations

import datetime
import json
import logging
from typing import Any, Iterable

import ckan
import ckan.model as model

log = logging.getLogger(__name__)

_CLASSES = {"Package": model.Package, "Resource": model.Resource}


class Renderer:
    """Renders the rows of one answer or one batch, each entity once."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._entities = {}
        self._payloads = {}
        wanted = {}
        for row in rows:
            wanted.setdefault(row.routing_key, set()).add(row.entity_id)
        for routing_key, ids in wanted.items():
            # Of what this version does not know, only the row is there to be told.
            found = _find(_CLASSES[routing_key], ids) if routing_key in _CLASSES else []
            self._entities.update({(routing_key, entity.id): entity for entity in found})

    def body(self, row: Any, only_id: bool = False) -> dict[str, Any]:
        """The message: in the shape of 2011, and `meta`."""
        key = (row.routing_key, row.entity_id)
        entity = self._entities.get(key)
        if entity is None:
            operation = "deleted" if row.routing_key in _CLASSES else row.operation
            payload = _gone(row)
        else:
            # Deleted and brought back before anybody was told of the first.
            is_back = row.operation == "deleted" and entity.state != model.State.DELETED
            operation = "changed" if is_back else row.operation
            if key not in self._payloads:
                self._payloads[key] = _render(entity, row)
            payload = self._payloads[key]
        return {
            "routing_key": row.routing_key,
            "operation": operation,
            "payload": _only_id(row) if only_id else payload,
            "meta": {
                "id": row.message_id,
                "ts": _utc(row.created),
                "actor": row.actor,
                "origin": row.origin,
                "ckan": ckan.__version__,
            },
        }


def _find(cls: Any, ids: Iterable[str]) -> list[Any]:
    # In any state: drafts, private and deleted datasets are announced too.
    return model.Session.query(cls).filter(cls.id.in_(list(ids))).populate_existing().all()


def _render(entity: Any, row: Any) -> dict[str, Any]:
    try:
        # A query that fails must not end the transaction that holds the rows.
        with model.Session.connection().begin_nested():
            return json.loads(json.dumps(entity.as_dict(), default=str))
    except Exception:
        # One dataset that CKAN cannot render must not hold up all the others; workers read it from CKAN anyway.
        log.exception("%s %s cannot be rendered: its message carries the id only", row.routing_key, row.entity_id)
        return _only_id(row)


def _gone(row: Any) -> dict[str, Any]:
    return json.loads(row.payload) if row.payload else _only_id(row)


def _only_id(row: Any) -> dict[str, Any]:
    payload = {"id": row.entity_id}
    if row.routing_key == "Resource":
        payload["package_id"] = row.package_id
    return payload


def _utc(moment: datetime.datetime) -> str:
    return moment.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
