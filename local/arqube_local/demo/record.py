"""What the demo saw: a sample each half second, the ledger at the end, and the table, lines and chart of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from redis.asyncio import Redis

from arqube_local.demo.app import COMPLETED, INTERRUPTED

SAMPLE_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """The TaskQueue at one moment.

    Attributes:
        at_s: Seconds since the demo began.
        completed: Jobs that ran to their end so far.
        jobs_per_s: Those ended in the last second or so.
        replicas: Workers asked for.
        ready: Workers that take jobs.
    """

    at_s: float
    waiting: int
    running: int
    deferred: int
    completed: int
    jobs_per_s: float
    replicas: int
    ready: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the jobs themselves wrote down."""

    completed: int
    run_twice: int
    interrupted: int


async def read_ledger(redis: Redis) -> Ledger:
    """Count the entries of all jobs."""
    completed = [int(times) for times in await redis.hvals(COMPLETED)]  # type: ignore[misc]
    interrupted: int = await redis.hlen(INTERRUPTED)  # type: ignore[misc]
    return Ledger(len(completed), sum(times > 1 for times in completed), interrupted)


class Table:
    """The samples as they come: one line that is written over on a terminal, plain lines elsewhere."""

    HEADER: Final = (
        f"{'time':>6} {'waiting':>8} {'running':>8} {'deferred':>9} {'workers':>9} {'done':>6} {'jobs/s':>7}"
    )
    PLAIN_EVERY: Final = 4
    """Without a terminal only each fourth sample is a line."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty()
        self._count = 0
        print(self.HEADER, file=out)

    def show(self, sample: Sample) -> None:
        """Show one sample."""
        line = (
            f"{sample.at_s:5.1f}s {sample.waiting:8} {sample.running:8} {sample.deferred:9} "
            f"{sample.ready:4} of {sample.replicas:2} {sample.completed:6} {sample.jobs_per_s:7.1f}"
        )
        if self._live:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)
        elif self._count % self.PLAIN_EVERY == 0:
            print(line, file=self._out, flush=True)
        self._count += 1

    def say(self, text: str) -> None:
        """Tell a step; the live line is written anew below it."""
        print(f"\r\x1b[K-- {text}" if self._live else f"-- {text}", file=self._out, flush=True)


def draw(samples: Sequence[Sample], steps: Sequence[tuple[float, str]], path: Path) -> None:
    """Write a chart of waiting, running and workers over time, with the steps marked."""
    import matplotlib as mpl  # A second to import, and only needed here.

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    times = [sample.at_s for sample in samples]
    figure, (jobs, workers) = plt.subplots(2, 1, sharex=True, figsize=(10, 6), height_ratios=(2, 1))
    jobs.fill_between(times, [sample.waiting for sample in samples], color="#f4a259", alpha=0.6, label="waiting")
    jobs.plot(times, [sample.running for sample in samples], color="#2a6f97", label="running")
    jobs.plot(times, [sample.deferred for sample in samples], color="#888888", linestyle=":", label="deferred")
    jobs.set_ylabel("jobs")
    jobs.legend(loc="upper right")
    jobs.set_title("One TaskQueue: from zero and back", pad=24)
    workers.step(times, [sample.replicas for sample in samples], where="post", color="#bc4749", label="asked for")
    workers.fill_between(
        times, [sample.ready for sample in samples], step="post", color="#6a994e", alpha=0.5, label="ready"
    )
    workers.set_ylabel("workers")
    workers.set_xlabel("seconds")
    workers.legend(loc="upper center")
    for number, (at_s, _) in enumerate(steps, 1):
        for axes in (jobs, workers):
            axes.axvline(at_s, color="black", linewidth=0.6, alpha=0.4)
        # Steps may be close together: every other number stands higher.
        place = {"xy": (at_s, 1.0), "xytext": (0, 2 + 9 * (number % 2)), "textcoords": "offset points"}
        jobs.annotate(str(number), xycoords=("data", "axes fraction"), fontsize=8, ha="center", **place)
    numbered = [f"{number}  {text}" for number, (_, text) in enumerate(steps, 1)]
    half = (len(numbered) + 1) // 2
    caption = "\n".join("      ".join(row) for row in (numbered[:half], numbered[half:]))
    figure.text(0.5, 0.01, caption, ha="center", fontsize=8)
    figure.tight_layout(rect=(0, 0.07, 1, 1))
    figure.savefig(path, dpi=120)
    plt.close(figure)
