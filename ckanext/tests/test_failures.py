"""What becomes of a save whose change cannot be recorded."""
from __future__ import annotations

import json

import flask
import pytest
import sqlalchemy as sa

import ckan.plugins as plugins

from ckanext.worker import origin, outbox
from portal import commit_something_else


@pytest.fixture
def refusing(portal):
    """The outbox takes no row."""
    portal.sql("alter table worker_outbox add constraint refuse check (false) not valid")
    yield
    portal.sql("alter table worker_outbox drop constraint refuse")


def test_an_insert_that_fails_does_not_break_the_save(portal, dataset, refusing):
    portal.call("package_patch", id=dataset["id"], notes="saved all the same")
    portal.call("resource_patch", id=dataset["resources"][0]["id"], hash="1234")
    shown = portal.call("package_show", id=dataset["id"])
    assert (shown["notes"], shown["resources"][0]["hash"]) == ("saved all the same", "1234")
    assert portal.told() == []


def test_an_insert_that_fails_is_said_with_what_was_lost(portal, inside, made, refusing, caplog):
    package = made()
    inside.Session.commit()
    assert f"NOT recorded for workers: Package {package.id} new" in caplog.text
    assert "refuse" in caplog.text


def test_an_insert_that_fails_is_said_without_what_the_dataset_holds(portal, inside, dataset, refusing, caplog):
    inside.Session.get(inside.Package, dataset["id"]).purge()
    inside.Session.commit()
    assert f"Package {dataset['id']} deleted" in caplog.text
    assert dataset["name"] not in caplog.text


def check_fails_aloud(portal, inside, package, caplog):
    lost = package.id
    with pytest.raises(outbox.NotUndone):
        inside.Session.commit()
    inside.Session.rollback()
    assert f"NOT SAVED: Package {lost} new" in caplog.text
    assert portal.sql("select count(*) from package where id = :id", id=lost)[0][0] == 0


def test_a_save_fails_aloud_where_a_failed_insert_cannot_be_undone(
    portal, inside, made, refusing, monkeypatch, caplog
):
    monkeypatch.setattr(outbox, "_UNDO", "ROLLBACK TO SAVEPOINT nowhere")
    check_fails_aloud(portal, inside, made(), caplog)


@pytest.mark.parametrize("look_again_at", [None, 0.0])
def test_a_save_fails_aloud_in_a_transaction_that_had_failed_before(
    portal, inside, made, monkeypatch, caplog, look_again_at
):
    monkeypatch.setattr(outbox, "_look_again_at", look_again_at)
    package = made()
    plugins.get_plugin("worker").notify(package, "new")
    with pytest.raises(sa.exc.DBAPIError):
        inside.Session.connection().exec_driver_sql("select 1 / 0")
    check_fails_aloud(portal, inside, package, caplog)


def test_a_user_that_cannot_be_read_loses_no_change(inside, app):
    class Expired:
        @property
        def state(self):
            raise sa.orm.exc.DetachedInstanceError()

    with app._wsgi_app.test_request_context(headers={origin.HEADER: "host-1;archive"}):
        flask.g.user, flask.g.userobj = "somebody", Expired()
        assert origin.of_request() == ("somebody", None)


def test_a_missing_table_is_said_once_and_breaks_no_save(portal, inside, made, caplog, monkeypatch):
    monkeypatch.setattr(outbox, "LOOK_AGAIN_SECONDS", 3600)
    portal.sql("alter table worker_outbox rename to worker_outbox_elsewhere")
    try:
        for _ in range(3):
            made()
            inside.Session.commit()
    finally:
        portal.sql("alter table worker_outbox_elsewhere rename to worker_outbox")
        outbox._look_again_at = 0.0
    assert caplog.text.count(outbox.TO_CREATE) == 1
    # It is there again, which the next save notices.
    assert commit_something_else(inside, made) == portal.told()
    assert outbox._look_again_at is None
