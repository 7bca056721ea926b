"""The worker's life: connect, start up, take jobs, drain, shut down.

Taken over from arq: the poll (an atomic claim, refilled as soon as a slot frees), signals and connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Final

from arq.connections import ArqRedis
from arq.utils import timestamp_ms

from arqube_queue import claims, heartbeat, keys
from arqube_worker import connections, heartbeats, logs
from arqube_worker.drain import first_of
from arqube_worker.metrics import Metrics
from arqube_worker.running import FIRST_BACKOFF_S, LAST_BACKOFF_S, REDIS_ERRORS, JobRunner
from arqube_worker.runs import Run
from arqube_worker.settings import Configuration, SettingsError

CANCEL_GRACE_S: Final = 5.0
"""How long cancelled jobs may take to clean up before the worker exits without them."""

logger = logs.get_logger(__name__)


class Worker(JobRunner):
    """Runs the jobs of one queue until it is asked to stop. Make it, then ``await serve()`` once.

    Raises:
        SettingsError: arq refuses the settings.
    """

    def __init__(self, configuration: Configuration, *, name: str, metrics: Metrics) -> None:
        # The signals are ours for every worker, so arq must not install its own.
        options = {**configuration.options, "handle_signals": False}
        try:
            super().__init__(metrics=metrics, **options)
        except (RuntimeError, ValueError, TypeError, AttributeError, ImportError) as error:
            raise SettingsError(f"arq refuses the settings: {error}") from error
        self.name = name
        self._configuration = configuration
        # What the app gave, before it is observed: its own clients decode results, not jobs.
        self._pool_options = {
            "job_serializer": options.get("job_serializer"),
            "job_deserializer": options.get("job_deserializer"),
            "default_queue_name": self.queue_name,
            "expires_extra_ms": self.expires_extra_ms,
        }
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._drained = asyncio.Event()
        self._token = self._new_token()
        self._claim_unanswered = False
        self._housekeeping_due = 0.0
        metrics.describe(worker=name, queue=self.queue_name, slots=self.max_jobs, functions=self.functions)

    @property
    def stragglers(self) -> list[Run]:
        """After ``serve``: the runs that did not heed their cancellation."""
        return list(self._runs.values())

    @property
    def pool(self) -> ArqRedis:
        """The worker's own connections."""
        assert self._pool is not None, "connected by serve()"  # noqa: S101
        return self._pool

    async def serve(self) -> int:
        """Start up, work until asked to stop, drain, shut down.

        Returns:
            The exit code: 0, or 1 when a hook of the app failed.
        """
        self.drain.listen(asyncio.get_running_loop())
        beat = asyncio.create_task(self._beat())
        exit_code = 0
        try:
            await self._connect()
            if self._pool is not None:
                exit_code = await self._start_up_and_work()
        finally:
            self._drained.set()
            await beat
        if self._pool is not None:
            exit_code = await self._shut_down() or exit_code
        logger.info("stopped", exit_code=exit_code)
        return exit_code

    async def _connect(self) -> None:
        """Open both pools, however long Redis takes to be there; leaves without them when asked to stop."""
        given, self._pool = self._pool, None
        backoff_s = FIRST_BACKOFF_S
        while not self.drain.requested.is_set():
            try:
                pool = given or await self._open_pool(own=True)
                self.ctx["redis"] = given or await self._open_pool(own=False)
            except REDIS_ERRORS as error:
                self.redis_failed("connecting", error)
                await first_of(self.drain.requested, timeout_s=backoff_s)
                backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
            else:
                self._pool = pool
                self.health.redis_answered()
                return

    async def _open_pool(self, *, own: bool) -> ArqRedis:
        return await connections.open_pool(self._configuration.redis, own=own, **self._pool_options)

    async def _start_up_and_work(self) -> int:
        logger.info(
            "starting",
            worker=self.name,
            queue=self.queue_name,
            slots=self.max_jobs,
            redis=connections.label(self._configuration.redis),
            functions=list(self.functions),
        )
        try:
            await self._start_up()
        except Exception:
            logger.exception("on_startup failed")
            return 1
        try:
            await self._work()
        finally:
            await self._finish_or_give_back()
        return 0

    async def _start_up(self) -> None:
        """Run ``on_startup``; a stop cancels it, as a start-up may take minutes."""
        if self.on_startup is not None:
            hook = asyncio.ensure_future(self.on_startup(self.ctx))
            stop = asyncio.create_task(self.drain.requested.wait())
            await asyncio.wait((hook, stop), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not hook.done():
                hook.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await hook
        self.health.started = True

    async def _work(self) -> None:
        """Take jobs until asked to stop, or in burst mode until none is left."""
        backoff_s = FIRST_BACKOFF_S
        while not self.drain.requested.is_set():
            self._wake.clear()
            try:
                await self._housekeeping()
                wait_s = await self._fill_slots()
                if self.burst and await self._burst_is_over():
                    return
            except REDIS_ERRORS as error:
                self.redis_failed("taking jobs", error)
                await first_of(self.drain.requested, timeout_s=backoff_s)
                backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
            else:
                backoff_s = FIRST_BACKOFF_S
                self.health.redis_answered()
                await first_of(self._wake, self.drain.requested, timeout_s=wait_s)

    async def _fill_slots(self) -> float:
        """Claim as many jobs as there are free slots and start them.

        Returns:
            Seconds after which to look again, unless a slot frees before.
        """
        free = self.max_jobs - len(self._runs)
        if self.burst and self.max_burst_jobs >= 0:
            free = min(free, self.max_burst_jobs - self._jobs_started())
        if free <= 0:
            return self.poll_delay_s
        self._claim_unanswered = True
        now_ms = timestamp_ms()
        claim = await claims.claim(
            self.pool,
            self.queue_name,
            token=self._token,
            now_ms=now_ms,
            lease_ms=int(self.in_progress_timeout_s * 1000),
            limit=free,
        )
        self._claim_unanswered = False
        self._token = self._new_token()
        for job in claim.jobs:
            self._start(Run(job, returning=self.drain.requested.is_set()))
        if claim.next_due_ms is None:
            return self.poll_delay_s
        return max(0.001, min(self.poll_delay_s, (claim.next_due_ms - now_ms) / 1000))

    def _new_token(self) -> str:
        return f"{self.name}:{uuid.uuid4().hex}"

    def _start(self, run: Run) -> None:
        task = self.loop.create_task(self.run_to_the_end(run))
        self._runs[task] = run
        self.tasks[run.job.job_id] = task
        self._count_busy()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        run = self._runs.pop(task)
        # After a retry the same job may run again here while the former run's after_job_end goes on.
        if self.tasks.get(run.job.job_id) is task:
            del self.tasks[run.job.job_id]
        self._count_busy()
        self._wake.set()

    def _count_busy(self) -> None:
        self.health.busy = self.job_counter = len(self._runs)
        self.metrics.busy_slots.set(len(self._runs))
        if self._runs:
            self._idle.clear()
        else:
            self._idle.set()

    async def _burst_is_over(self) -> bool:
        if 0 <= self.max_burst_jobs <= self._jobs_started() or not await self.pool.zcard(self.queue_name):
            await first_of(self._idle, self.drain.requested)
            return True
        return False

    async def _housekeeping(self) -> None:
        """arq's duties of each poll: aborts, the health key, and cron jobs, which are queued about a second ahead."""
        if time.monotonic() < self._housekeeping_due:
            return
        if self.allow_abort_jobs:
            await self._cancel_aborted_jobs()
        planned = [(job, job.next_run) for job in self.cron_jobs]
        try:
            await self.heart_beat()
        except BaseException:
            for job, next_run in planned:  # arq has moved on, but the run may not be queued: queue it again.
                job.next_run = next_run
            raise
        self._housekeeping_due = time.monotonic() + self.poll_delay_s

    async def _beat(self) -> None:
        """Note each second that the loop turns, and tell Redis that the worker lives.

        Ended by an event, as redis-py may swallow a cancellation.
        """
        while not self._drained.is_set():
            self.health.loop_turned_at = time.monotonic()
            if self._pool is not None:
                beat = heartbeats.heartbeat(self.name, self.max_jobs, list(self.functions), self.tally, self.health)
                try:
                    await heartbeat.write(self.pool, self.queue_name, beat)
                except REDIS_ERRORS as error:
                    self.redis_failed("writing the heartbeat", error)
                else:
                    self.health.redis_answered()
            await first_of(self._drained, timeout_s=heartbeat.INTERVAL_S)

    async def _finish_or_give_back(self) -> None:
        """Let jobs finish until the shutdown timeout or the second signal, then give the rest back."""
        self.health.draining = True
        self.metrics.draining.set(1)
        timeout_s = self._configuration.shutdown_timeout_s
        logger.info("draining", running=len(self._runs), timeout_s=timeout_s)
        if self._claim_unanswered:  # It may have leased jobs; if there is no answer now either, their lease ends.
            with contextlib.suppress(*REDIS_ERRORS):
                await self._fill_slots()
        await first_of(self._idle, self.drain.hurried, timeout_s=timeout_s)
        for run in self._runs.values():
            if run.ended_at is None:
                run.returning = True
                # Only the job's own coroutine is cancelled: arq then ends the run in its ordinary way.
                if (task := self.job_tasks.get(run.job.job_id)) is not None:
                    task.cancel()
        await first_of(self._idle, timeout_s=CANCEL_GRACE_S)

    async def _shut_down(self) -> int:
        exit_code = 0
        if self.on_shutdown is not None:
            try:
                await self.on_shutdown(self.ctx)
            except Exception:
                logger.exception("on_shutdown failed")
                exit_code = 1
        with contextlib.suppress(*REDIS_ERRORS):
            for run in self.stragglers:  # They get no further: the process exits now.
                logger.warning("job did not end in time", job_id=run.job.job_id, function=run.function)
                await self.hand_back(run)
            await heartbeat.remove(self.pool, self.queue_name, self.name)
            # The key says that some worker of the queue lives, so it goes with the last one.
            if not await self.pool.hlen(keys.heartbeats(self.queue_name)):  # type: ignore[misc]
                await self.pool.delete(self.health_check_key)
        for pool in {id(pool): pool for pool in (self.pool, self.ctx["redis"])}.values():
            with contextlib.suppress(*REDIS_ERRORS):
                await pool.aclose(close_connection_pool=True)
        self._pool = None
        return exit_code
