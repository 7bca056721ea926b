"""The built images: how large they are, what they say of themselves, and that they hold what the locks say.

They are built where ARQUBE_IMAGES names a folder for each with its root file system, ``operator`` and ``worker``: as
``buildah mount`` gives one, or an archive of ``docker export`` that was unpacked.
"""

from __future__ import annotations

import json
import os
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest
from tests.supply.conftest import REPOSITORY, run

MB = 1000 * 1000
LIMITS_BYTES = {"operator": 120 * MB, "worker": 60 * MB}
NOT_LOCKED = {"arqube", "pip"}
"""Ours, and what Python brings for apps to install with."""


@pytest.fixture(params=["operator", "worker"])
def image(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def root(image: str) -> Path:
    if "ARQUBE_IMAGES" not in os.environ:
        pytest.skip("ARQUBE_IMAGES names no folder with the images' file systems")
    return Path(os.environ["ARQUBE_IMAGES"]) / image


def installed(root: Path) -> dict[str, str]:
    (packages,) = (root / "opt/arqube/lib").glob("python*/site-packages")
    return {found.name.lower().replace("_", "-"): found.version for found in distributions(path=[str(packages)])}


def locked(image: str) -> dict[str, str]:
    return dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)(?! ;)", (REPOSITORY / f"locks/{image}.txt").read_text(), re.MULTILINE)
    )


def test_an_image_is_small(image: str, root: Path) -> None:
    files = [path for path in (root / "opt/arqube").rglob("*") if path.is_file() and not path.is_symlink()]
    used = sum(path.stat().st_blocks * 512 for path in files)
    assert 1 * MB < used <= LIMITS_BYTES[image]


def test_an_image_holds_what_is_locked_and_nothing_else(image: str, root: Path) -> None:
    inside = installed(root)
    expected = locked(image)
    assert {name: version for name, version in inside.items() if name not in NOT_LOCKED} == {
        name: version for name, version in expected.items() if name in inside
    }
    assert set(expected) - set(inside) <= {"async-timeout"}, "of older Pythons alone"


def test_a_bill_of_materials_lists_each_package_with_its_version(image: str, root: Path) -> None:
    told = run("syft", "syft", "scan", f"dir:{root / 'opt/arqube'}", "--output=spdx-json", "--quiet")
    assert told.returncode == 0, told.stderr
    listed = {package["name"].lower(): package["versionInfo"] for package in json.loads(told.stdout)["packages"][:-1]}
    inside = installed(root)
    assert {name: listed.get(name) for name in inside} == inside


def test_a_dockerfile_says_what_the_image_is(image: str) -> None:
    text = (REPOSITORY / f"Dockerfile.{image}").read_text()
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", text))
    assert labels == {
        *("title", "description", "licenses", "version", "revision", "created", "source", "base.name", "base.digest")
    }
    assert re.search(r"^USER 65532:65532$", text, re.MULTILINE)
