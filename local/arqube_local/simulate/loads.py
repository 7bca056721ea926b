"""Loads: which jobs arrive when, drawn from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Final

from arqube_local.simulate.jobs import Arrival

RunTimes = Callable[[Random, float], float]
"""Draws a run time of a given mean."""


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron job of the workers: its name, when it is due, and how long a run takes, in seconds."""

    name: str
    due_s: tuple[float, ...]
    run_s: float


@dataclass(frozen=True, slots=True)
class Load:
    """What arrives.

    Attributes:
        seconds: How long it lasts.
        arrivals: In the order of their times.
    """

    name: str
    seconds: float
    arrivals: tuple[Arrival, ...]
    crons: tuple[Cron, ...] = ()


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of load.

    Attributes:
        what: What it is, for people.
        hours: How long it lasts unless told otherwise.
        job_s: Mean run time of its jobs unless told otherwise, in seconds.
        draw: Makes it, from the source of random numbers, the seconds and the mean run time.
    """

    what: str
    hours: float
    job_s: float
    draw: Callable[[Random, float, float], tuple[Arrival, ...]]
    crons: Callable[[float, float], tuple[Cron, ...]] = lambda seconds, job_s: ()

    def load(self, name: str, seed: int, hours: float | None = None, job_s: float | None = None) -> Load:
        """The load of ``seed``."""
        seconds = (self.hours if hours is None else hours) * 3600
        job_s = self.job_s if job_s is None else job_s
        arrivals = self.draw(Random(f"{seed}/{name}"), seconds, job_s)  # noqa: S311 - no secret
        return Load(
            name, seconds, tuple(sorted(arrivals, key=lambda arrival: arrival.at_s)), self.crons(seconds, job_s)
        )


def exponential(random: Random, mean_s: float) -> float:
    """Many short jobs, a few long ones."""
    return random.expovariate(1 / mean_s)


def lognormal(random: Random, mean_s: float, sigma: float) -> float:
    """As run times of real jobs often are: ``sigma`` is the spread of their logarithm."""
    return random.lognormvariate(math.log(mean_s) - sigma**2 / 2, sigma)


def poisson(
    random: Random, start_s: float, end_s: float, rate: float, job_s: float, run_times: RunTimes = exponential
) -> Iterator[Arrival]:
    """Jobs that come independently of each other, ``rate`` a second."""
    at_s = start_s
    while rate > 0 and (at_s := at_s + random.expovariate(rate)) < end_s:
        yield Arrival(at_s, at_s, run_times(random, job_s))


def _step(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """1 job/s, then 10 in the second quarter, then 1 again."""
    bounds = (0.0, seconds / 4, seconds / 2, seconds)
    return tuple(
        arrival
        for start_s, end_s, rate in zip(bounds, bounds[1:], (1.0, 10.0, 1.0), strict=False)
        for arrival in poisson(random, start_s, end_s, rate, job_s)
    )


def _spike(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """1 job/s, and 20 a second for 2 minutes of each 30."""
    return _alternate(random, seconds, job_s, exponential, low=1.0, high=20.0, low_s=1680.0, high_s=120.0)


def _on_off(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """Nothing for 10 minutes, then 6 jobs/s for 5."""
    return _alternate(random, seconds, job_s, _SPREAD, low=0.0, high=6.0, low_s=600.0, high_s=300.0)


def _alternate(
    random: Random,
    seconds: float,
    job_s: float,
    run_times: RunTimes,
    low: float,
    high: float,
    low_s: float,
    high_s: float,
) -> tuple[Arrival, ...]:
    arrivals: list[Arrival] = []
    start_s = 0.0
    while start_s < seconds:
        middle_s, end_s = start_s + low_s, start_s + low_s + high_s
        arrivals += poisson(random, start_s, min(middle_s, seconds), low, job_s, run_times)
        arrivals += poisson(random, middle_s, min(end_s, seconds), high, job_s, run_times)
        start_s = end_s
    return tuple(arrivals)


def _diurnal(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """A day in the time that there is: 0.5 jobs/s at its ends, 8 in its middle, along a cosine in steps of a minute."""
    arrivals: list[Arrival] = []
    for minute in range(math.ceil(seconds / 60)):
        start_s = minute * 60.0
        rate = 4.25 - 3.75 * math.cos(2 * math.pi * start_s / seconds)
        arrivals += poisson(random, start_s, min(start_s + 60.0, seconds), rate, job_s)
    return tuple(arrivals)


def _bursty(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """A Markov-modulated Poisson process: 1 job/s for 5 minutes in the mean, 12 for 90 s in the mean."""
    arrivals: list[Arrival] = []
    start_s, burst = 0.0, False
    while start_s < seconds:
        end_s = min(seconds, start_s + random.expovariate(1 / (90.0 if burst else 300.0)))
        arrivals += poisson(random, start_s, end_s, 12.0 if burst else 1.0, job_s, _SPREAD)
        start_s, burst = end_s, not burst
    return tuple(arrivals)


def _deferred(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """1,500 jobs that are put off until tomorrow at the start, beside 2 a second that are due at once."""
    tomorrow = [Arrival(0.0, 86_400.0, exponential(random, job_s)) for _ in range(1500)]
    return (*tomorrow, *poisson(random, 0.0, seconds, 2.0, job_s))


def _short_bursts(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """600 jobs at once each minute, all of one length."""
    return tuple(
        Arrival(60.0 * minute, 60.0 * minute, job_s) for minute in range(int(seconds / 60)) for _ in range(600)
    )


def _long(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    """Minutes a job: one each 4 s, and one each 2 s in the middle third."""
    bounds = (0.0, seconds / 3, 2 * seconds / 3, seconds)
    return tuple(
        arrival
        for start_s, end_s, rate in zip(bounds, bounds[1:], (0.25, 0.5, 0.25), strict=False)
        for arrival in poisson(random, start_s, end_s, rate, job_s, partial(lognormal, sigma=0.5))
    )


def _none(random: Random, seconds: float, job_s: float) -> tuple[Arrival, ...]:
    return ()


def _crons(seconds: float, job_s: float) -> tuple[Cron, ...]:
    """One each 10 minutes, and one each 37."""
    return tuple(
        Cron(name, tuple(range(int(first_s), int(seconds), int(first_s))), job_s)
        for name, first_s in (("each-10-minutes", 600.0), ("each-37-minutes", 2220.0))
    )


_SPREAD: Final[RunTimes] = partial(lognormal, sigma=1.0)

SHAPES: Final[dict[str, Shape]] = {
    "step": Shape("1 job/s, 10 in the second quarter", 2.0, 4.0, _step),
    "spike": Shape("1 job/s, 20 for 2 minutes of each 30", 2.0, 4.0, _spike),
    "diurnal": Shape("0.5 to 8 jobs/s and back along a cosine", 6.0, 4.0, _diurnal),
    "bursty": Shape("1 job/s, 12 in bursts of random length", 3.0, 4.0, _bursty),
    "onoff": Shape("6 jobs/s for 5 minutes of each 15, else none", 2.0, 4.0, _on_off),
    "deferred": Shape("2 jobs/s beside 1,500 deferred to tomorrow", 1.25, 4.0, _deferred),
    "shortbursts": Shape("600 jobs of 0.2 s each minute", 1.0, 0.2, _short_bursts),
    "long": Shape("0.25 to 0.5 jobs/s of about 2 minutes", 2.0, 120.0, _long),
    "cron": Shape("cron jobs alone: each 10 and each 37 minutes", 4.0, 4.0, _none, _crons),
}
