"""From the outbox to an AMQP broker: what `ckan worker relay` does.

Rows are locked, published, and deleted when the broker has confirmed them. Several relays share the work; one that
dies leaves its rows to the others, who publish at most one batch of them again.
"""
from __future__ import annotations

import logging
import random
import threading
import time
from typing import Any, Optional

from sqlalchemy.exc import SQLAlchemyError

import ckan.model as model

from ckanext.worker import outbox
from ckanext.worker.broker import Broker, Gone, Refused, Unacceptable
from ckanext.worker.message import Renderer

log = logging.getLogger(__name__)

# The rows of a batch are locked until the last of them is published.
BATCH_MAX = 20

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0


class Pause:
    """How long to wait before the next attempt: longer each time, and not at the same moment as others."""

    def __init__(self) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS

    def next(self) -> float:
        seconds = self._seconds * random.uniform(0.5, 1.0)
        self._seconds = min(2 * self._seconds, _LONGEST_PAUSE_SECONDS)
        return seconds

    def reset(self) -> None:
        self._seconds = _FIRST_PAUSE_SECONDS


class Relay:
    """Publishes the outbox until told to stop."""

    def __init__(self, broker: Broker, interval: float, stop: threading.Event) -> None:
        self._broker = broker
        self._interval = interval
        self._stop = stop
        self.published = 0
        self._pause = Pause()
        self._trouble: Optional[str] = None
        # Routing keys that the broker refuses: others must not wait for them.
        self._refused: dict[str, tuple[float, Pause]] = {}
        # Rows that the broker closes the channel for, until the relay is started again.
        self._unacceptable: set[int] = set()

    def run(self) -> None:
        """Publishes whatever comes, for ever; troubles pass."""
        while not self._stop.is_set():
            try:
                self._broker.connect()
                taken = self._batch()
                self._well()
                if not taken:
                    self._broker.rest(self._interval, self._stop)
            except (Gone, SQLAlchemyError, outbox.TableMissing) as error:
                self._say(self._sentence(error))
                self._stop.wait(self._pause.next())
        self._broker.close()

    def once(self) -> Optional[str]:
        """Publishes what is there now; answers what is wrong, if anything stays behind."""
        try:
            self._broker.connect()
            while self._batch() and not self._stop.is_set():
                pass
        except (Gone, SQLAlchemyError, outbox.TableMissing) as error:
            return self._sentence(error)
        finally:
            self._broker.close()
        return self._trouble

    def _batch(self) -> int:
        """Publishes the oldest rows that nobody else has; answers how many it took, published or not."""
        confirmed: list[int] = []
        gone: Optional[Gone] = None
        try:
            connection = model.Session.connection()
            if not outbox.is_there(connection):
                raise outbox.TableMissing()
            rows = outbox.take(connection, BATCH_MAX, self._keys_to_leave(), self._unacceptable)
            renderer = Renderer(rows)
            for row in rows:
                if self._stop.is_set():
                    break
                if row.routing_key in self._keys_to_leave():
                    continue
                try:
                    if self._publish(renderer, row):
                        confirmed.append(row.id)
                        self._refused.pop(row.routing_key, None)
                except Refused as error:
                    self._leave(row.routing_key, str(error))
                except Gone as error:
                    gone = error
                    break
            self.published += len(confirmed)
            outbox.remove(connection, confirmed)
            model.Session.commit()
        finally:
            # Also forgets the entities: the next batch must read what is committed by then.
            model.Session.remove()
        if gone is not None:
            raise gone
        return len(rows)

    def _publish(self, renderer: Renderer, row: Any) -> bool:
        """Publishes a row, with the id only if the broker wants no more; answers whether it took that."""
        try:
            self._broker.publish(renderer.body(row))
            return True
        except Unacceptable as error:
            log.warning("The broker closes the channel for %s (%s): it gets the id only", _name(row), error)
        try:
            self._broker.connect()
            self._broker.publish(renderer.body(row, only_id=True))
            return True
        except Unacceptable as error:
            self._unacceptable.add(row.id)
            self._say(f"The broker closes the channel for {_name(row)} ({error}): IT STAYS IN THE OUTBOX, row {row.id}")
        self._broker.connect()
        return False

    def _keys_to_leave(self) -> list[str]:
        now = time.monotonic()
        return [key for key, (until, _) in self._refused.items() if now < until]

    def _leave(self, key: str, why: str) -> None:
        _, pause = self._refused.get(key, (0.0, Pause()))
        self._refused[key] = (time.monotonic() + pause.next(), pause)
        self._say(f"{why}: its messages wait in the outbox")

    def _well(self) -> None:
        self._pause.reset()
        if self._trouble is not None and not self._refused and not self._unacceptable:
            log.warning("The relay works again")
            self._trouble = None

    def _say(self, trouble: str) -> None:
        """Says what is wrong, once for as long as it is the same."""
        if trouble != self._trouble:
            log.error("%s", trouble)
        self._trouble = trouble

    def _sentence(self, error: Exception) -> str:
        if isinstance(error, Gone):
            return f"The broker {self._broker} cannot be used ({error}): messages wait in the outbox"
        if isinstance(error, SQLAlchemyError):
            return f"The database cannot be used ({outbox.reason(error)})"
        return f"Nothing can be published: {error}"


def _name(row: Any) -> str:
    return f"{row.routing_key} {row.entity_id}"
