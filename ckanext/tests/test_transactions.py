"""A row stands in the outbox exactly if its change was committed."""
from __future__ import annotations

import threading

import pytest
import sqlalchemy as sa

import ckan.plugins as plugins

from ckanext.worker import collect
from portal import commit_something_else, name


@pytest.fixture
def stored(portal, inside, made):
    """A dataset that is committed, and whose making has been forgotten."""
    package = made()
    inside.Session.commit()
    portal.sql("delete from worker_outbox")
    return package


@pytest.fixture
def at_commit(inside):
    """Registers something that happens in each commit after the row was written, and takes it back."""
    hooks = []

    def register(hook):
        hooks.append(hook)
        sa.event.listen(inside.Session, "before_commit", hook)

    yield register
    for hook in hooks:
        sa.event.remove(inside.Session, "before_commit", hook)


def test_a_committed_change_is_told_of(portal, inside, made):
    package = made()
    inside.Session.commit()
    assert portal.told() == [("Package", "new", package.id)]
    assert portal.bodies()[0]["meta"]["actor"] is None


def test_a_rolled_back_change_is_not_told_of(portal, inside, made):
    made()
    inside.Session.rollback()
    assert portal.told() == []
    assert commit_something_else(inside, made) == portal.told()


def test_a_commit_that_fails_after_the_row_was_written_leaves_none(portal, inside, made, at_commit):
    refuse = [True]

    def hook(session):
        if refuse.pop():
            refuse.append(False)
            raise RuntimeError("not today")
        refuse.append(False)

    at_commit(hook)
    made()
    with pytest.raises(RuntimeError):
        inside.Session.commit()
    inside.Session.rollback()
    assert portal.told() == []
    assert commit_something_else(inside, made) == portal.told()


def test_a_released_savepoint_is_told_of_with_the_commit(portal, inside, made):
    with inside.Session.begin_nested():
        package = made()
    assert portal.told() == []
    inside.Session.commit()
    assert portal.told() == [("Package", "new", package.id)]


def test_a_released_savepoint_is_not_told_of_if_the_rest_is_rolled_back(portal, inside, made):
    with inside.Session.begin_nested():
        made()
    inside.Session.rollback()
    assert portal.told() == []
    assert commit_something_else(inside, made) == portal.told()


def test_a_savepoint_that_is_rolled_back_is_not_told_of(portal, inside, made):
    savepoint = inside.Session.begin_nested()
    made()
    savepoint.rollback()
    package = made()
    inside.Session.commit()
    assert portal.told() == [("Package", "new", package.id)]


def test_a_savepoint_released_in_one_that_is_rolled_back_is_not_told_of(portal, inside, made):
    outer = inside.Session.begin_nested()
    with inside.Session.begin_nested():
        made()
    outer.rollback()
    package = made()
    inside.Session.commit()
    assert portal.told() == [("Package", "new", package.id)]


def begin_a_savepoint_that_fails(inside, work=lambda: None):
    with pytest.raises(RuntimeError):
        with inside.Session.begin_nested():
            work()
            raise RuntimeError("not today")


@pytest.mark.parametrize("flush", [True, False])
def test_what_was_changed_before_a_savepoint_that_is_rolled_back_is_told_of(portal, inside, stored, made, flush):
    stored.notes = "before the savepoint"
    if flush:
        inside.Session.flush()
    begin_a_savepoint_that_fails(inside, made)
    inside.Session.commit()
    assert portal.sql("select notes from package where id = :id", id=stored.id)[0][0] == "before the savepoint"
    assert portal.told() == [("Package", "changed", stored.id)]


def test_what_was_changed_before_two_savepoints_of_which_one_is_released_is_told_of(portal, inside, stored, made):
    stored.notes = "before the savepoints"
    inside.Session.flush()
    outer = inside.Session.begin_nested()
    with inside.Session.begin_nested():
        made()
    outer.rollback()
    inside.Session.commit()
    assert portal.told() == [("Package", "changed", stored.id)]


def test_what_was_changed_in_a_savepoint_before_another_that_is_rolled_back_is_told_of(portal, inside, stored, made):
    with inside.Session.begin_nested():
        stored.notes = "in the first savepoint"
        begin_a_savepoint_that_fails(inside, made)
    begin_a_savepoint_that_fails(inside, made)
    inside.Session.commit()
    assert portal.told() == [("Package", "changed", stored.id)]


def test_what_was_changed_before_a_savepoint_is_not_told_of_if_all_is_rolled_back(portal, inside, stored, made):
    stored.notes = "for nothing"
    begin_a_savepoint_that_fails(inside)
    inside.Session.rollback()
    assert commit_something_else(inside, made) == portal.told()


