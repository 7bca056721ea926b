"""The list of releases agrees with git, and what a release needs is looked at before it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import releases

PROJECT = """
[project]
dependencies = ["redis>=5"]
[project.optional-dependencies]
operator = ["kopf>=1000", "pydantic>=2,<3"]
worker = ["no-such-package>=1"]
"""


@pytest.mark.parametrize("release", releases.RELEASES, ids=[release["version"] for release in releases.RELEASES])
def test_a_release_is_the_commit_of_its_tag_and_was_recorded(release: dict[str, str]) -> None:
    tagged = releases.git("rev-parse", "--verify", "--quiet", f"{release['tag']}^{{commit}}")

    assert tagged is None or tagged.decode().strip() == release["commit"]
    recorded = Path(__file__).parent / "recorded" / release["version"]
    names = {file.name for file in recorded.iterdir()}
    assert names == {"definition.json", "objects.json", "outbox.json", "redis.json"}


def test_a_release_without_its_tag_is_found_by_its_commit() -> None:
    release = releases.RELEASES[0]
    if releases.git("cat-file", "-e", release["commit"]) is None:
        pytest.skip("the commit is not in the history here")

    assert releases.find(release | {"tag": "v0.0.0-none"}) == release["commit"]
    assert releases.find({"tag": "v0.0.0-none", "commit": "0" * 40}) is None


def test_packages_that_a_release_needs_and_that_are_not_here_are_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)

    assert releases.unmet(tmp_path / "pyproject.toml") == ["kopf>=1000", "no-such-package>=1"]
    assert releases.unmet(releases.ROOT / "pyproject.toml") == []
