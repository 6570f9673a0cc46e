"""What a host sees that fetches the outbox over HTTP."""
from __future__ import annotations

import datetime

import pytest

import ckan

from ckanext.worker.origin import HEADER
from portal import Refusal, name


def make(portal, organization, count):
    return [portal.call("package_create", name=name(), owner_org=organization)["id"] for _ in range(count)]


def ids(answer):
    return [message["id"] for message in answer["messages"]]


def test_a_message_has_the_shape_of_2011_and_says_who_when_and_where(portal, dataset):
    portal.call("package_patch", id=dataset["id"], notes="second")
    (message,) = portal.poll()["messages"]
    body = message["body"]
    assert list(body) == ["routing_key", "operation", "payload", "meta"]
    assert (body["routing_key"], body["operation"]) == ("Package", "changed")
    assert (body["payload"]["id"], body["payload"]["notes"]) == (dataset["id"], "second")
    assert {"extras", "tags", "groups", "resources", "state", "private", "ckan_url"} <= set(body["payload"])
    assert list(body["meta"]) == ["id", "ts", "actor", "origin", "ckan"]
    assert (body["meta"]["id"], body["meta"]["ckan"]) == (message["message_id"], ckan.__version__)
    assert (body["meta"]["actor"], body["meta"]["origin"]) == ("admin", None)
    stamp = datetime.datetime.strptime(body["meta"]["ts"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert abs(datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - stamp).total_seconds() < 60


def test_a_resource_tells_its_dataset(portal, dataset):
    first = dataset["resources"][0]["id"]
    portal.call("resource_patch", id=first, hash="1234")
    (payload,) = [body["payload"] for body in portal.bodies() if body["routing_key"] == "Resource"]
    assert (payload["id"], payload["package_id"], payload["hash"]) == (first, dataset["id"], "1234")


def test_messages_come_oldest_first_and_again_until_they_are_acknowledged(portal, organization):
    made = make(portal, organization, 3)
    first = portal.poll(limit=2)
    assert [message["body"]["payload"]["id"] for message in first["messages"]] == made[:2]
    assert first["more"]
    assert portal.poll(limit=2) == first
    assert portal.call("worker_outbox_ack", ids=ids(first)) == {"acknowledged": 2}
    rest = portal.poll(limit=2)
    assert [message["body"]["payload"]["id"] for message in rest["messages"]] == made[2:]
    assert not rest["more"]


def test_ids_that_are_gone_are_no_error(portal, organization):
    make(portal, organization, 1)
    waiting = ids(portal.poll())
    assert portal.call("worker_outbox_ack", ids=[*waiting, 2**62]) == {"acknowledged": 1}
    assert portal.call("worker_outbox_ack", ids=waiting) == {"acknowledged": 0}
    assert portal.call("worker_outbox_ack", ids=[]) == {"acknowledged": 0}


def test_polling_works_with_get(portal, organization):
    made = make(portal, organization, 2)
    answer = portal.get("worker_outbox_poll?limit=1")
    assert [message["body"]["payload"]["id"] for message in answer["messages"]] == made[:1]


@pytest.mark.parametrize("action, arguments", [
    ("worker_outbox_ack", {}), ("worker_outbox_ack", {"ids": 1}), ("worker_outbox_ack", {"ids": ["1"]}),
    ("worker_outbox_ack", {"ids": [True]}), ("worker_outbox_ack", {"ids": [2**63]}),
    ("worker_outbox_poll", {"limit": 0}), ("worker_outbox_poll", {"limit": "many"}),
])
def test_arguments_that_make_no_sense_are_refused(portal, action, arguments):
    with pytest.raises(Refusal) as refusal:
        portal.call(action, **arguments)
    assert refusal.value.status == 409


@pytest.mark.parametrize("action, arguments", [("worker_outbox_poll", {}), ("worker_outbox_ack", {"ids": []})])
def test_only_sysadmins_are_let_in(portal, editor, action, arguments):
    for token in (None, editor[1]):
        with pytest.raises(Refusal) as refusal:
            portal.call(action, token=token, **arguments)
        assert refusal.value.status == 403


def test_what_is_gone_when_it_is_delivered_is_deleted(portal, organization):
    made = portal.call("package_create", name=name(), owner_org=organization,
                       resources=[{"url": "http://127.0.0.1:9/a"}])
    created = ids(portal.poll())
    portal.call("dataset_purge", id=made["id"])
    early = {body["routing_key"]: body for body in (
        message["body"] for message in portal.poll()["messages"] if message["id"] in created)}
    assert {body["operation"] for body in early.values()} == {"deleted"}
    assert early["Package"]["payload"] == {"id": made["id"]}
    assert early["Resource"]["payload"] == {"id": made["resources"][0]["id"], "package_id": made["id"]}


def test_the_payload_is_what_is_committed_at_delivery(portal, dataset):
    portal.call("package_patch", id=dataset["id"], notes="second")
    portal.call("package_patch", id=dataset["id"], notes="third")
    assert [body["payload"]["notes"] for body in portal.bodies()] == ["third", "third"]


def test_what_was_deleted_and_brought_back_has_changed(portal, dataset):
    portal.call("package_delete", id=dataset["id"])
    assert [body["operation"] for body in portal.bodies() if body["routing_key"] == "Package"] == ["deleted"]
    portal.call("package_patch", id=dataset["id"], state="active")
    packages = [body for body in portal.bodies() if body["routing_key"] == "Package"]
    assert [(body["operation"], body["payload"]["state"]) for body in packages] == [("changed", "active")] * 2


def test_an_answer_has_no_more_than_eight_megabytes_and_always_a_message(portal, organization):
    # Twice in the message: as they are, and rendered.
    size = 3 * 512 * 1024
    made = [portal.call("package_create", name=name(), owner_org=organization, notes=text * size)["id"]
            for text in ("a", "b", "c")]
    portal.call("package_patch", id=made[2], notes="c" * 5 * 1024 * 1024)
    seen = []
    while True:
        answer = portal.poll()
        seen.append([message["body"]["payload"]["id"] for message in answer["messages"]])
        if not answer["more"]:
            break
        portal.call("worker_outbox_ack", ids=ids(answer))
    assert seen == [made[:2], made[2:], made[2:]]
    for id in made:
        portal.call("dataset_purge", id=id)


def test_a_row_of_a_class_that_is_not_known_carries_the_id_only(portal, dataset):
    portal.sql(
        "insert into worker_outbox (message_id, created, routing_key, operation, entity_id)"
        " values (gen_random_uuid(), now(), 'Vocabulary', 'new', 'v1')"
    )
    portal.call("package_patch", id=dataset["id"], notes="second")
    first, second = portal.bodies()
    assert (first["routing_key"], first["operation"], first["payload"]) == ("Vocabulary", "new", {"id": "v1"})
    assert second["payload"]["id"] == dataset["id"]


@pytest.mark.parametrize("sent, kept", [
    ("host-1;archive", "host-1;archive"), ("x" * 300, "x" * 200), ("h\u00f6st;archive", None), ("", None),
])
def test_a_sysadmins_origin_is_kept(portal, dataset, sent, kept):
    portal.call("package_patch", headers={HEADER: sent}, id=dataset["id"], notes="second")
    assert [body["meta"]["origin"] for body in portal.bodies()] == [kept]


def test_nobody_else_can_hide_a_change_behind_an_origin(portal, dataset, editor):
    user, token = editor
    portal.call("package_patch", headers={HEADER: "host-1;archive"}, token=token, id=dataset["id"], notes="second")
    assert [(body["meta"]["actor"], body["meta"]["origin"]) for body in portal.bodies()] == [(user, None)]


def test_a_missing_table_is_named_with_the_command_to_type(portal):
    portal.sql("alter table worker_outbox rename to worker_outbox_elsewhere")
    try:
        with pytest.raises(Refusal, match="409.*ckan db upgrade -p worker"):
            portal.poll()
    finally:
        portal.sql("alter table worker_outbox_elsewhere rename to worker_outbox")
