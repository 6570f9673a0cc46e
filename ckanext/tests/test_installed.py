"""The package beside a CKAN that is installed in another way: all of them share the namespace `ckanext`."""
from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

OURS = Path(__file__).parents[1]

# What stands in CKAN's sources in this place does the same.
DECLARES = """\
try:
    __import__("pkg_resources").declare_namespace(__name__)
except ImportError:
    __path__ = __import__("pkgutil").extend_path(__path__, __name__)
"""

SETUP = """\
from setuptools import setup
setup(name="portal", version="1", packages=["ckanext", "ckanext.portal"], namespace_packages=["ckanext"])
"""


# What pip asks of setuptools, for an ordinary installation and for an editable one.
BUILD = "from setuptools import build_meta; import sys; getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2])"

IMPORT = "import site, sys; [site.addsitedir(path) for path in sys.argv[1:]]; import ckanext.worker, ckanext.portal"


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A CKAN, as far as names go: a package `ckanext` with one extension in it."""
    source = tmp_path_factory.mktemp("portal") / "source"
    (source / "ckanext" / "portal").mkdir(parents=True)
    (source / "ckanext" / "__init__.py").write_text(DECLARES)
    (source / "ckanext" / "portal" / "__init__.py").touch()
    (source / "setup.py").write_text(SETUP)
    return source


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """A copy of this package, for setuptools leaves litter where it builds."""
    litter = shutil.ignore_patterns("build", "*.egg-info", "tests", "__pycache__")
    return shutil.copytree(OURS, tmp_path_factory.mktemp("worker") / "source", ignore=litter)


@pytest.fixture(scope="module")
def install(source, ours, tmp_path_factory):
    """Installs what is in a directory, for the first time; answers the directory of the packages."""
    installed = {}

    def install(what, how):
        if (what, how) not in installed:
            built, site = tmp_path_factory.mktemp("built"), tmp_path_factory.mktemp("site")
            subprocess.run([sys.executable, "-c", BUILD, how, built], cwd=what, check=True, capture_output=True)
            (wheel,) = built.iterdir()
            zipfile.ZipFile(wheel).extractall(site)
            installed[what, how] = site
        return installed[what, how]

    return install


@pytest.fixture(scope="module")
def with_pkg_resources(tmp_path_factory):
    """Nothing but what lets the `__init__.py` of a namespace declare it."""
    there = tmp_path_factory.mktemp("pkg_resources")
    (there / "pkg_resources").symlink_to(Path(pytest.importorskip("pkg_resources").__file__).parent)
    return there


def imports(sites, path=()):
    """Both extensions are found by a Python that has these directories, and nothing else that is installed."""
    variables = {"PYTHONPATH": ":".join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run([sys.executable, "-S", "-c", IMPORT, *sites], capture_output=True, text=True, env=variables)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("portal_is", ["wheel", "editable"])
@pytest.mark.parametrize("we_are", ["wheel", "editable"])
def test_it_is_found_beside_a_ckan_however_that_was_installed(
    source, ours, install, with_pkg_resources, portal_is, we_are
):
    sites = [install(source, portal_is), install(ours, we_are)]
    for sites in (sites, sites[::-1]):
        imports(sites)
        imports(sites, path=[with_pkg_resources])


@pytest.mark.parametrize("first", ["source", "ours"])
def test_it_is_found_where_both_are_used_from_their_directories(source, ours, with_pkg_resources, first):
    path = [source, ours] if first == "source" else [ours, source]
    imports([], path=path)
    imports([], path=[*path, with_pkg_resources])
