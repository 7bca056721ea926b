"""Public traces as loads; README.md beside this file tells where they come from and how they are scaled."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import fmean, median
from typing import Final

from arqube_local.simulate.jobs import Arrival
from arqube_local.simulate.loads import Load, poisson
from arqube_local.simulate.results import percentile

JOB_S: Final = 4.0
"""Mean run time of a job."""
SECONDS: Final = 4 * 3600.0
"""Length of a section of a trace of counts."""
FASTER: Final = 5.0
"""A trace of counts is played so many times as fast: values a minute are harder to follow than each 5."""
PEAK_JOBS_PER_S: Final = 20.0
"""What the 99th percentile of a trace of counts becomes, and what is above it: 16 of 20 pods of 5 slots."""

_COUNTS: Final = ["timestamp", "value"]
_REQUESTS: Final = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]


def find(folder: Path) -> dict[str, Path]:
    """The traces in ``folder`` by name: all CSV files whose heading is known."""
    found = {}
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            if next(csv.reader(file), []) in (_COUNTS, _REQUESTS):
                found[path.stem] = path
    return found


def read(path: Path, seed: int) -> Load:
    """The load that ``path`` makes with ``seed``."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    random = Random(f"{seed}/{path.stem}")  # noqa: S311 - no secret
    arrivals, seconds = _requests(rows) if _REQUESTS[0] in rows[0] else _counts(rows, random)
    return Load(path.stem, seconds, tuple(arrivals))


def _requests(rows: Sequence[Mapping[str, str]]) -> tuple[list[Arrival], float]:
    """Each request a job, at its own time; it runs as long as it generated tokens, by a factor that makes the mean."""
    times = [_seconds(row["TIMESTAMP"]) for row in rows]
    tokens = [int(row["GeneratedTokens"]) for row in rows]
    a_token_s = JOB_S / fmean(tokens)
    begin_s = min(times)
    jobs = [(at - begin_s, count * a_token_s) for at, count in zip(times, tokens, strict=True)]
    return [Arrival(at_s, at_s, run_s) for at_s, run_s in sorted(jobs)], max(times) - begin_s


def _counts(rows: Sequence[Mapping[str, str]], random: Random) -> tuple[list[Arrival], float]:
    """A section from a place that the seed draws: Poisson arrivals at the rate of each value."""
    times = [_seconds(row["timestamp"]) for row in rows]
    values = [float(row["value"]) for row in rows]
    step_s = median(later - earlier for earlier, later in pairwise(times)) / FASTER
    peak = percentile(values, 0.99)
    steps = min(len(values), int(SECONDS / step_s))
    first = random.randrange(len(values) - steps + 1)
    arrivals: list[Arrival] = []
    for number, value in enumerate(values[first : first + steps]):
        rate = PEAK_JOBS_PER_S * min(1.0, value / peak)
        arrivals += poisson(random, number * step_s, (number + 1) * step_s, rate, JOB_S)
    return arrivals, steps * step_s


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp[:26]).replace(tzinfo=UTC).timestamp()
