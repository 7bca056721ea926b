"""The last release, from git's history; the last lines of a run tell what upgrades were tested from."""

from __future__ import annotations

from typing import Any

import pytest

from builders import releases
from builders.releases import Release

ran_on: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ran_on:
        terminalreporter.write_line(f"upgrades: {', '.join(ran_on)}")


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """The newest release, its code ready to run.

    It is not there in a clone that is shallow: then upgrades are tested by the recorded data alone, which is told.
    """
    release = releases.RELEASES[0]
    revision = releases.find(release)
    if revision is None:
        missing = f"{release['tag']} and {release['commit'][:10]} are not in the history here"
        if releases.git("rev-parse", "--is-shallow-repository") == b"false\n":
            pytest.fail(f"{missing}, which is not shallow: correct tests/upgrades/releases.yaml")
        ran_on.append(f"recorded data alone, as {missing}")
        pytest.skip(ran_on[-1])
    folder = tmp_path_factory.mktemp(f"arqube-{release['version']}")
    releases.unpack(revision, folder)
    python = releases.python_for(folder)
    ran_on.append(f"from {release['version']} ({revision[:10]}) with {python}")
    return Release(release["version"], revision, folder, python)
