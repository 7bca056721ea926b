"""Loads from CSV files, such as those that ``arqube record`` writes: one job a line."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Final, NamedTuple

from arqube_local.simulate.jobs import Arrival
from arqube_local.simulate.loads import Load, exponential

_JOB_S: Final = 4.0
_LONGEST_S: Final = 7 * 86_400.0
_AFTERWARDS_S: Final = 600.0
"""How long the simulation goes on after the last arrival: queues drain and pods go."""


class LoadFileError(Exception):
    """The file is no load; the message names the file, the line and the remedy."""


class _Line(NamedTuple):
    at_s: float
    due_s: float | None
    run_s: float | None


def read_load(path: Path, seed: int, hours: float | None, job_s: float | None) -> Load:
    """The jobs of a CSV file, whose lines may be in any order.

    Its heading names the columns: ``at_s``, when the job is enqueued, in seconds from the start; optionally ``due_s``,
    when it may start, else at once; optionally ``run_s``, how long it runs, else that is drawn.

    Args:
        seed: Of the run times that are drawn.
        hours: The load ends so late; None is 10 minutes after the last arrival.
        job_s: Mean of the run times that are drawn, in seconds; None is the mean of those that the file gives, else 4.

    Raises:
        LoadFileError: The file cannot be read, or holds what is no job.
    """
    lines = _read(path)
    if not lines:
        raise LoadFileError(f"{path}: holds no job: add a line a job below the heading")
    given = [line.run_s for line in lines if line.run_s is not None]
    mean_s = job_s or (fmean(given) if given else 0.0) or _JOB_S
    random = Random(f"{seed}/run_s")  # noqa: S311 - no secret
    arrivals = [
        # A job that was due before it was enqueued waits from then on.
        Arrival(at_s, max(at_s, due_s or 0.0), exponential(random, mean_s) if run_s is None else run_s)
        for at_s, due_s, run_s in sorted(lines, key=lambda line: line.at_s)
    ]
    seconds = arrivals[-1].at_s + _AFTERWARDS_S if hours is None else hours * 3600
    return Load(path.stem, seconds, tuple(arrivals))


def _read(path: Path) -> list[_Line]:
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            if "at_s" not in names or (unknown := [name for name in names if name not in _Line._fields]):
                wrong = "at_s is missing" if "at_s" not in names else f"{', '.join(unknown)} is none of them"
                raise LoadFileError(f"{path}: the first line must name the columns at_s[,due_s][,run_s]: {wrong}")
            return [_line(f"{path}, line {reader.line_num}", row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoadFileError(f"{path}: {error}") from error


def _line(where: str, row: Mapping[str, str | None]) -> _Line:
    at_s = _seconds(where, row, "at_s")
    if at_s is None:
        raise LoadFileError(f"{where}: at_s is missing: give the seconds from the start")
    if at_s > _LONGEST_S:
        raise LoadFileError(f"{where}: at_s is more than a week: it must be the seconds from the start of the load")
    return _Line(at_s, _seconds(where, row, "due_s"), _seconds(where, row, "run_s"))


def _seconds(where: str, row: Mapping[str, str | None], column: str) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise LoadFileError(f"{where}: {column} is {text!r}: it must be a number of seconds from 0 on")
    return value
