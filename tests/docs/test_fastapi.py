"""Each promise on the page about FastAPI apps names tests, and they are there."""

from __future__ import annotations

import ast
import re

import pytest
from tests.docs.markdown import DOCS, REPOSITORY

SECTION = re.split(r"^## ", (DOCS / "fastapi.md").read_text(), flags=re.MULTILINE)[1]
ROWS = re.findall(r"^\| (?!promise|---)(.*?) \| .* \| (.*?) \|$", SECTION, re.MULTILINE)
REFERENCE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_the_page_has_its_table() -> None:
    assert len(ROWS) > 15


@pytest.mark.parametrize(("promise", "proof"), [pytest.param(*row, id=row[0]) for row in ROWS])
def test_what_is_promised_is_tested(promise: str, proof: str) -> None:
    named = REFERENCE.findall(proof)
    assert named, f"{promise}: no test is named"
    for file, name in named:
        tree = ast.parse((REPOSITORY / file).read_text())
        functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
        assert name in functions, f"{promise}: {file} has no {name}"
