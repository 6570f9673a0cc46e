"""The tests run against a real CKAN, its database, and where named a RabbitMQ.

CKAN_INI        the ini of a site of its own, `worker` in ckan.plugins; the tests run its migration
CKAN_URL        where a web server serves that ini
CKAN_API_TOKEN  a sysadmin's token there
CKAN_WORKER_TEST_AMQP_URL  a RabbitMQ for the tests of the relay; without it they are left out, and say so
"""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from portal import Portal, name, variable


@pytest.fixture(scope="session")
def ini():
    path = variable("CKAN_INI")
    ckan = Path(sys.executable).with_name("ckan")
    upgrade = subprocess.run([ckan, "-c", path, "db", "upgrade", "-p", "worker"], capture_output=True, text=True)
    assert upgrade.returncode == 0, upgrade.stderr
    return path


@pytest.fixture(scope="session")
def app(ini):
    """The same site inside this process, for what cannot be asked for over HTTP."""
    from ckan.cli import CKANConfigLoader
    from ckan.config.middleware import make_app

    return make_app(CKANConfigLoader(ini).get_config())


@pytest.fixture(scope="session")
def site(app):
    import ckan.model as model

    portal = Portal(variable("CKAN_URL"), variable("CKAN_API_TOKEN"), model.meta.engine)
    made = portal.call("organization_create", name=name("org"))["id"]
    found = portal.sql('select count(*) from "group" where id = :id', id=made)[0][0]
    assert found == 1, "CKAN_URL serves another database than the one that CKAN_INI names"
    assert "worker" in portal.call("status_show")["extensions"], "CKAN_URL serves a site without the plugin"
    return portal


@pytest.fixture
def portal(site):
    """The portal with an empty outbox."""
    site.sql("delete from worker_outbox")
    return site


@pytest.fixture
def inside(app):
    """A database session inside this process; what a test leaves open is rolled back."""
    import ckan.model as model

    with app._wsgi_app.app_context():
        model.Session.remove()
        yield model
        model.Session.rollback()
        model.Session.remove()


@pytest.fixture(scope="session")
def organization(site):
    return site.call("organization_create", name=name("org"))["id"]


@pytest.fixture(scope="session")
def editor(site, organization):
    """A user who may edit the organization's datasets and is no sysadmin; the name and a token."""
    user = name("editor")
    site.call("user_create", name=user, email=f"{user}@example.org", password="a-long-enough-one")
    site.call("organization_member_create", id=organization, username=user, role="editor")
    answer = site.call("api_token_create", user=user, name="tests")
    return user, answer["token"]


@pytest.fixture
def dataset(portal, organization):
    """A dataset with two resources whose making has been forgotten."""
    made = portal.call(
        "package_create", name=name(), owner_org=organization, notes="first", tags=[{"name": "one"}],
        resources=[{"name": "a", "url": "http://127.0.0.1:9/a"}, {"name": "b", "url": "http://127.0.0.1:9/b"}],
    )
    portal.sql("delete from worker_outbox")
    return made


@pytest.fixture
def made(inside, organization):
    """Makes a dataset in the open transaction and flushes it."""

    def make():
        package = inside.Package(name=name(), title="made inside", owner_org=organization)
        inside.Session.add(package)
        inside.Session.flush()
        return package

    return make
