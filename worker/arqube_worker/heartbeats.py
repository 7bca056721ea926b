"""What the worker tells the operator of itself through Redis, and the sums it keeps for that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from arqube_queue.model import Heartbeat
from arqube_worker.health import Health
from arqube_worker.runs import Outcome, Run


@dataclass(slots=True)
class Tally:
    """Sums since the worker began."""

    started: int = 0
    finished: Counter[str] = field(default_factory=Counter)
    run_seconds: float = 0.0

    def ended(self, run: Run, outcome: Outcome) -> None:
        """A job ended in this worker."""
        self.finished[outcome.value] += 1
        self.run_seconds += run.duration_s or 0.0


def heartbeat(
    worker: str,
    slots: int,
    functions: Sequence[str],
    tally: Tally,
    health: Health,
    cron_runs: Mapping[str, int],
    retiring: bool = False,
    cancels: bool = False,
) -> Heartbeat:
    """The present heartbeat; Redis stamps the time."""
    return Heartbeat(
        worker=worker,
        at_ms=0,
        busy=health.busy,
        slots=slots,
        draining=health.draining,
        retiring=retiring,
        started=tally.started,
        finished=dict(tally.finished),
        run_seconds=round(tally.run_seconds, 3),
        functions=tuple(functions),
        cron_runs=cron_runs,
        cancels=cancels,
    )
