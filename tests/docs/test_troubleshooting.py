"""The troubleshooting page has a section for each condition and a line for each reason, and for no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.docs.markdown import DOCS

import arqube_operator

OPERATOR = Path(arqube_operator.__file__).parent
WHERE_REASONS_ARE = (
    *("controller.py", "decide/conditions.py", "decide/state.py", "decide/scaling/decision.py"),
    *("decide/scaling/limits.py", "observe/addresses.py", "observe/objects.py", "observe/queues.py"),
)
CONDITIONS = {"Ready", "RedisReachable", "ScalingActive", "ScalingLimited", "WorkersAvailable"}
NO_REASONS = {
    *("PodScheduled", "ReplicaFailure", "TaskQueue", "TaskQueues", "True", "False", "Failing", "Failed", "Succeeded"),
    *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"),
    *("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff"),
    *("Cron", "Deferred", "Work", "Arrivals", "Backlog", "Jobs", "All", "Up", "Down"),
}
"""Words of Kubernetes and of the API in the same files; ``Failing`` stands in for a failure without a reason."""


def reasons() -> set[str]:
    found: set[str] = set()
    for name in WHERE_REASONS_ARE:
        for node in ast.walk(ast.parse((OPERATOR / name).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"^[A-Z][a-z]+(?:[A-Z][a-z]*)*$", node.value))
    return found - NO_REASONS - (CONDITIONS - {"Ready"})


def documented() -> set[str]:
    rows = re.findall(r"^\| (`[A-Z].*?) \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    return {word for row in rows for word in re.findall(r"`([A-Za-z]+)`", row)} - {"WAITING"}


def test_each_reason_has_its_line() -> None:
    assert len(reasons()) > 30
    assert reasons() - documented() - {"Ready"} == set()


def test_no_line_tells_of_a_reason_that_is_not_there() -> None:
    assert documented() - reasons() == set()


def test_each_condition_has_its_section() -> None:
    headings = set(re.findall(r"^## (\w+)$", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE))
    assert headings == CONDITIONS
