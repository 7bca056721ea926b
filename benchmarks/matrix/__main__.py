"""``python -m benchmarks.matrix``: run the tests on each combination of versions that is found, and print a table.

Pythons are found on PATH or among pyenv's, servers as ``benchmarks.matrix.servers`` says, a real API server as the
contract suite does. ``--output`` writes JSON, ``--page`` the table into a page of the documentation. The exit code is 1
when a cell failed; what was not found fails nothing, and the table says so.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks import table
from benchmarks.matrix import environments, servers
from benchmarks.matrix.cells import Cell, all_cells, lowest
from benchmarks.matrix.running import Outcome, run_cell

BEGIN: Final = "<!-- the table of `make matrix` begins -->\n"
END: Final = "<!-- and ends -->\n"
PARTS: Final = ("operator", "worker", "server", "kubernetes")
RESULTS: Final = ("passed", "failed", "not found")

Document = Mapping[str, Any]
"""An outcome as it stands in the JSON."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    options = parse(arguments)
    environments.FOLDER.mkdir(parents=True, exist_ok=True)
    constraints = environments.FOLDER / "lowest.txt"
    constraints.write_text("\n".join(lowest()) + "\n")
    cells = [
        cell
        for cell in all_cells(servers.find(), constraints=constraints, api_server=api_server())
        if fnmatch.fnmatch(f"{cell.part} {cell.python or ''} {cell.name}", options.only)
    ]
    if not cells:
        print(f"no cell is like {options.only}", file=sys.stderr)
        return 2
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = [outcome.document() for outcome in pool.map(told, cells)]
    known = together(options.output, outcomes)
    print("\n" + "\n".join(rows(known)))
    print(f"\n{summary(outcomes)}")
    if options.output:
        options.output.write_text(json.dumps({"machine": table.machine(), "cells": known}, indent=1) + "\n")
    if options.page:
        write_page(options.page, known)
    return int(any(outcome["result"] == "failed" for outcome in outcomes))


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.matrix", description=__doc__)
    parser.add_argument(
        "--only", default="*", help="cells whose part, Python and name are like this: 'server *', '*3.14*'"
    )
    parser.add_argument("--jobs", type=int, default=2, help="cells that run at once (default: 2)")
    parser.add_argument("--output", type=Path, help="write the outcomes as JSON; those of other cells stay in it")
    parser.add_argument("--page", type=Path, help="write the table into this page, between its two marks")
    return parser.parse_args(arguments)


def api_server() -> str | None:
    """The folder of a real kube-apiserver and etcd, if there is one."""
    folder = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/usr/local/kubebuilder/bin")
    return str(folder) if all((folder / name).exists() for name in ("kube-apiserver", "etcd")) else None


def told(cell: Cell) -> Outcome:
    """Run a cell, and say so when it is done."""
    outcome = run_cell(cell)
    print(f"{outcome.result}: {cell.part}, {outcome.ran_on or cell.name} ({outcome.seconds:.0f} s)", flush=True)
    if outcome.said:
        print(f"{outcome.said}\n---", flush=True)
    return outcome


def together(output: Path | None, outcomes: Sequence[Document]) -> list[Document]:
    """The outcomes of this run, and those of other cells that ``output`` holds from earlier ones, in order."""
    kept: list[Document] = []
    if output and output.exists():
        kept = json.loads(output.read_text())["cells"]
    known = {which(outcome): outcome for outcome in (*kept, *outcomes)}
    return sorted(known.values(), key=lambda outcome: PARTS.index(outcome["part"]))


def which(outcome: Document) -> tuple[str, str | None, str]:
    """The cell of an outcome."""
    return outcome["part"], outcome["python"], outcome["name"]


def rows(outcomes: Sequence[Document]) -> list[str]:
    """The table for a terminal."""
    lines = [f"{'part':10} {'cell':64} {'ran on':52} {'result':9} {'passed':>6} {'skipped':>7} {'s':>5}"]
    lines += [
        f"{each['part']:10} {each['name'][:64]:64} {each['ran_on'][:52]:52} {each['result']:9} "
        f"{each['passed']:6} {each['skipped']:7} {each['seconds']:5.0f}"
        for each in outcomes
    ]
    return lines


def summary(outcomes: Sequence[Document]) -> str:
    """How many cells went how."""
    counts = {result: sum(each["result"] == result for each in outcomes) for result in RESULTS}
    return f"{len(outcomes)} cells: " + ", ".join(f"{count} {result}" for result, count in counts.items())


def write_page(page: Path, outcomes: Sequence[Document]) -> None:
    """Put the table between the marks of a page."""
    before, rest = page.read_text().split(BEGIN)
    _, after = rest.split(END)
    lines = ["| part | what | ran on | tests | result |", "|---|---|---|---|---|"]
    lines += [
        f"| {each['part']} | {each['name']} | {each['ran_on']} | {each['passed']} | {each['result']} |"
        for each in outcomes
    ]
    page.write_text(f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
