"""Times, texts, tables and JSON as every ``arqube`` command writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from arqube_operator.text import age, printable, timestamp

__all__ = ("age", "aligned", "printable", "shortened", "timestamp", "to_json")


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
