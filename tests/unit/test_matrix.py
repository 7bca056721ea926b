"""The compatibility matrix: which cells there are, which servers are found, and what the table keeps."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from benchmarks.matrix import __main__ as matrix
from benchmarks.matrix import running, servers
from benchmarks.matrix.cells import Cell, all_cells, lowest
from benchmarks.matrix.servers import Server

PROJECT = """
[project]
dependencies = ["redis[hiredis]>=5.2,<6"]
[project.optional-dependencies]
operator = ["aiohttp>=3.10,<4", "tzdata>=2025.1"]
"""


def program(folder: Path, name: str, said: str, code: int = 0) -> None:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{said}'\nexit {code}\n")
    path.chmod(0o755)


def outcome(part: str, name: str, result: str = "passed", python: str | None = None) -> dict[str, object]:
    told = {"result": result, "ran_on": name, "passed": 1, "skipped": 0, "said": "", "seconds": 1.0}
    return {"part": part, "python": python, "name": name, **told}


def test_the_lowest_versions_are_the_floors_of_the_ranges(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT)

    assert lowest(tmp_path / "pyproject.toml") == ("redis==5.2", "aiohttp==3.10", "tzdata==2025.1")
    assert len(lowest()) >= 10


def test_servers_are_one_of_each_minor_version_those_on_path_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, more = tmp_path / "path", tmp_path / "more"
    program(first, "redis-server", "Redis server v=7.0.15 sha=0 bits=64")
    program(more, "redis-server-7.0", "Redis server v=7.0.4 sha=0 bits=64")
    program(more, "redis-server-6.2", "Redis server v=6.2.16 sha=0 bits=64")
    program(more, "valkey-server-7.2", "Server v=7.2.7 sha=0 bits=64")
    program(more, "redis-server-5.0", "for another machine", 126)
    program(more, "redis-cli", "Redis server v=1.0.0")
    monkeypatch.setenv("PATH", os.pathsep.join((str(first), "/bin")))
    monkeypatch.setenv("ARQUBE_SERVERS", str(more))

    found = [server for server in servers.find() if tmp_path in server.path.parents]

    assert [server.name for server in found] == ["Redis 6.2.16", "Redis 7.0.15", "Valkey 7.2.7"]


def test_what_is_wanted_and_not_found_is_a_cell_that_says_so(tmp_path: Path) -> None:
    redis = Server("Redis", (7, 0, 15), tmp_path / "redis-server")

    cells = all_cells([redis], constraints=tmp_path / "lowest.txt", api_server=None)

    missing = {cell.name: cell.missing for cell in cells if cell.missing}
    assert missing.keys() == {"Redis 6", "Redis 8", "Valkey 7", "Valkey 8", "Valkey 9", "a real API server"}
    assert "redis-server" in missing["Redis 6"]
    assert "KUBEBUILDER_ASSETS" in missing["a real API server"]
    told = [running.run_cell(cell) for cell in cells if cell.missing]
    assert {each.result for each in told} == {"not found"}
    assert {cell.python for cell in cells if cell.part == "worker"} == {"3.10", "3.11", "3.12", "3.13", "3.14"}
    minors = {
        package[:9] for cell in cells if cell.part == "worker" for package in cell.packages if package[:3] == "arq"
    }
    assert minors == {"arq==0.25", "arq==0.26", "arq==0.27", "arq==0.28"}


@pytest.mark.parametrize(
    ("test", "result"),
    [
        pytest.param("def test_it(): pass", "passed", id="a test that passes"),
        pytest.param("def test_it(): assert 0, 'no good'", "failed", id="one that fails"),
        pytest.param("import pytest\ndef test_it(): pytest.skip('not here')", "failed", id="none but skipped ones"),
        pytest.param("", "failed", id="none"),
    ],
)
def test_a_cell_passes_only_if_tests_did(tmp_path: Path, test: str, result: str) -> None:
    file = tmp_path / "test_it.py"
    file.write_text(test)

    told = running.run_cell(Cell("kubernetes", "made", (str(file), "--rootdir", str(tmp_path), "-c", os.devnull)))

    assert told.result == result
    assert ("no good" in told.said) == ("no good" in test)


def test_a_run_of_some_cells_leaves_the_outcomes_of_the_others(tmp_path: Path) -> None:
    file = tmp_path / "matrix.json"
    old = [outcome("server", "Redis 6.2.16", "failed"), outcome("operator", "the locked versions", python="3.11")]
    file.write_text(json.dumps({"cells": old}))

    told = matrix.together(file, [outcome("server", "Redis 6.2.16"), outcome("worker", "arq==0.28.0", python="3.14")])

    assert [(each["part"], each["result"]) for each in told] == [
        ("operator", "passed"),
        ("worker", "passed"),
        ("server", "passed"),
    ]
    assert matrix.together(None, old) == sorted(old, key=lambda each: str(each["part"]))


def test_the_table_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{matrix.BEGIN}what was there\n{matrix.END}after\n")

    matrix.write_page(page, [outcome("server", "Redis 6.2.16", "not found")])

    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "what was there" not in text
    assert "| server | Redis 6.2.16 | Redis 6.2.16 | 1 | not found |" in text
