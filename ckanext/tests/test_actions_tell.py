"""What each action of CKAN puts into the outbox."""
from __future__ import annotations

import pytest

import ckan

from portal import Refusal, name

# Bulk changes go past the ORM before 2.12, and CKAN tells nobody.
TELLS_OF_BULK = not ckan.__version__.startswith(("2.10", "2.11"))


def resource_ids(dataset):
    return [resource["id"] for resource in dataset["resources"]]


def test_a_new_dataset_with_resources_is_told_of_once_each(portal, organization):
    made = portal.call("package_create", name=name(), owner_org=organization,
                       resources=[{"url": "http://127.0.0.1:9/a"}, {"url": "http://127.0.0.1:9/b"}])
    resources = [("Resource", "new", id) for id in resource_ids(made)]
    assert portal.told() == sorted([("Package", "new", made["id"]), *resources])


@pytest.mark.parametrize("how", [{}, {"private": True}, {"state": "draft"}])
def test_private_and_draft_datasets_are_told_of_too(portal, organization, how):
    made = portal.call("package_create", name=name(), owner_org=organization, **how)
    assert portal.told() == [("Package", "new", made["id"])]


def test_a_dataset_that_ckan_refuses_is_not_told_of(portal, organization, dataset):
    with pytest.raises(Refusal) as refusal:
        portal.call("package_create", name=dataset["name"], owner_org=organization)
    assert refusal.value.status == 409
    assert portal.told() == []


@pytest.mark.parametrize("change", [
    {"notes": "second"}, {"tags": [{"name": "two"}]}, {"extras": [{"key": "k", "value": "v"}]}, {"private": True},
])
def test_a_patched_dataset_has_changed(portal, dataset, change):
    portal.call("package_patch", id=dataset["id"], **change)
    assert portal.told() == [("Package", "changed", dataset["id"])]


def test_a_patch_that_changes_nothing_is_not_told_of(portal, dataset):
    portal.call("package_patch", id=dataset["id"], notes="first")
    assert portal.told() == []


def test_a_patched_resource_has_changed_and_its_dataset_too(portal, dataset):
    first, _ = resource_ids(dataset)
    portal.call("resource_patch", id=first, hash="1234", size=7)
    assert portal.told() == [("Package", "changed", dataset["id"]), ("Resource", "changed", first)]


def test_an_updated_resource_has_changed(portal, dataset):
    first, _ = resource_ids(dataset)
    portal.call("resource_update", id=first, url="http://127.0.0.1:9/other")
    assert portal.told() == [("Package", "changed", dataset["id"]), ("Resource", "changed", first)]


def test_an_added_resource_is_new(portal, dataset):
    added = portal.call("resource_create", package_id=dataset["id"], url="http://127.0.0.1:9/c")
    assert portal.told() == [("Package", "changed", dataset["id"]), ("Resource", "new", added["id"])]


def test_a_deleted_resource_is_deleted_and_the_moved_one_has_changed(portal, dataset):
    first, second = resource_ids(dataset)
    portal.call("resource_delete", id=first)
    assert portal.told() == [
        ("Package", "changed", dataset["id"]), ("Resource", "changed", second), ("Resource", "deleted", first),
    ]


def test_reordered_resources_have_changed(portal, dataset):
    first, second = resource_ids(dataset)
    portal.call("package_resource_reorder", id=dataset["id"], order=[second, first])
    assert portal.told() == sorted([
        ("Package", "changed", dataset["id"]), ("Resource", "changed", first), ("Resource", "changed", second),
    ])


def test_a_revision_of_two_resources_tells_of_the_dataset_once(portal, dataset):
    first, second = resource_ids(dataset)
    portal.call("package_revise", match={"id": dataset["id"]},
                **{f"update__resources__{first}__hash": "1", f"update__resources__{second}__hash": "2"})
    assert portal.told() == sorted([
        ("Package", "changed", dataset["id"]), ("Resource", "changed", first), ("Resource", "changed", second),
    ])


def test_an_updated_dataset_has_changed(portal, dataset):
    portal.call("package_update", **dict(dataset, notes="third"))
    assert ("Package", "changed", dataset["id"]) in portal.told()


def test_a_new_owner_is_a_change(portal, dataset):
    other = portal.call("organization_create", name=name("org"))
    portal.call("package_owner_org_update", id=dataset["id"], organization_id=other["id"])
    # CKAN 2.10 and 2.11 do it in two transactions.
    assert set(portal.told()) == {("Package", "changed", dataset["id"])}


def test_groups_that_come_and_go_are_changes(portal, dataset):
    group = portal.call("group_create", name=name("group"))["id"]
    assert portal.told() == []
    portal.call("member_create", id=group, object=dataset["id"], object_type="package", capacity="public")
    portal.call("member_delete", id=group, object=dataset["id"], object_type="package")
    assert portal.told() == [("Package", "changed", dataset["id"])] * 2


def test_a_deleted_group_changes_its_datasets(portal, dataset):
    group = portal.call("group_create", name=name("group"))["id"]
    portal.call("member_create", id=group, object=dataset["id"], object_type="package", capacity="public")
    portal.sql("delete from worker_outbox")
    portal.call("group_delete", id=group)
    assert set(portal.told()) == {("Package", "changed", dataset["id"])}


def test_a_deleted_dataset_is_deleted_and_comes_back_as_changed(portal, dataset):
    portal.call("package_delete", id=dataset["id"])
    assert portal.told() == [("Package", "deleted", dataset["id"])]
    body = portal.bodies()[0]
    assert (body["operation"], body["payload"]["state"]) == ("deleted", "deleted")
    portal.sql("delete from worker_outbox")
    portal.call("package_patch", id=dataset["id"], state="active")
    assert ("Package", "changed", dataset["id"]) in portal.told()


def test_a_purged_dataset_is_deleted_with_its_resources_and_keeps_its_payload(portal, dataset):
    portal.call("dataset_purge", id=dataset["id"])
    resources = [("Resource", "deleted", id) for id in resource_ids(dataset)]
    assert portal.told() == sorted([("Package", "deleted", dataset["id"]), *resources])
    payloads = {body["payload"]["id"]: body["payload"] for body in portal.bodies()}
    assert payloads[dataset["id"]]["name"] == dataset["name"]
    assert payloads[resource_ids(dataset)[0]]["url"] == "http://127.0.0.1:9/a"


def test_a_resource_purged_later_is_deleted_again(portal, dataset):
    first, second = resource_ids(dataset)
    portal.call("resource_delete", id=first)
    portal.sql("delete from worker_outbox")
    portal.call("resource_create", package_id=dataset["id"], url="http://127.0.0.1:9/c")
    assert ("Resource", "deleted", first) in portal.told()
    assert ("Resource", "deleted", second) not in portal.told()


@pytest.mark.parametrize("action, operation", [("bulk_update_delete", "deleted"), ("bulk_update_private", "changed")])
def test_bulk_changes_are_told_of_where_ckan_tells(portal, organization, dataset, action, operation):
    portal.call(action, datasets=[dataset["id"]], org_id=organization)
    assert portal.told() == ([("Package", operation, dataset["id"])] if TELLS_OF_BULK else [])


def test_organizations_and_users_are_none_of_the_workers_business(portal, organization):
    portal.call("organization_patch", id=organization, description=name())
    user = name("user")
    portal.call("user_create", name=user, email=f"{user}@example.org", password="a-long-enough-one")
    assert portal.told() == []
