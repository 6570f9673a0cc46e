"""The table `worker_outbox`: one row for each change that no worker has been told of yet."""
from __future__ import annotations

import datetime
import logging
import time
import uuid
from typing import Any, Iterable, Optional, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import UUID

log = logging.getLogger(__name__)

TO_CREATE = "ckan db upgrade -p worker"

LOOK_AGAIN_SECONDS = 10

# A MetaData of its own: the table is made by the migration, never by CKAN's `create_all`.
table = sa.Table(
    "worker_outbox",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=True),
    sa.Column("message_id", UUID(as_uuid=False), nullable=False),
    sa.Column("created", sa.DateTime(timezone=True), nullable=False),
    sa.Column("routing_key", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("entity_id", sa.Text, nullable=False),
    sa.Column("package_id", sa.Text),
    sa.Column("actor", sa.Text),
    sa.Column("origin", sa.Text),
    # Text, not jsonb: it is handed out as it is, and jsonb refuses some of what CKAN stores.
    sa.Column("payload", sa.Text),
)

_WRITTEN = [column.name for column in table.columns if column.name != "id"]

# One round trip to the database instead of three: a user waits for it.
_WRITE = (
    f"SAVEPOINT worker_outbox; INSERT INTO worker_outbox ({', '.join(_WRITTEN)}) VALUES {{rows}};"
    " RELEASE SAVEPOINT worker_outbox"
)
_ROW = f"({', '.join(['%s'] * len(_WRITTEN))})"
_UNDO = "ROLLBACK TO SAVEPOINT worker_outbox"

_IS_THERE = sa.text("select to_regclass('worker_outbox') is not null")
_UNDEFINED_TABLE = "42P01"

# When to look whether the table has appeared; None while it is there, as far as we know.
_look_again_at: Optional[float] = None


class TableMissing(Exception):
    """The migration has not been run."""

    def __str__(self) -> str:
        return f"the table worker_outbox is missing; type: {TO_CREATE}"


class NotUndone(Exception):
    """The outbox could not be written, and the transaction cannot go on.

    PostgreSQL answers the commit of such a transaction with a rollback, as if all were well: the save must fail aloud.
    """


def reason(error: BaseException) -> str:
    """What is wrong, in one line, and without the values: among them may be the payload of a private dataset."""
    return next(iter(str(getattr(error, "orig", None) or error).strip().splitlines()), type(error).__name__)


def write(connection: Any, changes: Iterable[Any], actor: Optional[str], origin: Optional[str]) -> None:
    """Writes the changes in the transaction of the connection, which goes on as before if that fails.

    Raises `NotUndone` if it cannot go on.
    """
    now = datetime.datetime.now(datetime.timezone.utc)
    rows = [
        dict(change._asdict(), message_id=str(uuid.uuid4()), created=now, actor=actor, origin=origin)
        for change in changes
    ]
    values = tuple(row[column] for row in rows for column in _WRITTEN)
    try:
        if _expected(connection):
            connection.exec_driver_sql(_WRITE.format(rows=", ".join([_ROW] * len(rows))), values)
    except sa.exc.SQLAlchemyError as error:
        _undo(connection, error)
        if getattr(getattr(error, "orig", None), "pgcode", None) != _UNDEFINED_TABLE:
            raise
        _say_missing()


def _undo(connection: Any, error: Exception) -> None:
    try:
        connection.exec_driver_sql(_UNDO)
    except sa.exc.SQLAlchemyError as failed:
        # The chain of exceptions would show the values.
        raise NotUndone(f"{reason(error)}; and to undo it: {reason(failed)}") from None


def is_there(connection: Any) -> bool:
    """Whether the migration has been run."""
    return bool(connection.execute(_IS_THERE).scalar())


def oldest(connection: Any, limit: int) -> Sequence[Any]:
    """The oldest rows, whoever else may be reading them."""
    return connection.execute(sa.select(table).order_by(table.c.id).limit(limit)).fetchall()


def take(connection: Any, limit: int, without: Iterable[str], without_ids: Iterable[int]) -> Sequence[Any]:
    """The oldest rows that nobody else has taken, locked until the transaction ends; some left out."""
    wanted = table.c.routing_key.notin_(list(without)), table.c.id.notin_(list(without_ids))
    rows = sa.select(table).where(*wanted).order_by(table.c.id).limit(limit)
    return connection.execute(rows.with_for_update(skip_locked=True)).fetchall()


def remove(connection: Any, ids: Sequence[int]) -> int:
    """Deletes rows by id and answers how many there were."""
    if not ids:
        return 0
    return connection.execute(table.delete().where(table.c.id.in_(ids))).rowcount


def clear(connection: Any) -> int:
    """Deletes all rows and answers how many there were."""
    return connection.execute(table.delete()).rowcount


def waiting(connection: Any) -> list[tuple[str, int, datetime.datetime]]:
    """For each routing key how many rows wait, and since when."""
    columns = table.c.routing_key, sa.func.count(), sa.func.min(table.c.created)
    rows = connection.execute(sa.select(*columns).group_by(table.c.routing_key).order_by(table.c.routing_key))
    return [tuple(row) for row in rows]


def _expected(connection: Any) -> bool:
    """Whether to try: not on each save while the table is known to be missing."""
    global _look_again_at
    if _look_again_at is None:
        return True
    if time.monotonic() < _look_again_at:
        return False
    if not is_there(connection):
        _look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
        return False
    _look_again_at = None
    log.warning("The table worker_outbox is there now: from here on changes are recorded for workers")
    return True


def _say_missing() -> None:
    global _look_again_at
    _look_again_at = time.monotonic() + LOOK_AGAIN_SECONDS
    log.error("Changes are NOT recorded for workers: %s", TableMissing())
