"""Counts the hostile inputs by kind: the items with a parameter ``case`` of the modules that name a KIND.

Those of ``tests/contract/bad_manifests.yaml`` are a corpus of their own, run there on two API servers.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

BAD_MANIFESTS = Path(__file__).parents[1] / "contract" / "bad_manifests.yaml"

kinds: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def no_logs_to_streams_that_have_ended() -> Iterator[None]:
    """Commands that run in this process have its logs written to streams which end with their test."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    for handler in root.handlers[:]:
        its_own = type(handler).__module__.startswith("_pytest")
        if handler not in before and isinstance(handler, logging.StreamHandler) and not its_own:
            root.removeHandler(handler)
    root.setLevel(level)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        kind = getattr(getattr(item, "module", None), "KIND", None)
        if kind is not None and "case" in getattr(getattr(item, "callspec", None), "params", ()):
            kinds[kind] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not kinds:
        return
    manifests = len(yaml.safe_load(BAD_MANIFESTS.read_text())["cases"])
    told = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    terminalreporter.write_line(
        f"hostile inputs: {kinds.total()} here ({told}), and {manifests} TaskQueues in {BAD_MANIFESTS.name}"
    )
