"""The version stands in pyproject.toml; wherever else it must be written, it is the same."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
RELEASES: list[str] = [each["version"] for each in yaml.safe_load((ROOT / "tests/upgrades/releases.yaml").read_text())]
WRITTEN = re.compile(r"\barqube-(?:worker|operator):(\d+\.\d+\.\d+)|^ARG VERSION=(\S+)", re.MULTILINE)
FOLDERS = ("benchmarks", "charts", "docs", "examples", "tests/e2e")
FILES = sorted(
    path
    for path in (*ROOT.glob("*"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*")))
    if path.suffix in (".md", ".yaml") or path.name.startswith("Dockerfile")
)


def number(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def test_images_have_the_projects_version_wherever_they_are_named() -> None:
    found = {path: {a or b for a, b in WRITTEN.findall(path.read_text())} for path in FILES}

    named = {str(path.relative_to(ROOT)): versions for path, versions in found.items() if versions}
    assert len(named) >= 10
    assert {name: versions for name, versions in named.items() if versions != {VERSION}} == {}


def test_the_chart_installs_the_projects_version() -> None:
    assert yaml.safe_load((ROOT / "charts/arqube/Chart.yaml").read_text())["appVersion"] == VERSION


@pytest.mark.parametrize("release", RELEASES)
def test_a_release_is_in_the_changelog_and_its_number_is_used_up(release: str) -> None:
    headings = re.findall(r"^## \[(.+)\](?: - \d{4}-\d{2}-\d{2})?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert headings[0] == "Unreleased"
    assert release in headings[1:]
    assert number(VERSION) > number(release)
