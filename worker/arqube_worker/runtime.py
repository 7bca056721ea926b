"""The worker's life: connect, start up, take turns at the queue, drain, shut down."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from typing import Final

from arq.connections import ArqRedis
from arq.utils import timestamp_ms
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from arqube_queue import heartbeat, keys, payload_life, turns
from arqube_queue.leases import LeaseKeeper
from arqube_queue.turns import Lease, Turns
from arqube_queue.wakeup import Wakeup
from arqube_worker import connections, crons, heartbeats, logs
from arqube_worker.drain import first_of
from arqube_worker.metrics import Metrics
from arqube_worker.running import Ended, JobRunner
from arqube_worker.runs import Cause, Outcome, Run
from arqube_worker.serializers import warn_about_pickle
from arqube_worker.settings import Configuration, SettingsError

CANCEL_GRACE_S: Final = 5.0
"""How long cancelled jobs may take to clean up before the worker exits without them."""
FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 2.0
SLOW_POLL_S: Final = 5.0
"""How often to look at an idle queue whose changes Redis tells."""
HELD_POLL_S: Final = 0.5
"""How often to look at due jobs that other workers hold: nobody tells when a dead one's leases end."""
HOUSEKEEPING_S: Final = 0.5
PAYLOADS_S: Final = 60.0
"""How often to look for payloads that are about to expire before they ran."""
BATCH: Final = 512
BATCH_BYTES: Final = 8 * 1024 * 1024
"""Ends written in one turn, and the bytes of their results: Redis serves nobody else meanwhile."""
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError, asyncio.TimeoutError)

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
        self._pool_options = {
            "job_serializer": self.job_serializer,
            "job_deserializer": self.job_deserializer,
            "default_queue_name": self.queue_name,
            "expires_extra_ms": self.expires_extra_ms,
        }
        self._retiring = False
        self._begun = 0
        self._in_doubt = 0
        self._nudge: asyncio.Future[None] | None = None
        self._hungry = asyncio.Event()
        self._wakeup: Wakeup | None = None
        self._drained = asyncio.Event()
        self._housekeeping_due = 0.0
        self._abort_check_due = 0.0
        self._payloads_due = 0.0
        self._payloads_seen = 0
        metrics.describe(
            worker=name,
            queue=self.queue_name,
            slots=self.max_jobs,
            functions=self.functions,
            busy=lambda: len(self.runs),
        )

    @property
    def stragglers(self) -> list[Run]:
        """After ``serve``: the runs that did not heed their cancellation."""
        return list(self.runs)

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
        self.drain.ignore()
        logger.info("stopped", exit_code=exit_code)
        return exit_code

    # -- connecting and starting up --

    async def _connect(self) -> None:
        """Open both pools, however long Redis takes to be there; leaves without them when asked to stop."""
        given, self._pool = self._pool, None
        backoff_s = FIRST_BACKOFF_S
        while not self.drain.stopping:
            try:
                pool = given or await self._open_pool(own=True)
                self.ctx["redis"] = given or await self._open_pool(own=False)
            except REDIS_ERRORS as error:
                self._redis_failed("connecting", error)
                await first_of(self.drain.requested, timeout_s=backoff_s)
                backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
            else:
                self._pool = pool
                self._prepare(pool)
                await self._tell()  # Before the first turn: a worker that retires may have been started anew.
                self.health.redis_answered("connecting")
                return

    async def _open_pool(self, *, own: bool) -> ArqRedis:
        return await connections.open_pool(self._configuration.redis, own=own, **self._pool_options)

    def _prepare(self, pool: ArqRedis) -> None:
        policy = self._configuration.policy
        token = f"{self.name}:{uuid.uuid4().hex}"
        self._turns = Turns(pool, self.queue_name, worker=self.name, token=token, policy=policy)
        self.leases = LeaseKeeper(
            pool,
            lease_ms=policy.lease_ms,
            lost=lambda lease: self._in_loop(self._lease_lost, lease),
            run_out=lambda lease: self._in_loop(self._lease_ran_out, lease),
        )
        self.leases.start()

    async def _start_up_and_work(self) -> int:
        logger.info(
            "starting",
            worker=self.name,
            queue=self.queue_name,
            slots=self.max_jobs,
            redis=connections.label(self._configuration.redis),
            functions=list(self.functions),
        )
        warn_about_pickle(self.job_deserializer is None)
        try:
            await self._start_up()
        except Exception:
            logger.exception("on_startup failed")
            return 1
        listening = asyncio.create_task(self._listen())
        try:
            await self._work()
        finally:
            await self._finish_or_give_back()
            listening.cancel()
            await asyncio.wait((listening,), timeout=CANCEL_GRACE_S)
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

    # -- taking turns --

    async def _work(self) -> None:
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

    _backoff_s = FIRST_BACKOFF_S

    async def _back_off(self, error: BaseException) -> None:
        self._redis_failed("taking a turn", error)
        if isinstance(error, ReadOnlyError):  # A replica since a failover: connect anew, to the new master.
            with contextlib.suppress(*REDIS_ERRORS):
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
        batch = self._batch()
        self._in_doubt, in_doubt = max(self._in_doubt, len(batch)), self._in_doubt
        now_ms = timestamp_ms()
        turn = await self._turns.take([one.end for one in batch], now_ms=now_ms, limit=limit, running=running)
        self._in_doubt = 0
        self.metrics.turns.inc()
        self.health.redis_answered("taking a turn")
        for number, one in enumerate(batch):
            self.done.popleft()
            # A repeated turn finds what the former one did, whose answer got lost.
            self._settled(one, written=turn.ended[number] or number < in_doubt, buried=turn.buried[number])
        for lease in turn.leases:
            self._begun += 1
            self.begin(lease)
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
            async with Wakeup.beside(self.pool, self.queue_name) as self._wakeup:
                while True:
                    await self._hungry.wait()
                    if await self._wakeup.wait(SLOW_POLL_S):
                        # A turn that is in flight may have looked before the change: look again after it.
                        await self._hungry.wait()
                        self._hungry.clear()
                        self.run_ended()
        finally:
            stop.cancel()

    async def _burst_is_over(self) -> bool:
        if self.runs or self.done:
            return False
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
            await crons.queue_due(
                self.pool, self.queue_name, self.cron_jobs, timezone=self.timezone, interval_s=interval_s
            )
        self.tasks = {run.lease.job_id: run.task for run in self.runs if run.task is not None}
        await self.record_health()
        if now >= self._payloads_due:
            self._payloads_seen = await payload_life.keep_payloads(
                self.pool, self.queue_name, first=self._payloads_seen, default_life_ms=self.expires_extra_ms
            )
            self._payloads_due = now if self._payloads_seen else now + PAYLOADS_S

    async def _beat(self) -> None:
        """Note each second that the loop turns, and tell Redis that the worker lives.

        Ended by an event, as redis-py may swallow a cancellation.
        """
        while not self._drained.is_set():
            self.health.loop_turned_at = time.monotonic()
            self.health.busy = len(self.runs)
            # A change is told at once: the operator waits for it.
            changed = self._pool is not None and await self._tell()
            await first_of(self._drained, timeout_s=0.0 if changed else heartbeat.INTERVAL_S)

    async def _tell(self) -> bool:
        """Write a heartbeat, and heed what it is answered; whether that changed anything."""
        self.health.busy = len(self.runs)
        cron_runs = crons.next_runs(self.cron_jobs)
        # Only without a turn on its way: that may bring jobs yet.
        retiring = self._retiring and not self._turns.unanswered
        beat = heartbeats.heartbeat(
            self.name, self.max_jobs, list(self.functions), self.tally, self.health, cron_runs, retiring
        )
        try:
            asked = await heartbeat.write(self.pool, self.queue_name, beat)
        except REDIS_ERRORS as error:
            self._redis_failed("writing the heartbeat", error)
            return False
        self.health.redis_answered("writing the heartbeat")
        return self._retire(asked and not self.burst)

    def _retire(self, retiring: bool) -> bool:
        """Take no more jobs for now, or do so again; whether that is a change."""
        if retiring == self._retiring:
            return False
        self._retiring = retiring
        self.metrics.retiring.set(retiring)
        logger.info("retiring" if retiring else "taking jobs again", running=len(self.runs))
        self.run_ended()
        return True

    def _redis_failed(self, during: str, error: BaseException) -> None:
        """Note that Redis did not do what it was asked."""
        refused = isinstance(error, ResponseError)
        self.health.redis_failed(during, str(error)[:200] if refused else "")
        self.metrics.redis_errors.inc()
        logger.warning("Redis failed", during=during, error=f"{type(error).__name__}: {error}")

    # -- stopping --

    async def _finish_or_give_back(self) -> None:
        """Let jobs finish until the shutdown timeout or the second signal, then give the rest back."""
        self.health.draining = True
        self.drain.stopping = True
        self.metrics.draining.set(1)
        timeout_s = self._configuration.shutdown_timeout_s
        logger.info("draining", running=len(self.runs), timeout_s=timeout_s)
        deadline = time.monotonic() + timeout_s
        hurry = asyncio.create_task(self.drain.hurried.wait())
        hurry.add_done_callback(lambda _: self.run_ended())
        await self._flush_until(deadline, hurried=self.drain.hurried)
        hurry.cancel()
        for run in list(self.runs):
            run.cancel(Cause.STOP)
        await self._flush_until(time.monotonic() + CANCEL_GRACE_S, hurried=None)

    async def _flush_until(self, deadline: float, *, hurried: asyncio.Event | None) -> None:
        """Write ends as they come, until all have, or the time is up."""
        while (self.runs or self.done or self._turns.unanswered) and not (hurried is not None and hurried.is_set()):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return
            try:
                # A turn without an answer may have leased jobs. They are leased again, and given back at once.
                await self._take_turn(self._free_slots() if self._turns.unanswered else 0)
            except REDIS_ERRORS as error:
                self._backoff_s = min(self._backoff_s, left_s)
                await self._back_off(error)
            else:
                self._backoff_s = FIRST_BACKOFF_S
                if self.runs or self.done:
                    await self._rest(0.0 if self.done else min(left_s, HOUSEKEEPING_S))

    async def _shut_down(self) -> int:
        exit_code = 0
        if self.on_shutdown is not None:
            try:
                await self.on_shutdown(self.ctx)
            except Exception:
                logger.exception("on_shutdown failed")
                exit_code = 1
        for run in self.stragglers:  # They get no further: the process exits now.
            logger.warning("job did not end in time", **logs.names_of(run))
            self.done.append(Ended(run, turns.give_back(run.lease), Outcome.RETURNED))
        with contextlib.suppress(*REDIS_ERRORS):
            while self.done:
                await self._take_turn(0)
            await heartbeat.remove(self.pool, self.queue_name, self.name)
            # The key says that some worker of the queue lives, so it goes with the last one.
            if not await self.pool.hlen(keys.heartbeats(self.queue_name)):  # type: ignore[misc]
                await self.pool.delete(self.health_check_key)
        self.leases.stop()
        for pool in {id(pool): pool for pool in (self.pool, self.ctx["redis"])}.values():
            with contextlib.suppress(*REDIS_ERRORS):
                await pool.connection_pool.disconnect()  # aclose() is younger than the redis-py of some images
        self._pool = None
        return exit_code
