"""The table of the chart's values, made from the comments in its values.yaml, and the pages that hold it.

``python -m charts.values_table`` writes the pages; with ``--check`` it tells where they differ and exits with 1. A
value's row is the comment that begins with ``# --`` above it; a value without one is an error, unless it holds others.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_REPOSITORY: Final = Path(__file__).resolve().parents[1]
_VALUES: Final = Path("charts/arqube/values.yaml")
_PAGES: Final = (Path("charts/arqube/README.md"), Path("docs/chart.md"))
_BEGIN: Final = "<!-- values: made from values.yaml by `python -m charts.values_table`; do not edit -->\n"
_END: Final = "<!-- end of values -->\n"


@dataclass(frozen=True, slots=True)
class Row:
    """One value: its name with dots, its default, what it does."""

    name: str
    default: Any
    text: str


def rows(values: str) -> list[Row]:
    """The rows that the text of a values.yaml describes, in its order.

    Raises:
        ValueError: Values have no description; the message names them.
    """
    root = yaml.compose(values, yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValueError("the values are no mapping")
    found = list(_rows(root, values.splitlines(), "", yaml.safe_load(values)))
    if nameless := [row.name for row in found if not row.text]:
        raise ValueError(f"no comment that begins with '# --' above {', '.join(nameless)}")
    return found


def _rows(node: yaml.MappingNode, lines: list[str], prefix: str, values: dict[str, Any]) -> Iterator[Row]:
    for key, value in node.value:
        name, text = f"{prefix}{key.value}", _comment(lines, key.start_mark.line)
        if not text and isinstance(value, yaml.MappingNode) and value.value:
            yield from _rows(value, lines, f"{name}.", values[key.value])
        else:
            yield Row(name, values[key.value], text)


def _comment(lines: list[str], line: int) -> str:
    """The description above that line, in one; empty where there is none."""
    above: list[str] = []
    while line > 0 and (stripped := lines[line - 1].strip()).startswith("#"):
        line -= 1
        if stripped.startswith("# --"):
            return " ".join([stripped.removeprefix("# --").strip(), *above])
        above.insert(0, stripped.removeprefix("#").strip())
    return ""


def table(described: Sequence[Row]) -> str:
    """The rows as a table in Markdown."""
    cells = [(f"`{row.name}`", f"`{json.dumps(row.default)}`", row.text) for row in described]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n"
        for line in [("Value", "Default", "What it does"), ("---", "---", "---"), *cells]
    )


def page(text: str, made: str) -> str:
    """``text`` with ``made`` as the table between its two marks.

    Raises:
        ValueError: A mark is missing.
    """
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the marks {_BEGIN.strip()!r} and {_END.strip()!r} are not both there")
    return f"{before}{begin}\n{made}\n{end}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or with ``--check`` compare them; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m charts.values_table", description="Write the table of values.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a page is not up to date")
    parser.add_argument("--root", type=Path, default=_REPOSITORY, help="top folder of the repository")
    options = parser.parse_args(arguments)
    made = table(rows((options.root / _VALUES).read_text()))
    stale = False
    for path in _PAGES:
        present = (options.root / path).read_text()
        wanted = page(present, made)
        if present == wanted:
            continue
        if options.check:
            stale = True
            sys.stdout.write(f"{path} is not what {_VALUES} says; run `python -m charts.values_table`\n")
            lines = (present.splitlines(True), wanted.splitlines(True))
            sys.stdout.writelines(difflib.unified_diff(*lines, "in the page", "from the values"))
        else:
            (options.root / path).write_text(wanted)
            sys.stdout.write(f"wrote {path}\n")
    return int(stale)


if __name__ == "__main__":
    raise SystemExit(main())
