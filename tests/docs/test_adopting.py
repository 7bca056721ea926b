"""The table of rules on the page about adopting is the one that ``arqube check`` has."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.docs.markdown import DOCS

from arqube_local import adoption

FOLDER = Path(adoption.__path__[0])


def findings() -> Iterator[tuple[str, str]]:
    """Name and level of each ``Finding(...)`` in the source."""
    for path in (*FOLDER.glob("rules/*.py"), FOLDER / "imported.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
                rule, level = node.args[:2]
                assert isinstance(rule, ast.Constant)
                for each in ast.walk(level):
                    if (
                        isinstance(each, ast.Attribute)
                        and isinstance(each.value, ast.Name)
                        and each.value.id == "Level"
                    ):
                        yield rule.value, each.attr.lower()


def test_each_rule_stands_in_the_table_with_its_levels() -> None:
    page = (DOCS / "adopting.md").read_text()
    told = {
        (rule, level)
        for rules, levels in re.findall(r"^\| (`[^|]+`) \| ([a-z, ]+) \|", page, re.MULTILINE)
        for rule in re.findall(r"`([a-z-]+)`", rules)
        for level in levels.split(", ")
    }
    assert told == set(findings())
