"""What the alerts' suite runs on: promtool and prometheus, where they are installed, and it says which."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).parents[2] / "charts" / "arqube" / "rules" / "arqube.yaml"

ran_on: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ran_on:
        terminalreporter.write_line(f"alerts suite: {', '.join(ran_on)}")


def _tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        said = f"no {name} installed"
    else:
        version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        said = " ".join((version.stdout or version.stderr).split()[:3]).replace(",", "")
    if said not in ran_on:
        ran_on.append(said)
    if path is None:
        pytest.skip(said)
    return path


@pytest.fixture(scope="session")
def promtool() -> str:
    """Path of promtool; without one the test is skipped."""
    return _tool("promtool")


@pytest.fixture(scope="session")
def prometheus() -> str:
    """Path of prometheus; without one the test is skipped."""
    return _tool("prometheus")


@pytest.fixture(scope="session")
def alerts() -> dict[str, dict[str, Any]]:
    """The alerting rules by name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}
