"""The broker's side of the relay's tests: queues to read from, and a road to the broker that can be closed."""
from __future__ import annotations

import contextlib
import json
import select
import socket
import threading
import time
from typing import Any, Iterator
from urllib.parse import urlsplit

import pika

import portal


class Exchange:
    """A topic exchange of one test, not declared: the relay makes it."""

    def __init__(self) -> None:
        self.name = portal.name("exchange")
        self._connection = pika.BlockingConnection(pika.URLParameters(portal.AMQP_URL))
        self._channel = self._connection.channel()

    def declare(self) -> None:
        """As in 2011; raises if there is one of another kind."""
        self._channel.exchange_declare(self.name, exchange_type="topic", durable=True)

    def queue(self, routing_key: str = "*") -> str:
        self.declare()
        queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(queue, self.name, routing_key)
        return queue

    def read(self, queue: str) -> list[tuple[Any, Any, dict]]:
        """What is in the queue now: delivery, properties, body."""
        messages = []
        while True:
            method, properties, body = self._channel.basic_get(queue, auto_ack=True)
            if method is None:
                return messages
            messages.append((method, properties, json.loads(body)))

    def wait(self, queue: str, count: int) -> list[tuple[Any, Any, dict]]:
        """Reads until that many have arrived."""
        messages: list[Any] = []

        def arrived() -> bool:
            # One after another: a consumer would be given more than are asked for, and take them along at its end.
            while len(messages) < count:
                method, properties, body = self._channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return False
                messages.append((method, properties, json.loads(body)))
            return True

        assert eventually(arrived), f"{len(messages)} of {count} messages have arrived"
        return messages

    def close(self) -> None:
        self._channel.exchange_delete(self.name)
        self._connection.close()


class Road:
    """A port of its own that leads to the broker while it is open."""

    def __init__(self) -> None:
        url = urlsplit(portal.AMQP_URL)
        self._broker = (url.hostname, url.port or 5672)
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self._address = taken.getsockname()
        login = f"{url.username}:{url.password}@" if url.username else ""
        self.url = f"amqp://{login}127.0.0.1:{self._address[1]}{url.path}"
        self.password = url.password

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Lets connections through; at the end all of them break."""
        closed = threading.Event()
        listener = socket.create_server(self._address, reuse_port=False)
        thread = threading.Thread(target=self._serve, args=(listener, closed))
        thread.start()
        try:
            yield
        finally:
            closed.set()
            thread.join()

    def _serve(self, listener: socket.socket, closed: threading.Event) -> None:
        peers: dict[socket.socket, socket.socket] = {}
        while not closed.is_set():
            readable, _, _ = select.select([listener, *peers], [], [], 0.05)
            for ready in readable:
                if ready is listener:
                    near, _ = listener.accept()
                    far = socket.create_connection(self._broker)
                    peers[near], peers[far] = far, near
                elif ready in peers:
                    self._pass_on(ready, peers)
        for one in (listener, *peers):
            one.close()

    @staticmethod
    def _pass_on(ready: socket.socket, peers: dict[socket.socket, socket.socket]) -> None:
        with contextlib.suppress(OSError):
            received = ready.recv(65536)
            if received:
                peers[ready].sendall(received)
                return
        other = peers.pop(ready)
        peers.pop(other, None)
        ready.close()
        other.close()


def eventually(condition: Any, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
