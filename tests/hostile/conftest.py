"""Counts the hostile inputs by kind: the items with a parameter ``case`` of the modules that name a KIND.

Those of ``tests/contract/bad_manifests.yaml`` are a corpus of their own, run there on two API servers.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

BAD_MANIFESTS = Path(__file__).parents[1] / "contract" / "bad_manifests.yaml"

kinds: Counter[str] = Counter()


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
