"""What ``arqube check`` has found: where, what, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How bad it is, the worst first."""

    ERROR = "error"
    """Jobs would fail, be lost, or never run."""
    WARNING = "warning"
    """It runs, and will surprise somebody."""
    NOTE = "note"
    """Worth knowing; nothing needs to change."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands.

    Attributes:
        file: Path relative to the project, with slashes.
        line: Counted from 1; None for the file as a whole.
    """

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        rule: Its name, such as ``shared-session``.
        level: How bad it is.
        place: Where to look.
        what: What is so and what comes of it, in one sentence.
        remedy: What to do, in one sentence.
    """

    rule: str
    level: Level
    place: Place
    what: str
    remedy: str


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Each once, the worst first, then by place."""
    levels = list(Level)
    return sorted(
        dict.fromkeys(findings),
        key=lambda each: (levels.index(each.level), each.place.file, each.place.line or 0, each.rule, each.what),
    )


def document(finding: Finding) -> dict[str, Any]:
    """The finding as JSON values."""
    return {
        "rule": finding.rule,
        "level": finding.level.value,
        "file": finding.place.file,
        "line": finding.place.line,
        "what": finding.what,
        "remedy": finding.remedy,
    }
