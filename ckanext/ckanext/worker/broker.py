"""The one door to pika: a connection to an AMQP broker that confirms what it takes."""
from __future__ import annotations

import json
import logging
import threading
from typing import Any

import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, NackError, UnroutableError

# A broker that says nothing for so long counts as gone.
_TIMEOUT_SECONDS = 30

_NOT_FOUND = 404
_PRECONDITION_FAILED = 406


class Gone(Exception):
    """The broker cannot be reached, or has closed the connection."""


class Refused(Exception):
    """The broker has not taken this message, and may take others."""


class Unacceptable(Exception):
    """The broker has closed the channel because of this message, as it does if it is too large."""


class Broker:
    """A connection with one channel in confirm mode; not connected until `connect`."""

    def __init__(self, url: str, exchange: str) -> None:
        # pika reports each failed attempt at length; the relay says it once, in a sentence.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        try:
            self._parameters = pika.URLParameters(url)
        except Exception:
            # The reason might quote the URL, and with it the password.
            raise ValueError("ckanext.worker.amqp_url is not like amqp://user:password@host:5672/vhost") from None
        self._parameters.socket_timeout = self._parameters.blocked_connection_timeout = _TIMEOUT_SECONDS
        self.exchange = exchange
        self._connection = None
        self._channel = None

    def __str__(self) -> str:
        it = self._parameters
        scheme = "amqps" if it.ssl_options else "amqp"
        return f"{scheme}://{it.credentials.username}@{it.host}:{it.port}/{it.virtual_host}"

    def connect(self) -> None:
        """Connects, if not connected, and makes the exchange if there is none."""
        if self._channel is not None and self._channel.is_open:
            return
        self.close()
        try:
            self._connection = pika.BlockingConnection(self._parameters)
            self._channel = self._open_channel()
        except (AMQPError, OSError) as error:
            self.close()
            raise Gone(_reason(error)) from error

    def publish(self, body: dict[str, Any]) -> None:
        """Publishes a message and returns when the broker has it safe."""
        properties = pika.BasicProperties(
            content_type="application/json", delivery_mode=2, message_id=body["meta"]["id"]
        )
        try:
            self._channel.basic_publish(
                self.exchange, body["routing_key"], json.dumps(body).encode(), properties, mandatory=True
            )
        except UnroutableError as error:
            raise Refused(f"no queue is bound to exchange {self.exchange} for {body['routing_key']}") from error
        except NackError as error:
            raise Refused(f"the broker does not accept {body['routing_key']} on exchange {self.exchange}") from error
        except (AMQPError, OSError) as error:
            self.close()
            if isinstance(error, ChannelClosedByBroker) and error.reply_code == _PRECONDITION_FAILED:
                raise Unacceptable(error.reply_text) from error
            raise Gone(_reason(error)) from error

    def rest(self, seconds: float, stop: threading.Event) -> None:
        """Waits, and keeps the connection alive meanwhile."""
        while seconds > 0 and not stop.is_set():
            slice_ = min(seconds, 0.2)
            try:
                self._connection.process_data_events(time_limit=slice_)
            except (AMQPError, OSError) as error:
                self.close()
                raise Gone(_reason(error)) from error
            seconds -= slice_

    def close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        try:
            if connection is not None and connection.is_open:
                connection.close()
        except (AMQPError, OSError):
            # It is closed all the same.
            pass

    def _open_channel(self) -> Any:
        channel = self._connection.channel()
        try:
            channel.exchange_declare(self.exchange, passive=True)
        except ChannelClosedByBroker as error:
            if error.reply_code != _NOT_FOUND:
                raise
            channel = self._connection.channel()
            channel.exchange_declare(self.exchange, exchange_type="topic", durable=True)
        channel.confirm_delivery()
        return channel


def _reason(error: BaseException) -> str:
    """What is wrong, in a few words: where pika gives no text itself, the cause is wrapped in what it raises."""
    text = str(error)
    if not text and error.args:
        wrapped = error.args[-1]
        text = str(getattr(wrapped, "exception", None) or wrapped)
    return " ".join(text.split()) or type(error).__name__
