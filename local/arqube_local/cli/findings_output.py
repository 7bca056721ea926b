"""How ``arqube check`` writes what it has found: as a table for people, as JSON for programs."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import Final

from arqube_local.adoption.findings import Finding, Level, document
from arqube_local.text import printable, to_json

_NARROWEST: Final = 30
_LEVEL: Final = 9
"""Characters of the first column."""


def table(findings: Sequence[Finding], width: int) -> str:
    """Under a heading, for each what is wrong and, indented, the remedy; wrapped to ``width`` characters."""
    places = [printable(str(each.place)) for each in findings]
    where = max(len("WHERE"), *map(len, places)) + 2
    text = max(_NARROWEST, width - _LEVEL - where)
    lines = [f"{'LEVEL':<{_LEVEL}}{'WHERE':<{where}}WHAT, AND WHAT TO DO"]
    for each, place in zip(findings, places, strict=True):
        wrapped = textwrap.wrap(printable(f"{each.what} [{each.rule}]"), text, break_on_hyphens=False)
        wrapped += textwrap.wrap(
            printable(each.remedy), text, initial_indent="-> ", subsequent_indent="   ", break_on_hyphens=False
        )
        lines.append(f"{each.level:<{_LEVEL}}{place:<{where}}{wrapped[0]}")
        lines += [f"{'':<{_LEVEL + where}}{line}" for line in wrapped[1:]]
    return "\n".join(lines)


def summary(findings: Sequence[Finding]) -> str:
    """How many there are of each level."""
    counts = Counter(each.level for each in findings)
    told = [f"{counts[level]} {level}{'s' if counts[level] > 1 else ''}" for level in Level if counts[level]]
    return ", ".join(told) or "nothing found"


def as_json(findings: Sequence[Finding]) -> str:
    """All of them, with the number of each level."""
    counts = Counter(each.level for each in findings)
    numbers = {f"{level.value}s": counts[level] for level in Level}
    return to_json({"findings": [document(each) for each in findings], **numbers})
