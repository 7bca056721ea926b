"""Takes turns at the queue: when to look, how many jobs to take, and the duties of each look beside the jobs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Final

from arq.connections import ArqRedis
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError, ResponseError

from arqube_queue import aborts, answers, open_jobs, payload_life, turns
from arqube_queue.held_connection import HeldConnection
from arqube_queue.turns import Lease, Turns
from arqube_queue.wakeup import Wakeup
from arqube_worker import crons, logs
from arqube_worker.drain import first_of
from arqube_worker.running import Ended, JobRunner
from arqube_worker.runs import Cause, Outcome, Run

FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 2.0
SLOW_POLL_S: Final = 5.0
"""How often to look at an idle queue whose changes Redis tells."""
HELD_POLL_S: Final = 0.5
"""How often to look at due jobs that other workers hold: nobody tells when a dead one's leases end."""
SUSPECT_S: Final = 5.0
"""How long a suspect runs, unless it is over, before another begins beside it. What ends a worker does so early as a
rule, and long jobs that were lost for another reason are not to wait for each other's ends."""
HOUSEKEEPING_S: Final = 0.5
PAYLOADS_S: Final = 60.0
"""How often to look for payloads that are about to expire before they ran, and for what others left undone."""
BATCH: Final = 512
BATCH_BYTES: Final = 8 * 1024 * 1024
"""Ends written in one turn, and the bytes of their results: Redis serves nobody else meanwhile."""
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError, asyncio.TimeoutError)

logger = logs.get_logger(__name__)


