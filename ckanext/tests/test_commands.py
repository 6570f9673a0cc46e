"""`ckan worker status` and `ckan worker clear`."""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def ckan(ini):
    def run(*arguments, answer=""):
        command = [str(Path(sys.executable).with_name("ckan")), "-c", ini, "worker", *arguments]
        return subprocess.run(command, input=answer, capture_output=True, text=True, timeout=120)

    return run


def test_status_counts_what_waits(portal, dataset, ckan):
    assert ckan("status").stdout == "No message waits in the outbox.\n"
    portal.call("resource_patch", id=dataset["resources"][0]["id"], hash="1234")
    package, resource = ckan("status").stdout.splitlines()
    assert package.startswith("Package: 1 waiting, the oldest since 20")
    assert resource.startswith("Resource: 1 waiting, the oldest since 20")


def test_status_names_the_command_to_type_where_the_table_is_missing(portal, ckan):
    portal.sql("alter table worker_outbox rename to worker_outbox_elsewhere")
    try:
        ended = ckan("status")
    finally:
        portal.sql("alter table worker_outbox_elsewhere rename to worker_outbox")
    assert ended.returncode == 1
    assert "ckan db upgrade -p worker" in ended.stderr


def test_clear_asks_first(portal, dataset, ckan):
    portal.call("package_patch", id=dataset["id"], notes="second")
    assert ckan("clear", answer="n\n").returncode == 1
    assert len(portal.told()) == 1
    ended = ckan("clear", answer="y\n")
    assert (ended.returncode, ended.stdout.strip()) == (0, "Thrown away: 1")
    assert portal.told() == []


def test_clear_does_not_ask_when_told_so(portal, dataset, ckan):
    portal.call("package_patch", id=dataset["id"], notes="second")
    assert ckan("clear", "--yes").returncode == 0
    assert portal.told() == []
