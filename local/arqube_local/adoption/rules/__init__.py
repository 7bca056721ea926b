"""The rules of ``arqube check``: each looks at what was read, and yields what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from arqube_local.adoption.findings import Finding, ordered
from arqube_local.adoption.look import Look
from arqube_local.adoption.rules import dependencies, images, jobs, manifests, producers, sessions, settings

Rule = Callable[[Look], Iterator[Finding]]

ALL: Final[tuple[Rule, ...]] = (
    *settings.RULES,
    *jobs.RULES,
    *sessions.RULES,
    *producers.RULES,
    *dependencies.RULES,
    *images.RULES,
    *manifests.RULES,
)


def findings(look: Look) -> list[Finding]:
    """What all rules find, the worst first."""
    return ordered(finding for rule in ALL for finding in rule(look))