class TurnTaker(JobRunner):
    """Keeps the slots full while it works, and writes the ends of runs. Arguments as ``JobRunner``."""

    _line: HeldConnection
    _turns: Turns

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._retiring = False
        self._begun = 0
        self._suspects: list[Run] = []
        self._next_suspect_at = 0.0
        self._in_doubt = 0
        self._backoff_s = FIRST_BACKOFF_S
        self._nudge: asyncio.Future[None] | None = None
        self._hungry = asyncio.Event()
        self._looks = 0
        self._wakeup: Wakeup | None = None
        self._housekeeping_due = 0.0
        self._abort_check_due = 0.0
        self._payloads_due = 0.0
        self._payloads_seen = 0
        self._open_seen = 0

    @property
    def pool(self) -> ArqRedis:
        """The worker's own connections."""
        assert self._pool is not None, "connected before the first turn"  # noqa: S101
        return self._pool

    async def work(self) -> None:
        """Take jobs until asked to stop, or in burst mode until none is left."""
        while not self.drain.stopping:
            try:
                await self._housekeeping()
                wait_s = await self._take_turn(self._free_slots())
                if self.burst and await self._burst_is_over():
                    return
            except REDIS_ERRORS as error:
                await self._back_off(error)
            else:
                self._backoff_s = FIRST_BACKOFF_S
                await self._rest(wait_s)

    async def _back_off(self, error: BaseException) -> None:
        self.redis_failed("taking a turn", error)
        # A replica since a failover: connect anew, to the new master. Before Redis 7 scripts wrap the refusal.
        if isinstance(error, ReadOnlyError) or (isinstance(error, ResponseError) and "-READONLY " in str(error)):
            with contextlib.suppress(*REDIS_ERRORS):
                await self._line.disconnect()
                await self.pool.connection_pool.disconnect(inuse_connections=False)
        await first_of(self.drain.hurried if self.drain.stopping else self.drain.requested, timeout_s=self._backoff_s)
        self._backoff_s = min(2 * self._backoff_s, LAST_BACKOFF_S)

    def _free_slots(self) -> int:
        if self._retiring and not self._turns.unanswered:
            return 0
        free = self.max_jobs - len(self.runs)
        if self.burst and self.max_burst_jobs >= 0:
            free = min(free, self.max_burst_jobs - self._begun)
        return max(0, free)

    async def _take_turn(self, limit: int) -> float | None:
        """Write the ends of the runs that are done, and start up to ``limit`` jobs.

        Returns:
            Seconds after which to look again, unless a run ends before; None when there is nothing to look for.
        """
        now = time.monotonic()
        running: list[str] = []
        if self.allow_abort_jobs and self.runs and now >= self._abort_check_due:
            self._abort_check_due = now + self.poll_delay_s
            running = [run.lease.job_id for run in self.runs]
        if not limit and not self.done and not running:
            return None
        self._hungry.clear()
        self._looks += limit > 0
        batch = self._batch()
        self._in_doubt, in_doubt = max(self._in_doubt, len(batch)), self._in_doubt
        now_ms = self.clock.now_ms()
        suspects = now >= self._next_suspect_at or not any(run in self.runs for run in self._suspects)
        turn = await self._turns.take(
            [one.end for one in batch], now_ms=now_ms, limit=limit, running=running, suspects=suspects
        )
        self._in_doubt = 0
        self.clock.told(turn.redis_ms, asked_at=now)
        self.metrics.turns += 1
        self.health.redis_answered("taking a turn")
        for number, one in enumerate(batch):
            self.done.popleft()
            # A repeated turn finds what the former one did, whose answer got lost.
            self._settled(one, written=turn.ended[number] or number < in_doubt, buried=turn.buried[number])
        for job_id in turn.misnamed:
            logger.error("the id of a job is no text in UTF-8, so it becomes a dead letter", job_id=job_id)
        for lease in turn.leases if turn.suspect else ():  # Told before: this worker may not tell of anything after.
            logger.warning("the last two workers that took this job were lost", job_id=lease.job_id, tries=lease.tries)
        for lease in turn.leases:
            self._begun += 1
            self.begin(lease, asked_at=now)
        if turn.suspect:
            self._next_suspect_at = now + SUSPECT_S
            self._suspects = [run for run in self.runs if run.lease in turn.leases or run in self._suspects]
        self.health.busy = len(self.runs)
        for run in self.runs if turn.to_abort else ():
            if run.lease.job_id in turn.to_abort:
                run.cancel(Cause.ABORT)
        if self.done or turn.more:
            return 0.0
        if len(turn.leases) == limit:
            return None
        return self._look_again_in(turn, now_ms)

    def _batch(self) -> list[Ended]:
        batch: list[Ended] = []
        size = 0
        for one in self.done:
            size += len(one.end[5]) if len(one.end) > 5 and isinstance(one.end[5], bytes) else 0
            if batch and (len(batch) == BATCH or size > BATCH_BYTES):
                break
            batch.append(one)
        return batch

    def _settled(self, one: Ended, *, written: bool, buried: bool) -> None:
        outcome = one.outcome
        if outcome is None:
            if not written:
                one.run.cancel(Cause.LEASE_LOST)
            return
        if not written:
            outcome = Outcome.LEASE_LOST
        elif buried and outcome is Outcome.PUT_BACK:
            outcome = Outcome.UNKNOWN_FUNCTION
        self.settle(one.run, outcome)

    def _look_again_in(self, turn: turns.Turn, now_ms: int) -> float:
        """There are free slots and nothing to fill them with."""
        tracked = self._wakeup is not None and self._wakeup.available
        wait_s = max(SLOW_POLL_S, self.poll_delay_s) if tracked else self.poll_delay_s
        if turn.running > len(self.runs):
            wait_s = min(wait_s, HELD_POLL_S)
        if turn.next_due_ms is not None:
            wait_s = min(wait_s, max(0.001, (turn.next_due_ms - now_ms) / 1000))
        if (suspect_s := self._next_suspect_at - time.monotonic()) > 0:
            wait_s = min(wait_s, suspect_s)
        return max(0.001, wait_s)

    async def _rest(self, wait_s: float | None) -> None:
        """Wait until something is to be done: a run ended, the queue changed, a stop, or the time is up."""
        if wait_s == 0.0 or self.done:
            await asyncio.sleep(0)
            return
        if wait_s is not None:
            self._hungry.set()
        if self.cron_jobs or self.health_check_interval < HOUSEKEEPING_S:
            wait_s = min(HOUSEKEEPING_S if wait_s is None else wait_s, self._housekeeping_due - time.monotonic())
        if self.allow_abort_jobs and self.runs:
            wait_s = min(self.poll_delay_s if wait_s is None else wait_s, self._abort_check_due - time.monotonic())
        longest_s = min(HOUSEKEEPING_S * 2, self.health_check_interval) if wait_s is None else wait_s
        self._nudge = nudge = self.loop.create_future()
        timer = self.loop.call_later(max(0.0, longest_s), self.run_ended)
        try:
            await nudge
        finally:
            timer.cancel()
            self._nudge = None

    def run_ended(self) -> None:
        """Let the loop go on."""
        if self._nudge is not None and not self._nudge.done():
            self._nudge.set_result(None)

    async def _listen(self) -> None:
        """Let the loop go on when Redis tells that the queue changed, and when the stop is requested."""
        stop = asyncio.create_task(self.drain.requested.wait())
        stop.add_done_callback(lambda _: self.run_ended())
        try:
            async with Wakeup.beside(self.pool, self.queue_name, self._look_at_once) as self._wakeup:
                while True:
                    await self._hungry.wait()
                    if await self._wakeup.wait(SLOW_POLL_S):
                        # A turn that is in flight may have looked before the change: look again after it.
                        looks = self._looks
                        await self._hungry.wait()
                        if self._looks == looks:
                            self._look_at_once()
        finally:
            stop.cancel()

    def _look_at_once(self) -> None:
        if self._hungry.is_set():
            self._hungry.clear()
            self.run_ended()

    async def _burst_is_over(self) -> bool:
        if self.runs or self.done:
            return False
        with answers.invalid_if_odd():
            return 0 <= self.max_burst_jobs <= self._begun or not await self.pool.zcard(self.queue_name)

    # -- leases --

    def _in_loop(self, call: object, lease: Lease) -> None:
        """From the renewing thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self.loop.call_soon_threadsafe(call, lease)  # type: ignore[arg-type]

    def _lease_lost(self, lease: Lease) -> None:
        for run in self.runs:
            if run.lease == lease:
                logger.warning("another worker holds the job", **logs.names_of(run))
                run.cancel(Cause.LEASE_LOST)

    def _lease_ran_out(self, lease: Lease) -> None:
        for run in self.runs:
            if run.lease == lease and run.ended_at is None:
                self.done.append(Ended(run, turns.lease_again(lease), None))
                self.run_ended()

    # -- duties beside the jobs --

    async def _housekeeping(self) -> None:
        """arq's duties of each poll, the health key and cron jobs, and ours: payloads, and jobs given back."""
        now = time.monotonic()
        if now < self._housekeeping_due:
            return
        self._turns.look_from_the_head()
        interval_s = max(self.poll_delay_s, HOUSEKEEPING_S)  # arq's window for cron jobs
        # Before what may fail: a full Redis refuses these writes, and the ends that the turns write make room in it.
        self._housekeeping_due = now + interval_s
        if self.cron_jobs:
            if not self.clock.is_set:  # By a wrong clock runs of long ago would be planned, or none for long.
                self.clock.told(await answers.now_ms(self.pool), asked_at=now)
            await crons.queue_due(
                *(self.pool, self.queue_name, self.cron_jobs),
                now_ms=self.clock.now_ms(),
                timezone=self.timezone,
                interval_s=interval_s,
            )
        self.tasks = {run.lease.job_id: run.task for run in self.runs if run.task is not None}
        await self.record_health()
        if now >= self._payloads_due:
            self._payloads_seen = await payload_life.keep_payloads(
                self.pool, self.queue_name, first=self._payloads_seen, default_life_ms=self.expires_extra_ms
            )
            self._payloads_due = now if self._payloads_seen else now + PAYLOADS_S
            await aborts.forget_old(self.pool)
            self._open_seen = await open_jobs.settle(self.pool, self.queue_name, cursor=self._open_seen)

    async def record_health(self) -> None:
        """Write arq's health key now and then.

        Raises:
            redis.exceptions.RedisError, OSError: No answer, or none that Redis gives.
        """
        with answers.invalid_if_odd():
            await super().record_health()

    def redis_failed(self, during: str, error: BaseException) -> None:
        """Note that Redis did not do what it was asked."""
        denied = isinstance(error, AuthenticationError)
        refused = denied or isinstance(error, ResponseError)
        self.health.redis_failed(during, str(error)[:200] if refused else "", denied=denied)
        self.metrics.redis_errors += 1
        hint = {}
        if "WRONGTYPE" in str(error):
            hint["remedy"] = f"look at the TYPE of {self.queue_name} and arqube:{self.queue_name}:*: one is not ours"
        logger.warning("Redis failed", during=during, error=f"{type(error).__name__}: {error}", **hint)
