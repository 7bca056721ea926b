"""Times, texts, tables and JSON as every ``arqube`` command writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any


def age(seconds: int) -> str:
    """As kubectl writes ages: the largest unit of which there are two."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def timestamp(unix_ms: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds; None for None, and for what is no time that can be written."""
    if unix_ms is None:
        return None
    try:
        moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """``text`` in one line, with a mark in the place of each character that is not to be seen."""
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines of columns, the heading first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def shortened(text: str, length: int) -> str:
    """``text`` in one line of at most ``length`` characters, with a mark where it is cut."""
    line = printable(text)
    return line if len(line) <= length else line[: length - 1] + "\u2026"


def to_json(value: Any) -> str:
    """``value`` as JSON for people and programs; characters that command a terminal are escaped."""
    return json.dumps(value, indent=2)
