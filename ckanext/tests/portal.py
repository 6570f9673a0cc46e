"""A real CKAN as the tests use it: over HTTP, with its database beside it."""
from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
import uuid
from typing import Any, Optional

# Out of the environment with all of them: CKAN reads each CKAN_… variable as a part of its ini, where a % means
# something else, and some it puts above the ini, as CKAN_SQLALCHEMY_URL.
GIVEN = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("CKAN_")}
AMQP_URL = GIVEN.get("CKAN_WORKER_TEST_AMQP_URL", "")


class Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"{status}: {body[:300]}")
        self.status = status


class Portal:
    """The portal under test."""

    def __init__(self, url: str, token: str, engine: Any) -> None:
        self.url = url
        self.token = token
        self.engine = engine

    def call(self, action: str, headers: Optional[dict] = None, token: Optional[str] = "", **data: Any) -> Any:
        """Calls an action as the sysadmin, as the owner of `token`, or with `token=None` as nobody."""
        return _open(self._request(action, json.dumps(data).encode(), headers, token))

    def get(self, action: str, token: Optional[str] = "") -> Any:
        return _open(self._request(action, None, None, token))

    def poll(self, **data: Any) -> Any:
        return self.call("worker_outbox_poll", **data)

    def bodies(self) -> list[dict]:
        return [message["body"] for message in self.poll(limit=1000)["messages"]]

    def told(self) -> list[tuple[str, str, str]]:
        """What is in the outbox, sorted: class, operation, id."""
        rows = self.sql("select routing_key, operation, entity_id from worker_outbox")
        return sorted(tuple(row) for row in rows)

    def sql(self, text: str, **values: Any) -> list[Any]:
        import sqlalchemy as sa

        with self.engine.begin() as connection:
            answer = connection.execute(sa.text(text), values)
            return answer.fetchall() if answer.returns_rows else []

    def _request(self, action: str, data: Optional[bytes], headers: Optional[dict], token: Optional[str]) -> Any:
        request = urllib.request.Request(f"{self.url}/api/3/action/{action}", data)
        request.add_header("Content-Type", "application/json")
        token = self.token if token == "" else token
        if token is not None:
            request.add_header("Authorization", token)
        for key, value in (headers or {}).items():
            request.add_header(key, value)
        return request


def name(prefix: str = "dataset") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def commit_something_else(inside, made):
    """Commits a dataset, and answers what must be the only row."""
    inside.Session.remove()
    other = made().id
    inside.Session.commit()
    return [("Package", "new", other)]


def variable(key: str) -> str:
    if not GIVEN.get(key):
        raise SystemExit(f"{key} is not set: ckanext/README.md says what the tests need")
    return GIVEN[key]


def _open(request: Any) -> Any:
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)["result"]
    except urllib.error.HTTPError as error:
        raise Refusal(error.code, error.read().decode()) from error
