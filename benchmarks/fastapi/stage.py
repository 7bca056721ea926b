"""What the run needs of the place where it happens, and how it goes: load, blows, drain, verdict."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from benchmarks.fastapi.client import Ledger
from benchmarks.fastapi.faults import Blow, Fault, schedule
from benchmarks.fastapi.verdict import Records, Verdict, judge

DRAIN_S: Final = 180.0
"""How long jobs may take after the load: a killed worker's lease and the pauses of retries are part of it."""
SETTLED_S: Final = 6.0
"""For how long none must be left: an API that the client gave up after its 5 s may still have committed a user."""
LOOK_S: Final = 0.5


class Way(StrEnum):
    """How users and their jobs come to be."""

    OUTBOX = "outbox"
    AFTER_COMMIT = "after-commit"
    BEFORE_COMMIT = "before-commit"

    @property
    def path(self) -> str:
        """Where the API creates users in this way."""
        return "/api/v1/users" if self is Way.OUTBOX else f"/control/{self.value}/users"


class NotReadyError(Exception):
    """Something did not start in time; the message holds the end of its log."""


class Stage(Protocol):
    """A place with the API, PostgreSQL, Redis, and workers that the operator runs."""

    @property
    def versions(self) -> tuple[str, ...]:
        """What it runs on."""

    async def until_ready(self) -> None:
        """Wait until all of it takes work.

        Raises:
            NotReadyError: It does not in time.
        """

    async def load(self, *, rate: float, seconds: float, run: str, path: str) -> Ledger:
        """Create users, and return what each POST was answered."""

    async def inflict(self, fault: Fault) -> bool:
        """Strike, and bring back what does not come back by itself; whether there was something to strike."""

    async def left(self) -> tuple[int, int]:
        """Jobs that are committed and not yet in Redis, and those in Redis."""

    async def records(self) -> Records:
        """What is left."""

    async def empty(self) -> None:
        """Forget all users, mails and counts."""


@dataclass(frozen=True, slots=True)
class Run:
    """A run and its figures.

    Attributes:
        way: How users were created.
        rate, seconds: Of the load, as asked for.
        rate_reached: Users a second that the client sent.
        late_s: The most that a POST was sent after its time.
        drain_s: From the end of the load until no job was left; None when some were left after ``DRAIN_S``.
        blows: What was struck, and how often.
        verdict: The figures that matter.
    """

    way: Way
    rate: float
    seconds: float
    rate_reached: float
    late_s: float
    drain_s: float | None
    blows: dict[str, int]
    verdict: Verdict

    @property
    def is_kept(self) -> bool:
        """All jobs have ended, and every promise holds."""
        return self.drain_s is not None and self.verdict.is_kept

    def to_json(self) -> dict[str, Any]:
        """The run as JSON has it."""
        own = {name: getattr(self, name) for name in self.__slots__ if name != "verdict"}
        return {**own, **self.verdict.to_json(), "is_kept": self.is_kept}


async def perform(stage: Stage, way: Way, *, rate: float, seconds: float, say: Callable[[str], None]) -> Run:
    """Run once: create users while everything is struck, wait until no job is left, and judge."""
    await stage.empty()
    say(f"{way}: {rate:g} users/s for {seconds:g} s")
    blows = schedule(seconds)
    async with asyncio.TaskGroup() as group:
        struck = group.create_task(_strike(stage, blows, say))
        loading = group.create_task(
            stage.load(rate=rate, seconds=seconds, run=f"{way}-{time.time_ns()}", path=way.path)
        )
    ledger = loading.result()
    say("the load has ended; waiting until no job is left")
    drain_s = await _drained(stage)
    verdict = judge(ledger, await stage.records())
    return Run(
        way=way,
        rate=rate,
        seconds=seconds,
        rate_reached=round(len(ledger.answers) / ledger.seconds, 1),
        late_s=round(ledger.late_s, 2),
        drain_s=drain_s,
        blows=struck.result(),
        verdict=verdict,
    )


async def _strike(stage: Stage, blows: list[Blow], say: Callable[[str], None]) -> dict[str, int]:
    """Strike each in its time; one that takes long does not hold up the next. How often each has struck."""
    begin = time.monotonic()
    blown: list[tuple[Fault, asyncio.Task[bool]]] = []
    async with asyncio.TaskGroup() as group:
        for blow in blows:
            await asyncio.sleep(max(0.0, begin + blow.at_s - time.monotonic()))
            say(blow.fault.value)
            blown.append((blow.fault, group.create_task(stage.inflict(blow.fault))))
    return dict(Counter(fault.value for fault, task in blown if task.result()))


async def _drained(stage: Stage) -> float | None:
    """Seconds until no job was left for ``SETTLED_S``; None when some are left after ``DRAIN_S``."""
    began = time.monotonic()
    await stage.until_ready()
    empty_since: float | None = None
    while (now := time.monotonic()) - began < DRAIN_S:
        if await stage.left() != (0, 0):
            empty_since = None
        elif empty_since is None:
            empty_since = now
        elif now - empty_since >= SETTLED_S:
            return round(empty_since - began, 1)
        await asyncio.sleep(LOOK_S)
    return None
