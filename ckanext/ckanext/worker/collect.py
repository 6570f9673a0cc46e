"""From CKAN's notifications to rows of the outbox, in the transaction of the save.

CKAN notifies before the commit, and once for each savepoint too. What it tells is kept for the transaction it belongs
to: the release of a savepoint hands it on to the enclosing one, a rollback drops it, and the commit writes it.

With the rollback of a savepoint CKAN forgets what was changed before it as well, and with its release it tells of that
as if it belonged to the savepoint. So what stands when a savepoint begins is noted then, for the enclosing one.
"""
from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple, Optional

from sqlalchemy import event, inspect
from sqlalchemy.orm import object_session

import ckan.model as model

from ckanext.worker import origin, outbox

log = logging.getLogger(__name__)

# In `session.info`: for each open SessionTransaction, what CKAN told of it.
_KEY = "ckanext.worker"

_STRENGTH = {"changed": 1, "deleted": 2, "new": 3}

_listening = False


class Change(NamedTuple):
    """What happened to one entity in one transaction."""

    routing_key: str
    operation: str
    entity_id: str
    package_id: str
    # JSON, only of what will not be there any more when it is delivered.
    payload: Optional[str] = None

    def __str__(self) -> str:
        return f"{self.routing_key} {self.entity_id} {self.operation}"


Changes = dict  # of (routing key, entity id) to Change


def listen() -> None:
    """Registers for the ends of transactions; once, however often CKAN configures its plugins."""
    global _listening
    if _listening:
        return
    for sessions in (model.Session, model.meta.create_local_session):
        event.listen(sessions, "after_transaction_create", _after_transaction_create)
        event.listen(sessions, "before_commit", _before_commit)
        event.listen(sessions, "after_commit", _after_commit)
        event.listen(sessions, "after_transaction_end", _after_transaction_end)
    _listening = True


def note(entity: Any, operation: Any) -> None:
    """Keeps a notification until the commit. Never raises: on CKAN 2.12 that would fail the user's save."""
    try:
        if not isinstance(entity, (model.Package, model.Resource)):
            return
        session = object_session(entity) or model.Session()
        if session.get_transaction() is None:
            session.connection()
        _keep(session, _innermost(session), entity, str(operation))
    except Exception:
        log.exception("A change of %s is NOT recorded for workers", _name(entity))


def _keep(session: Any, transaction: Any, entity: Any, operation: str) -> None:
    changes = session.info.setdefault(_KEY, {}).setdefault(transaction, {})
    _add(changes, _change(session, entity, operation))


def _change(session: Any, entity: Any, operation: str) -> Change:
    if operation == "changed" and entity.state == model.State.DELETED:
        operation = "deleted"
    is_package = isinstance(entity, model.Package)
    return Change(
        routing_key="Package" if is_package else "Resource",
        operation=operation,
        entity_id=entity.id,
        package_id=entity.id if is_package else entity.package_id,
        payload=_last_words(session, entity),
    )


def _last_words(session: Any, entity: Any) -> Optional[str]:
    """The payload of an entity that this transaction removes from the database; nobody can read it later."""
    state = inspect(entity)
    if not (state.deleted or state.was_deleted):
        return None
    try:
        # A query that fails outside a savepoint would take the user's transaction with it.
        with session.connection().begin_nested():
            return json.dumps(entity.as_dict(), default=str)
    except Exception as error:
        log.warning("%s is gone and could not be rendered: its message carries the id only (%s)", _name(entity), error)
        return None


def _add(changes: Changes, change: Change) -> None:
    """Adds a change; of two of the same entity the stronger operation counts."""
    key = (change.routing_key, change.entity_id)
    known = changes.get(key)
    if known is None:
        changes[key] = change
        return
    stronger = change if _STRENGTH.get(change.operation, 0) > _STRENGTH.get(known.operation, 0) else known
    changes[key] = stronger._replace(payload=change.payload or known.payload)


def _after_transaction_create(session: Any, transaction: Any) -> None:
    # SQLAlchemy has flushed: all that was changed before this savepoint is among what CKAN will tell of.
    cache = getattr(session, "_object_cache", None)
    if not transaction.nested or not cache:
        return
    enclosing = _enclosing(transaction)
    for entity, operation in _told_at_the_end(cache):
        try:
            if isinstance(entity, (model.Package, model.Resource)):
                _keep(session, enclosing, entity, operation)
        except Exception:
            log.exception("A change of %s is NOT recorded for workers", _name(entity))


def _told_at_the_end(cache: dict[str, Any]) -> list[tuple[Any, str]]:
    """What CKAN would notify of at the commit: the entities, and the datasets that they belong to."""
    told = [(entity, operation) for operation in ("new", "deleted", "changed") for entity in cache[operation]]
    for entity, _ in tuple(told):
        if isinstance(entity, model.Package) or not hasattr(entity, "related_packages"):
            continue
        try:
            told.extend((package, "changed") for package in entity.related_packages())
        except Exception:
            log.exception("A change of the dataset of %s is NOT recorded for workers", _name(entity))
    return told


def _before_commit(session: Any) -> None:
    frames = session.info.get(_KEY)
    # A savepoint is released, not committed: its changes may still be rolled back with the rest.
    if not frames or session.in_nested_transaction():
        return
    changes = list(frames.pop(session.get_transaction(), {}).values())
    if not changes:
        return
    try:
        outbox.write(session.connection(), changes, *origin.of_request())
    except outbox.NotUndone:
        log.error("NOT recorded for workers, and NOT SAVED: %s", ", ".join(map(str, changes)))
        raise
    except Exception as error:
        log.error("NOT recorded for workers: %s (%s)", ", ".join(map(str, changes)), outbox.reason(error))


def _after_commit(session: Any) -> None:
    frames = session.info.get(_KEY)
    if not frames:
        return
    released = session.get_nested_transaction()
    if released is not None:
        enclosing = frames.setdefault(_enclosing(released), {})
        for change in frames.pop(released, {}).values():
            _add(enclosing, change)
        return
    late = frames.pop(session.get_transaction(), {})
    if late:
        log.error("Told of too late, and NOT recorded for workers: %s", ", ".join(map(str, late.values())))


def _after_transaction_end(session: Any, transaction: Any) -> None:
    # What is still here was neither committed nor handed on, so it was rolled back.
    session.info.get(_KEY, {}).pop(transaction, None)


def _innermost(session: Any) -> Any:
    return session.get_nested_transaction() or session.get_transaction()


def _enclosing(transaction: Any) -> Any:
    outer = transaction.parent
    # Between savepoints SQLAlchemy has transactions of its own that are neither.
    while outer.parent is not None and not outer.nested:
        outer = outer.parent
    return outer


def _name(entity: Any) -> str:
    try:
        return f"{type(entity).__name__} {entity.id}"
    except Exception:
        return type(entity).__name__
