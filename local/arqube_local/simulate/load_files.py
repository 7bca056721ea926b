"""Loads from CSV files, such as those that ``arqube record`` writes: one job a line."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from random import Random
from typing import Final

from arqube_local.simulate.jobs import Arrival
from arqube_local.simulate.loads import Load, exponential

COLUMNS: Final = ("at_s", "due_s", "run_s")
_AFTERWARDS_S: Final = 600.0
"""How long the simulation goes on after the last arrival: queues drain and pods go."""


class LoadFileError(Exception):
    """The file is no load; the message names the file, the line and the remedy."""


def read_load(path: Path, seed: int, hours: float | None, job_s: float) -> Load:
    """The jobs of a CSV file.

    Its heading names the columns: ``at_s``, when the job is enqueued, in seconds from the start; optionally ``due_s``,
    when it may start, else at once; optionally ``run_s``, how long it runs. What is not given there is drawn.

    Args:
        seed: Of the run times that the file does not give.
        hours: The load ends so late; None is 10 minutes after the last arrival.
        job_s: Mean of the run times that the file does not give, in seconds.

    Raises:
        LoadFileError: The file cannot be read, or holds what is no job.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or ()
            if "at_s" not in names or (unknown := [name for name in names if name not in COLUMNS]):
                wrong = "at_s is missing" if "at_s" not in names else f"{', '.join(unknown)} is none of them"
                raise LoadFileError(f"{path}: the first line must name the columns at_s[,due_s][,run_s]: {wrong}")
            random = Random(f"{seed}/run_s")  # noqa: S311 - no secret
            arrivals = [_arrival(path, reader.line_num, row, random, job_s) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LoadFileError(f"{path}: {error}") from error
    if not arrivals:
        raise LoadFileError(f"{path}: holds no job: add a line a job below the heading")
    arrivals.sort(key=lambda arrival: arrival.at_s)
    seconds = arrivals[-1].at_s + _AFTERWARDS_S if hours is None else hours * 3600
    return Load(path.stem, seconds, tuple(arrivals))


def _arrival(path: Path, line: int, row: dict[str, str | None], random: Random, job_s: float) -> Arrival:
    at_s = _seconds(path, line, row, "at_s")
    if at_s is None:
        raise LoadFileError(f"{path}, line {line}: at_s is missing: give the seconds from the start")
    due_s = _seconds(path, line, row, "due_s")
    run_s = _seconds(path, line, row, "run_s")
    # A job that was due before it was enqueued waits from then on.
    due_s = at_s if due_s is None else max(at_s, due_s)
    return Arrival(at_s, due_s, exponential(random, job_s) if run_s is None else run_s)


def _seconds(path: Path, line: int, row: dict[str, str | None], column: str) -> float | None:
    text = (row.get(column) or "").strip()
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise LoadFileError(f"{path}, line {line}: {column} is {text!r}: it must be a number of seconds from 0 on")
    return value
