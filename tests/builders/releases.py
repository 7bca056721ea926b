"""A released version of the project, taken from git's history, and how its programs are run beside today's."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
RELEASES: list[dict[str, str]] = yaml.safe_load((ROOT / "tests/upgrades/releases.yaml").read_text())
"""Newest first."""
PACKAGES = ("queue", "worker", "operator", "local")


@dataclass(frozen=True)
class Release:
    """The code of a release, in a folder of its own.

    Attributes:
        version: As in ``0.1.0``.
        found_as: How git found it.
        folder: Its tree.
        python: A Python whose packages fit it.
    """

    version: str
    found_as: str
    folder: Path
    python: Path

    def environment(self, **variables: str) -> dict[str, str]:
        """This process's environment, less what is for Arqube, in which Python imports the release's packages."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARQUBE_", "REDIS_"))}
        return {**kept, "PYTHONPATH": os.pathsep.join(str(self.folder / name) for name in PACKAGES), **variables}

    def run(self, *arguments: str, **variables: str) -> str:
        """The output of its Python with ``arguments``."""
        done = subprocess.run(
            [self.python, *arguments],
            env=self.environment(**variables),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def git(*arguments: str) -> bytes | None:
    """git's output about this repository; None when it fails, or there is none."""
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def find(release: dict[str, str]) -> str | None:
    """The tag or the commit of ``release``, whichever the history here holds."""
    for name in (release["tag"], release["commit"]):
        if git("cat-file", "-e", f"{name}^{{commit}}") is not None:
            return name
    return None


def unpack(revision: str, folder: Path, *paths: str) -> None:
    """Lay the tree of ``revision`` into ``folder``, or these parts of it."""
    archived = git("archive", revision, *paths)
    assert archived is not None
    with tarfile.open(fileobj=io.BytesIO(archived)) as archive:
        archive.extractall(folder, filter="data")


def unmet(pyproject: Path) -> list[str]:
    """What the installed packages lack of what the project of ``pyproject`` needs to run."""
    project: dict[str, Any] = tomllib.loads(pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    written: Iterable[str] = [*project["dependencies"], *extras["operator"], *extras["worker"]]
    return [str(requirement) for requirement in map(Requirement, written) if not _met(requirement)]


def _met(requirement: Requirement) -> bool:
    try:
        return requirement.specifier.contains(version(requirement.name), prereleases=True)
    except PackageNotFoundError:
        return False


def python_for(folder: Path) -> Path:
    """This Python if its packages fit the release in ``folder``, else an environment of the release's own lock."""
    if not unmet(folder / "pyproject.toml"):
        return Path(sys.executable)
    inner = folder / ".venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", str(folder / ".venv")], check=True, timeout=300)
    lock = str(folder / "locks/dev.txt")
    subprocess.run([inner, "-m", "pip", "install", "--quiet", "--requirement", lock], check=True, timeout=1800)
    return inner
