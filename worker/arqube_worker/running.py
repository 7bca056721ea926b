"""Runs a leased job as arq's ``run_job`` does, and says how it ends; the loop writes that to Redis in its next turn.

arq's ``Worker`` is the base for what an app may rely on: its arguments, their meaning, and the counters it shows.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import arq.worker
from arq.jobs import SerializationError
from arq.utils import ms_to_datetime
from arq.worker import JobExecutionFailed

from arqube_queue import turns
from arqube_queue.leases import LeaseKeeper
from arqube_queue.payload import JobHeader, read_header
from arqube_queue.turns import End, Lease
from arqube_worker import logs, reading, runs
from arqube_worker.clock import QueueClock
from arqube_worker.deadlines import Deadlines
from arqube_worker.drain import Drain
from arqube_worker.endings import Endings
from arqube_worker.health import Health
from arqube_worker.heartbeats import Tally
from arqube_worker.metrics import Metrics
from arqube_worker.retries import RetryPolicy
from arqube_worker.runs import Cause, Outcome, Run

if TYPE_CHECKING:
    from arqube_worker.spans import Spans

LEASE_BEYOND_TIMEOUT_S: Final = 10.0
"""How much longer than its timeout a job's lease is renewed: time to clean up, as arq gives."""
DEFAULT_MAX_JOBS: Final = 10
"""arq's."""
ABORTED_SCORE: Final = 1
"""Where arq's ``Job.abort`` moves a deferred job, before it adds it to the set of jobs to abort."""
ABORT_PENDING_MS: Final = 100
"""How long that may take; if it was never done, the job runs, as under arq."""

logger = logs.get_logger(__name__)
_levels = logging.getLogger(__name__)
_FAILURES: Final = frozenset(Outcome) - {
    *(Outcome.SUCCEEDED, Outcome.RETRIED, Outcome.RETURNED, Outcome.PUT_BACK, Outcome.LEASE_LOST)
}
"""What arq counts as failed jobs."""


class Ended(NamedTuple):
    """A run that is over, how its end is written, and what it counts as once that is done (None: it goes on)."""

    run: Run
    end: End
    outcome: Outcome | None


