"""`ckan worker relay`, as a process of its own, with a real broker."""
from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import portal as portal_module
from portal import name

if not portal_module.AMQP_URL:
    pytest.skip(
        "LEFT OUT, NOT TESTED: THE RELAY NEEDS A BROKER, SET CKAN_WORKER_TEST_AMQP_URL", allow_module_level=True
    )

from ckanext.worker import relay as relay_module  # noqa: E402
from ckanext.worker.broker import Unacceptable  # noqa: E402
from amqp import Exchange, Road, eventually  # noqa: E402  (needs pika, and pika is needed for these tests only)


# More than a relay publishes in the time that it takes to be told to end.
MANY = 2000


@pytest.fixture
def exchange():
    exchange = Exchange()
    yield exchange
    exchange.close()


@pytest.fixture
def command(ini, tmp_path, exchange):
    """The command line of `ckan worker …` with settings of its own."""

    def make(*arguments, url=portal_module.AMQP_URL):
        settings = tmp_path / f"{name('ckan')}.ini"
        url = url.replace("%", "%%")
        ours = f"ckanext.worker.amqp_url = {url}\nckanext.worker.exchange = {exchange.name}\n"
        lines = [line for line in Path(ini).read_text().splitlines(True) if not line.startswith("ckanext.worker.")]
        settings.write_text("".join(lines).replace("[app:main]\n", f"[app:main]\n{ours}", 1))
        return [str(Path(sys.executable).with_name("ckan")), "-c", str(settings), "worker", *arguments]

    return make


@pytest.fixture
def once(command):
    """Runs `ckan worker relay --once` to its end."""

    def run(**settings):
        return subprocess.run(command("relay", "--once", **settings), capture_output=True, text=True, timeout=120)

    return run


@pytest.fixture
def start(command, tmp_path):
    """Starts relays that run until the test ends; each with the file that it writes to."""
    started = []

    def run(**settings):
        said = tmp_path / name("relay")
        with said.open("w") as file:
            relay = subprocess.Popen(command("relay", "--interval", "0.05", **settings), stderr=file, stdout=file)
        started.append(relay)
        return relay, said

    yield run
    for relay in started:
        relay.kill()
        relay.wait()


def fill(portal, count, routing_key="Package"):
    """Rows of what does not exist; `count` of them."""
    portal.sql(
        "insert into worker_outbox (message_id, created, routing_key, operation, entity_id, package_id)"
        " select gen_random_uuid(), now(), :key, 'changed', 'd' || n, 'd' || n from generate_series(1, :n) n",
        n=count, key=routing_key,
    )


def waiting(portal):
    return portal.sql("select count(*) from worker_outbox")[0][0]


def test_a_message_arrives_as_in_2011_and_leaves_the_outbox(portal, dataset, once, exchange):
    queue = exchange.queue()
    first = dataset["resources"][0]["id"]
    portal.call("resource_patch", id=first, hash="1234")
    expected = {body["routing_key"]: body for body in portal.bodies()}
    ended = once()
    assert ended.returncode == 0, ended.stderr
    messages = exchange.read(queue)
    assert {method.routing_key: body for method, _, body in messages} == expected
    assert {method.routing_key for method, _, _ in messages} == {"Package", "Resource"}
    for _, properties, body in messages:
        assert list(body) == ["routing_key", "operation", "payload", "meta"]
        assert (properties.delivery_mode, properties.content_type) == (2, "application/json")
        assert properties.message_id == body["meta"]["id"]
    assert waiting(portal) == 0


def test_an_exchange_that_is_missing_is_made_durable_and_of_the_kind_topic(portal, once, exchange):
    ended = once()
    assert ended.returncode == 0, ended.stderr
    exchange.declare()


def test_what_no_queue_takes_stays_in_the_outbox_until_one_does(portal, once, exchange):
    fill(portal, 3)
    ended = once()
    assert ended.returncode == 1
    assert f"no queue is bound to exchange {exchange.name}" in ended.stderr
    assert waiting(portal) == 3
    queue = exchange.queue()
    assert once().returncode == 0
    assert len(exchange.read(queue)) == 3
    assert waiting(portal) == 0


def test_what_no_queue_takes_holds_up_nothing_else(portal, once, exchange):
    queue = exchange.queue("Package")
    # More than a batch, and all of them older.
    fill(portal, 150, "Resource")
    fill(portal, 3)
    ended = once()
    assert ended.returncode == 1
    assert [method.routing_key for method, _, _ in exchange.read(queue)] == ["Package"] * 3
    assert [routing_key for routing_key, _, _ in portal.told()] == ["Resource"] * 150