def test_the_dataset_of_a_resource_or_a_tag_before_a_savepoint_is_told_of(portal, inside, dataset):
    first = dataset["resources"][0]["id"]
    inside.Session.get(inside.Resource, first).hash = "1234"
    begin_a_savepoint_that_fails(inside)
    inside.Session.commit()
    assert portal.told() == [("Package", "changed", dataset["id"]), ("Resource", "changed", first)]
    portal.sql("delete from worker_outbox")
    inside.Session.get(inside.Package, dataset["id"]).add_tag_by_name(name("tag"))
    begin_a_savepoint_that_fails(inside)
    inside.Session.commit()
    assert portal.told() == [("Package", "changed", dataset["id"])]


def test_what_is_new_or_gone_before_a_savepoint_is_told_of(portal, inside, stored, made):
    gone = stored.id
    inside.Session.delete(stored)
    new = made()
    begin_a_savepoint_that_fails(inside)
    inside.Session.commit()
    assert portal.told() == sorted([("Package", "deleted", gone), ("Package", "new", new.id)])


def test_a_session_that_is_thrown_away_leaves_nothing(portal, inside, made):
    with inside.Session.begin_nested():
        made()
    inside.Session.remove()
    assert commit_something_else(inside, made) == portal.told()


def test_a_session_that_is_closed_and_used_again_leaves_nothing(portal, inside, made):
    with inside.Session.begin_nested():
        made()
    inside.Session.close()
    package = made()
    inside.Session.commit()
    assert portal.told() == [("Package", "new", package.id)]


def test_what_was_rolled_back_is_not_kept(inside, made):
    with inside.Session.begin_nested():
        made()
    session = inside.Session()
    assert session.info[collect._KEY]
    inside.Session.rollback()
    assert session.info[collect._KEY] == {}


def test_of_several_changes_in_one_transaction_the_strongest_is_told_of(portal, inside, made):
    with inside.Session.begin_nested():
        package = made()
    with inside.Session.begin_nested():
        package.notes = "changed in a savepoint of its own"
    package.state = "deleted"
    inside.Session.commit()
    assert portal.told() == [("Package", "new", package.id)]


@pytest.mark.parametrize("told, counts", [
    (["changed", "changed"], "changed"), (["changed", "deleted"], "deleted"), (["deleted", "changed"], "deleted"),
    (["new", "deleted"], "new"), (["deleted", "new"], "new"), (["new", "changed"], "new"),
])
def test_new_is_stronger_than_deleted_and_deleted_than_changed(portal, inside, made, told, counts):
    package = made()
    inside.Session.commit()
    portal.sql("delete from worker_outbox")
    for operation in told:
        plugins.get_plugin("worker").notify(package, operation)
    inside.Session.commit()
    assert portal.told() == [("Package", counts, package.id)]


def test_a_change_of_nothing_or_of_something_else_is_let_pass(portal, inside, made):
    worker = plugins.get_plugin("worker")
    worker.notify(None, "changed")
    worker.notify(inside.Group(name=name("group")), "new")
    assert commit_something_else(inside, made) == portal.told()


def test_a_session_of_its_own_is_told_of_too(portal, inside, made):
    package = made()
    inside.Session.commit()
    portal.sql("delete from worker_outbox")
    session = inside.meta.create_local_session(bind=inside.meta.engine)
    with session:
        session.get(inside.Package, package.id).notes = "changed elsewhere"
        session.commit()
    assert portal.told() == [("Package", "changed", package.id)]


def test_a_row_that_becomes_visible_late_is_delivered_though_its_id_is_smaller(portal, inside, made, at_commit, app):
    written, go_on = threading.Event(), threading.Event()
    slow = []

    def hold(session):
        if threading.current_thread() is thread:
            written.set()
            assert go_on.wait(30)

    def commit_slowly():
        with app._wsgi_app.app_context():
            slow.append(made().id)
            inside.Session.commit()
            inside.Session.remove()

    thread = threading.Thread(target=commit_slowly)
    at_commit(hold)
    thread.start()
    try:
        assert written.wait(30)
        quick = made().id
        inside.Session.commit()
        first = portal.poll()["messages"]
        portal.call("worker_outbox_ack", ids=[message["id"] for message in first])
    finally:
        go_on.set()
        thread.join(30)
    second = portal.poll()["messages"]
    assert [message["body"]["payload"]["id"] for message in first] == [quick]
    assert [message["body"]["payload"]["id"] for message in second] == slow
    assert second[0]["id"] < first[0]["id"], "the two transactions did not overlap"
