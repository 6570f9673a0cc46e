"""The commands `ckan worker …`."""
from __future__ import annotations

import datetime
import signal
import sys
import threading
from typing import Any

import click

import ckan.model as model
import ckan.plugins.toolkit as tk

from ckanext.worker import outbox


@click.group(short_help="The outbox that workers are told from.")
def worker() -> None:
    """The outbox that workers are told from."""


@worker.command()
@click.option("--once", is_flag=True, help="Publish what waits now, and end; the exit code is 1 if anything stays.")
@click.option("--interval", default=1.0, show_default=True, help="Seconds between looks into an empty outbox.",
              type=click.FloatRange(min=0.05))
def relay(once: bool, interval: float) -> None:
    """Publish the outbox to an AMQP broker, until SIGTERM."""
    try:
        from ckanext.worker.broker import Broker
        from ckanext.worker.relay import Relay
    except ImportError as error:
        if error.name != "pika":
            raise
        _fail("`ckan worker relay` needs pika; type: pip install 'pika>=1.3'")
    exchange = tk.config.get("ckanext.worker.exchange") or tk.config.get("ckan.site_id")
    try:
        broker = Broker(tk.config.get("ckanext.worker.amqp_url"), exchange)
    except ValueError as error:
        _fail(str(error))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    relay = Relay(broker, interval, stop)
    if once:
        trouble = relay.once()
        if trouble:
            _fail(trouble)
        return
    click.echo(f"Publishing to exchange {exchange} of {broker}", err=True)
    relay.run()
    click.echo(f"The relay has ended; published: {relay.published}", err=True)


@worker.command()
def status() -> None:
    """Say how many messages wait in the outbox, and since when."""
    waiting = outbox.waiting(_connection())
    total = sum(count for _, count, _ in waiting)
    if not total:
        click.echo("No message waits in the outbox.")
    for routing_key, count, since in waiting:
        age = datetime.datetime.now(datetime.timezone.utc) - since
        stamp = since.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        click.echo(f"{routing_key}: {count} waiting, the oldest since {stamp} ({int(age.total_seconds())} s)")


@worker.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(yes: bool) -> None:
    """Throw away all messages that wait in the outbox."""
    connection = _connection()
    total = sum(count for _, count, _ in outbox.waiting(connection))
    # The answer may take a while: no transaction stays open for it.
    model.Session.rollback()
    if total and not yes:
        click.confirm(f"Throw away {total} messages that no worker has been told of?", abort=True, err=True)
    thrown_away = outbox.clear(model.Session.connection())
    model.Session.commit()
    click.echo(f"Thrown away: {thrown_away}")


def _connection() -> Any:
    connection = model.Session.connection()
    if not outbox.is_there(connection):
        _fail(str(outbox.TableMissing()))
    return connection


def _fail(why: str) -> None:
    click.echo(why, err=True)
    sys.exit(1)