class JobRunner(arq.worker.Worker):
    """Begins runs and collects their ends. ``options`` are arq's arguments, and it raises what arq's Worker raises.

    Attributes:
        name: Of the worker.
        clock: By which jobs are due.
        endings: Says how runs end.
        done: Runs whose end Redis does not know yet, in order.
        runs: Those whose code is not over.
        spans: What makes the jobs' spans; None when jobs are not traced.
    """

    leases: LeaseKeeper

    def __init__(self, *, name: str, metrics: Metrics, retry_policy: RetryPolicy | None, **options: Any) -> None:
        super().__init__(**options)
        self.name = name
        self.max_jobs: int = options.get("max_jobs", DEFAULT_MAX_JOBS)  # arq's before 0.26 do not say it
        self.drain = Drain()
        self.health = Health(longest_run_s=self.in_progress_timeout_s, loop_turned_at=time.monotonic())
        self.tally = Tally()
        self.metrics = metrics
        self.done: deque[Ended] = deque()
        self.runs: dict[Run, None] = {}
        self.spans: Spans | None = None
        self.clock = QueueClock()
        self.endings = Endings(
            self, name=name, clock=self.clock, retry_policy=retry_policy, max_tries=options.get("max_tries")
        )
        self._deadlines: Deadlines[Run] = Deadlines(self.loop, lambda run: run.cancel(Cause.TIMEOUT))

    def run_ended(self) -> None:
        """Called whenever a run is over, or its end is to be written."""

    # -- beginning --

    def begin(self, lease: Lease, *, asked_at: float) -> None:
        """Start the job whose lease was asked for at that monotonic second, or say at once why it is not started."""
        run = Run(lease)
        if self.drain.stopping:
            self._end(run, *self.endings.returned(run))
            return
        if lease.payload is None:
            self._end(run, *self.endings.refused(run, (), {}, JobExecutionFailed("job expired"), Outcome.EXPIRED))
            return
        if lease.tries > self.endings.least_tries + 1 and self._ends_workers(run, lease.payload):
            return
        try:
            name, args, kwargs, first_try, enqueued_ms = reading.read(lease.payload, self.job_deserializer)
        except SerializationError as error:
            logger.exception("the payload cannot be decoded", job_id=lease.job_id)
            self._end(run, *self.endings.refused(run, (), {}, error, Outcome.UNDECODABLE))
            return
        run.function, run.enqueued_ms, run.attempt = name, enqueued_ms, max(lease.tries, first_try or 0)
        function = self.functions.get(name)
        if self.spans is not None:
            run.span = self.spans.of(run, getattr(function, "coroutine", None), kwargs)
        if self.allow_abort_jobs and run.score == ABORTED_SCORE and not lease.aborted:
            # Its client has moved it to the front and is about to say why.
            soon_ms = self.clock.now_ms() + ABORT_PENDING_MS
            end = turns.requeue(lease, record=lease.former or b"", due_ms=soon_ms, tries=lease.tries - 1)
            self._end(run, end, Outcome.PUT_BACK)
        elif self.allow_abort_jobs and lease.aborted:
            self._end(run, *self.endings.refused(run, args, kwargs, asyncio.CancelledError(), Outcome.ABORTED))
        elif function is None:
            refusal = JobExecutionFailed(f"function {name!r} not found")
            self._end(run, *self.endings.refused(run, args, kwargs, refusal, Outcome.UNKNOWN_FUNCTION))
        elif run.attempt > (most := self.endings.most_tries(name)):
            refusal = JobExecutionFailed(f"max {most} retries exceeded")
            self._end(run, *self.endings.refused(run, args, kwargs, refusal, Outcome.TRIES_EXHAUSTED))
        else:
            timeout_s = self.job_timeout_s if function.timeout_s is None else function.timeout_s
            run.held = self.leases.hold(lease, self._held_until(timeout_s), asked_at)
            self.runs[run] = None
            run.task = self.loop.create_task(self._run(run, function, args, kwargs, timeout_s))

    def _ends_workers(self, run: Run, payload: Any) -> bool:
        """Bury a job that was not refused after its last try, as each worker ends that reads it; whether it is one."""
        header = read_header(payload) if isinstance(payload, bytes) else JobHeader()
        most = self.endings.most_tries(header.function)
        if run.lease.tries <= most + 1:
            return False
        run.function, run.enqueued_ms, run.attempt = header.function, header.enqueued_ms or 0, run.lease.tries
        refusal = JobExecutionFailed(f"max {most} retries exceeded, and workers end when they read the payload")
        self._end(run, *self.endings.refused(run, (), {}, refusal, Outcome.TRIES_EXHAUSTED))
        return True

    def _held_until(self, timeout_s: float | None) -> float | None:
        return None if timeout_s is None else time.monotonic() + timeout_s + LEASE_BEYOND_TIMEOUT_S

    # -- running --

    async def _run(
        self, run: Run, function: Any, args: tuple[Any, ...], kwargs: dict[Any, Any], timeout_s: float | None
    ) -> None:
        """Run the job with its hooks. Raises nothing, whatever the app does."""
        runs.current.set(run)
        lease = run.lease
        ctx: dict[Any, Any] = {
            **self.ctx,
            "job_id": lease.job_id,
            "job_try": run.attempt,
            "enqueue_time": ms_to_datetime(run.enqueued_ms),
            "score": run.score,
        }
        if self.on_job_start is not None and not await self._call_start_hook(run, ctx, timeout_s):
            return
        result: Any = None
        error: BaseException | None = None
        # The signal came after the lease: nothing starts any more. Nor does what others may run by now, or have run:
        # leases age while the loop, or the machine, stands still.
        if self.drain.stopping or run.held is None or not self.leases.is_good(run.held):
            run.cause = run.cause or Cause.STOP
        if run.cause is not None:
            error = asyncio.CancelledError()
        else:
            run.started_at = time.time()
            self.tally.started += 1
            self.metrics.started(run)
            if run.span is not None:
                run.span.begin()
            if _levels.isEnabledFor(logging.INFO):
                self.tell_start(run, args, kwargs)
            if timeout_s is not None:
                self._deadlines.add(run, timeout_s)
            try:
                result = await function.coroutine(ctx, *args, **kwargs)
            except BaseException as raised:  # also SystemExit and the like: one job must not end all
                self._unless_closed(run, raised)
                error = raised
            run.ended_at = time.time()
            if timeout_s is not None:
                self._deadlines.remove(run, timeout_s)
            if run.span is not None:
                run.span.leave(error)
            if run.cause is not None:
                _forget_cancellation(run.task)
        end, outcome = self.endings.told(run, function, args, kwargs, result, error)
        if outcome is not Outcome.RETURNED or run.started_at is not None:
            await self._call_hook("on_job_end", self.on_job_end, run, ctx)
        if self.after_job_end is not None and outcome is not Outcome.RETURNED:
            with suppress(asyncio.CancelledError):  # The job may have cancelled its own task.
                await asyncio.sleep(0)
            run.written = self.loop.create_future()
            self._end(run, end, outcome)
            await run.written
            await self._call_hook("after_job_end", self.after_job_end, run, ctx)
            del self.runs[run]
            self.run_ended()
        else:
            del self.runs[run]
            self._end(run, end, outcome)

    async def _call_start_hook(self, run: Run, ctx: dict[Any, Any], timeout_s: float | None) -> bool:
        assert self.on_job_start is not None  # noqa: S101
        try:
            await self.on_job_start(ctx)
        except BaseException as raised:
            self._unless_closed(run, raised)
            logger.exception("on_job_start failed")
            del self.runs[run]
            self._end(run, *self.endings.not_begun(run))
            return False
        if run.held is not None:
            run.held.until = self._held_until(timeout_s)  # The job's time begins now.
        return True

    async def _call_hook(self, name: str, hook: Any, run: Run, ctx: dict[Any, Any]) -> None:
        """Call a hook; its errors are logged, as the job's end must be written nevertheless."""
        if hook is None:
            return
        try:
            await hook(ctx)
        except BaseException as raised:
            self._unless_closed(run, raised)
            logger.exception(f"{name} failed")

    def _unless_closed(self, run: Run, raised: BaseException) -> None:
        """Let ``raised`` go on where it is the end of the coroutine itself, as when the loop was closed over it."""
        if isinstance(raised, GeneratorExit) and asyncio.current_task(self.loop) is not run.task:
            raise raised

    # -- ending --

    def _end(self, run: Run, end: End | None, outcome: Outcome) -> None:
        if end is None:
            self.settle(run, outcome)
        else:
            self.done.append(Ended(run, end, outcome))
        self.run_ended()

    def settle(self, run: Run, outcome: Outcome) -> None:
        """Redis knows how the run ended."""
        self.leases.release(run.lease)
        self.metrics.ended(run, outcome)
        self.tally.ended(run, outcome)
        if outcome is Outcome.SUCCEEDED:
            self.jobs_complete += 1
        elif outcome is Outcome.RETRIED:
            self.jobs_retried += 1
        elif outcome in _FAILURES:
            self.jobs_failed += 1
        if _levels.isEnabledFor(logging.INFO):
            self.tell_end(run, outcome)
        if run.span is not None:
            run.span.end(outcome)
        if run.written is not None and not run.written.done():
            run.written.set_result(None)

    # -- telling people --

    def tell_start(self, run: Run, args: tuple[Any, ...], kwargs: dict[Any, Any]) -> None:
        """Log that a job began: without its arguments, which may hold personal data."""
        wait_s = run.wait_s
        logs.job_event(__name__, "job started", run, wait_s=None if wait_s is None else round(wait_s, 6))

    def tell_end(self, run: Run, outcome: Outcome) -> None:
        """Log how it ended."""
        duration_s = run.duration_s
        rounded = None if duration_s is None else round(duration_s, 6)
        logs.job_event(__name__, "job ended", run, outcome=outcome.value, duration_s=rounded)


if sys.version_info >= (3, 11):

    def _forget_cancellation(task: asyncio.Task[None] | None) -> None:
        """We asked for the cancellation and have seen its effect; what follows in the task is not cancelled."""
        if task is not None:
            while task.cancelling():
                task.uncancel()

else:
    _forget_cancellation: Callable[[asyncio.Task[None] | None], None] = lambda _task: None  # noqa: E731