def test_a_broker_that_is_down_loses_nothing_and_stops_no_save(portal, dataset, once, exchange):
    road = Road()
    portal.call("package_patch", id=dataset["id"], notes="saved without a broker")
    ended = once(url=road.url)
    assert ended.returncode == 1
    assert "cannot be used" in ended.stderr
    assert "Connection refused" in ended.stderr
    assert f":{road.password}@" not in ended.stderr
    assert "Traceback" not in ended.stderr
    assert portal.call("package_show", id=dataset["id"])["notes"] == "saved without a broker"
    assert waiting(portal) == 1


def test_a_relay_goes_on_when_the_broker_comes_and_comes_back(portal, start, exchange):
    road = Road()
    queue = exchange.queue()
    fill(portal, 1)
    relay, said = start(url=road.url)
    assert eventually(lambda: "cannot be used" in said.read_text())
    for _ in range(2):
        with road.open():
            assert len(exchange.wait(queue, 1)) == 1
            assert eventually(lambda: waiting(portal) == 0)
        fill(portal, 1)
    assert relay.poll() is None
    assert said.read_text().count("The relay works again") >= 1


def test_a_relay_ends_on_sigterm_with_nothing_half_done(portal, start, exchange):
    queue = exchange.queue()
    fill(portal, MANY)
    relay, said = start()
    arrived = exchange.wait(queue, 1)
    relay.send_signal(signal.SIGTERM)
    assert relay.wait(60) == 0
    assert "Traceback" not in said.read_text()
    arrived += exchange.read(queue)
    left = waiting(portal)
    assert left > 0, "it has published all of them, whenever it was told to end"
    assert len(arrived) + left == MANY


def test_two_relays_share_the_work_and_publish_each_message_once(portal, start, exchange):
    queue = exchange.queue()
    relays = [start() for _ in range(2)]
    assert eventually(lambda: all("Publishing to" in said.read_text() for _, said in relays))
    fill(portal, MANY)
    arrived = exchange.wait(queue, MANY)
    assert eventually(lambda: waiting(portal) == 0)
    published = []
    for relay, said in relays:
        relay.send_signal(signal.SIGTERM)
        assert relay.wait(60) == 0
        published.append(int(re.search(r"The relay has ended; published: (\d+)", said.read_text())[1]))
    assert sum(published) == MANY
    assert all(published), "one of them has done it all"
    arrived += exchange.read(queue)
    ids = [body["payload"]["id"] for _, _, body in arrived]
    assert len(ids) == MANY
    assert set(ids) == {f"d{n}" for n in range(1, MANY + 1)}


def test_a_relay_that_is_killed_repeats_at_most_a_batch_and_loses_nothing(portal, start, once, exchange):
    queue = exchange.queue()
    fill(portal, 500)
    relay, _ = start()
    arrived = exchange.wait(queue, 150)
    relay.kill()
    relay.wait()
    assert once().returncode == 0
    arrived += exchange.read(queue)
    ids = [body["payload"]["id"] for _, _, body in arrived]
    assert set(ids) == {f"d{n}" for n in range(1, 501)}
    assert len(ids) <= 500 + relay_module.BATCH_MAX


def test_what_the_broker_closes_the_channel_for_is_published_with_the_id_only(portal, once, exchange):
    queue = exchange.queue()
    # More than RabbitMQ takes in one message, whichever version it is.
    portal.sql(
        "insert into worker_outbox (message_id, created, routing_key, operation, entity_id, payload) values"
        " (gen_random_uuid(), now(), 'Package', 'deleted', 'huge', '{\"notes\": \"' || repeat('x', 135000000) || '\"}')"
    )
    fill(portal, 3)
    ended = once()
    assert ended.returncode == 0, ended.stderr
    assert "Package huge" in ended.stderr
    payloads = [body["payload"] for _, _, body in exchange.read(queue)]
    assert payloads == [{"id": "huge"}, *({"id": f"d{n}"} for n in (1, 2, 3))]
    assert waiting(portal) == 0


def test_a_url_that_is_none_is_said_without_the_password(portal, once, exchange):
    ended = once(url="amqp://me:secret@host:port/")
    assert ended.returncode == 1
    assert "ckanext.worker.amqp_url" in ended.stderr
    assert "secret" not in ended.stderr


class Fussy:
    """A broker that closes the channel for one message, however little is in it; RabbitMQ cannot be brought to that."""

    def __init__(self):
        self.taken = []

    def connect(self):
        pass

    def close(self):
        pass

    def publish(self, body):
        if body["payload"]["id"] == "d2":
            raise Unacceptable("not this one")
        self.taken.append(body["payload"]["id"])


def test_a_message_that_the_broker_takes_in_no_form_stays_and_holds_up_nothing(portal, inside, caplog):
    fill(portal, 3)
    broker = Fussy()
    trouble = relay_module.Relay(broker, 1, threading.Event()).once()
    assert broker.taken == ["d1", "d3"]
    assert "Package d2" in trouble
    assert trouble in caplog.text
    assert [id for _, _, id in portal.told()] == ["d2"]
