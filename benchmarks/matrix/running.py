"""Runs one cell of the matrix in processes of its own, and says what it ran on and how it went."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.matrix import environments
from benchmarks.matrix.cells import ROOT, Cell

CELL_TIMEOUT_S: Final = 3600
TEST_TIMEOUT_S: Final = 600
"""For a test, on a machine that runs several cells at once."""
SAID: Final = 4000
"""Characters of a failed cell's output that are kept."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a cell went.

    Attributes:
        cell: The cell.
        result: ``passed``, ``failed`` or ``not found``.
        ran_on: What it ran on; what is missing where something was not found.
        passed: Tests that passed.
        skipped: Tests that were skipped.
        seconds: How long the tests took.
        said: The end of the output of a cell that failed.
    """

    cell: Cell
    result: str
    ran_on: str
    passed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    said: str = ""

    def document(self) -> dict[str, Any]:
        """For JSON."""
        told = {name: getattr(self, name) for name in ("result", "ran_on", "passed", "skipped", "said")}
        named = {"part": self.cell.part, "python": self.cell.python, "name": self.cell.name}
        return {**named, **told, "seconds": round(self.seconds, 1)}


def run_cell(cell: Cell) -> Outcome:
    """Make the cell's environment if it needs one, and run its tests."""
    if cell.missing:
        return Outcome(cell, "not found", cell.missing)
    python, image = Path(sys.executable), None
    if cell.python is not None:
        found = environments.interpreter(cell.python)
        if found is None:
            return Outcome(cell, "not found", f"no Python {cell.python} on PATH or among pyenv's")
        name = re.sub(r"[^a-z0-9.]+", "-", f"{cell.part} {cell.python} {cell.name}".lower())
        try:
            made = environments.environment(found, name, cell.packages)
        except (SystemExit, subprocess.TimeoutExpired) as error:
            return Outcome(cell, "failed", f"Python {cell.python}", said=str(error)[-SAID:])
        python, image = (python, made) if cell.part == "worker" else (made, None)
    began = time.monotonic()
    with _path(cell) as path:
        code, text = _pytest(cell, python, image, path)
    counts = {
        word: int(number) for number, word in re.findall(r"(\d+) (passed|skipped)", text.rpartition("\n=")[2] or text)
    }
    good = code == 0 and counts.get("passed", 0) > 0  # where all was skipped, nothing was shown
    return Outcome(
        cell,
        "passed" if good else "failed",
        _ran_on(cell, image or python, text),
        counts.get("passed", 0),
        counts.get("skipped", 0),
        time.monotonic() - began,
        "" if good else text[-SAID:],
    )


@contextlib.contextmanager
def _path(cell: Cell) -> Iterator[str]:
    """A PATH on which the cell's server comes first, under the name that tests look for."""
    with tempfile.TemporaryDirectory(prefix="arqube-matrix-") as folder:
        if cell.server is not None:
            (Path(folder) / "redis-server").symlink_to(cell.server.path.resolve())
        yield os.pathsep.join((folder, os.environ.get("PATH", "")))


def _pytest(cell: Cell, python: Path, image: Path | None, path: str) -> tuple[int, str]:
    """The exit code and output of the cell's tests, run by ``python``."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ARQUBE_", "PYTHON"))}
    environ |= {"PATH": os.pathsep.join((str(python.parent), path)) if cell.server is None else path}
    environ |= {"ARQUBE_MATRIX_IMAGE": str(image)} if image else {}
    if not cell.real_api_server:
        environ["KUBEBUILDER_ASSETS"] = "/nowhere"
    # Some tests run on a Valkey besides, which has cells of its own.
    chosen = ["-k", "not valkey"] if cell.server is not None else []
    options = ["-q", "-p", "no:cacheprovider", f"--timeout={TEST_TIMEOUT_S}", *chosen]
    command = [str(python), "-m", "pytest", *options, *cell.tests]
    try:
        done = subprocess.run(  # noqa: S603
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=CELL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as late:
        return 1, f"not done after {CELL_TIMEOUT_S} s\n{(late.stdout or b'').decode(errors='replace')}"
    return done.returncode, done.stdout + done.stderr


def _ran_on(cell: Cell, python: Path, text: str) -> str:
    if cell.server is not None:
        return cell.server.name
    if cell.part == "kubernetes":
        return ", ".join(re.findall(r"kube-apiserver v[0-9.]+|schemas of Kubernetes [^\n]+", text))
    return environments.shown(python)
