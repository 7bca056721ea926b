"""What the probes and the heartbeats say of the worker: facts the event loop notes, and verdicts drawn from them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

LOOP_STALL_S: Final = 60.0
"""An idle loop that has not turned for so long is stuck."""
REDIS_SILENCE_S: Final = 10.0
"""Redis is asked at least each second; no answer for so long means that it is not there."""
REFUSAL_S: Final = 4.0
"""How long a refusal counts after the last: what ends in a full Redis makes room for a write or two, until the next."""

DENIED_S: Final = 30.0
"""How long Redis may refuse user or password: a new one may reach Redis and the Secret at different times."""


@dataclass(slots=True)
class Health:
    """Noted by the event loop's thread and read by the HTTP server's. Times are monotonic seconds.

    Attributes:
        longest_run_s: How long a job may run, in seconds.
        loop_turned_at: When the event loop last turned.
        redis_answered_at: When Redis last answered; None before its first answer.
        redis_problems: What is wrong, by what was asked for; whatever succeeded last is not among them.
        refusal: What Redis said when it last refused.
        refused_at: When it did; None when it never has.
        denied_at: When it first refused user or password since its last answer; None when it has not.
        started: ``on_startup`` is done.
        draining: It takes no more jobs and will exit.
        busy: Jobs running.
    """

    longest_run_s: float
    loop_turned_at: float
    redis_answered_at: float | None = None
    redis_problems: dict[str, str] = field(default_factory=dict)
    refusal: str = ""
    refused_at: float | None = None
    denied_at: float | None = None
    started: bool = False
    draining: bool = False
    busy: int = 0

    def redis_answered(self, asked: str) -> None:
        """Redis did what it was asked."""
        self.redis_problems.pop(asked, None)
        self.redis_answered_at = time.monotonic()
        self.denied_at = None

    def redis_failed(self, asked: str, problem: str, *, denied: bool = False) -> None:
        """Redis did not answer, or refused; ``problem`` is its refusal, or empty; ``denied``: of user or password."""
        self.redis_problems[asked] = problem
        if not denied:
            self.denied_at = None
        elif self.denied_at is None:
            self.denied_at = time.monotonic()
        if problem:
            self.refusal, self.refused_at = problem, time.monotonic()

    def not_alive(self, now: float) -> str | None:
        """Why the process should be restarted; None while it lives.

        Jobs that block the loop (a sync call in an async function) are common, and harmless, as their leases are
        kept: a restart would interrupt them and all their neighbours. So a busy worker gets as long as a job may run.
        A start-up may block as well, while it loads a model, and a restart would only begin it anew.
        Where the password has changed, a restart does help: a container knows what its Secret held when it started.
        """
        if self.denied_at is not None and now - self.denied_at > DENIED_S:
            return f"Redis has refused user or password for {now - self.denied_at:.0f} s"
        if not self.started:
            return None
        limit = max(LOOP_STALL_S, self.longest_run_s) if self.busy else LOOP_STALL_S
        stalled = now - self.loop_turned_at
        return f"the event loop has not turned for {stalled:.0f} s" if stalled > limit else None

    def not_ready(self, now: float) -> str | None:
        """Why no jobs are taken; None when they are."""
        if self.draining:
            return "draining"
        if self.redis_answered_at is None:
            return "not connected to Redis yet"
        refusals = [problem for problem in list(self.redis_problems.values()) if problem]
        if refusals:
            return f"Redis refuses: {refusals[0]}"
        if self.refused_at is not None and now - self.refused_at < REFUSAL_S:
            return f"Redis refuses: {self.refusal}"
        if self.redis_problems or now - self.redis_answered_at > REDIS_SILENCE_S:
            return f"Redis has not answered for {now - self.redis_answered_at:.0f} s"
        if not self.started:
            return "on_startup is running"
        return None
