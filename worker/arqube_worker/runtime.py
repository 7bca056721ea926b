"""The worker's life: connect, start up, take turns at the queue, drain, shut down."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import time
import uuid
from typing import Final

from arq.connections import ArqRedis

from arqube_queue import heartbeat, keys
from arqube_queue.answers import invalid_if_odd
from arqube_queue.held_connection import HeldConnection
from arqube_queue.leases import LeaseKeeper
from arqube_queue.turns import Turns
from arqube_worker import connections, crons, heartbeats, logs, termination, tracing
from arqube_worker.drain import first_of
from arqube_worker.metrics import Metrics
from arqube_worker.running import Ended
from arqube_worker.runs import Cause, Run
from arqube_worker.serializers import warn_about_pickle
from arqube_worker.settings import Configuration, SettingsError, told
from arqube_worker.turning import FIRST_BACKOFF_S, HOUSEKEEPING_S, LAST_BACKOFF_S, REDIS_ERRORS, TurnTaker

CANCEL_GRACE_S: Final = 5.0
"""How long cancelled jobs may take to clean up before the worker exits without them."""

logger = logs.get_logger(__name__)


class Worker(TurnTaker):
    """Runs the jobs of one queue until it is asked to stop. Make it, then ``await serve()`` once.

    Raises:
        SettingsError: arq refuses the settings.
    """

    def __init__(self, configuration: Configuration, *, name: str, metrics: Metrics) -> None:
        # The signals are ours for every worker, so arq must not install its own.
        options = {**configuration.options, "handle_signals": False}
        try:
            super().__init__(name=name, metrics=metrics, retry_policy=configuration.retry_policy, **options)
        except Exception as error:  # of an assertion, or of a module that it imports, among others
            raise SettingsError(f"arq refuses the settings: {told(error)}") from error
        self._configuration = configuration
        self._pool_options = {
            "job_serializer": self.job_serializer,
            "job_deserializer": self.job_deserializer,
            "default_queue_name": self.queue_name,
            "expires_extra_ms": self.expires_extra_ms,
        }
        self._drained = asyncio.Event()
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
            await asyncio.wait((beat,))
            if not beat.cancelled():  # Else it was by the app.
                beat.result()
        if self._pool is not None:
            exit_code = await self._shut_down() or exit_code
        if self.spans is not None and not await tracing.flush(self.spans):
            logger.warning("the last spans were not sent in time", seconds=tracing.FLUSH_S)
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
                self.redis_failed("connecting", error)
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
        self._line = HeldConnection(pool)
        self._turns = Turns(self._line, self.queue_name, worker=self.name, token=token, policy=policy)
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
        except BaseException as error:  # also SystemExit, which would leave neither a word nor a clean end
            self._hook_failed("on_startup", error)
            return 1
        listening = asyncio.create_task(self._listen())
        exit_code = 0
        try:
            await self.work()
        except asyncio.CancelledError:  # By the app alone, as by a job that cancels all tasks there are.
            message = "a task of the app cancelled the worker: it stops in order"
            logger.warning(message)
            termination.report(f"arqube-worker: {message}")
            exit_code = 1
        finally:
            await self._finish_or_give_back()
            listening.cancel()
            await asyncio.wait((listening,), timeout=CANCEL_GRACE_S)
        return exit_code

    async def _start_up(self) -> None:
        """Run ``on_startup``; a stop cancels it, as a start-up may take minutes."""
        if self.on_startup is not None:
            hook = asyncio.ensure_future(self.on_startup(self.ctx))
            stop = asyncio.create_task(self.drain.requested.wait())
            await asyncio.wait((hook, stop), return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            if not hook.done():
                hook.cancel()
            try:
                await hook
            except asyncio.CancelledError:
                if not self.drain.stopping:
                    raise RuntimeError("it cancelled itself") from None
        self._trace()
        gc.collect()
        gc.freeze()  # What is loaded stays, and is not looked through for garbage any more.
        self.health.started = True

    def _trace(self) -> None:
        """Trace jobs, if that is wanted: the app has had its chance to set a provider."""
        try:
            self.spans = tracing.start(os.environ, worker=self.name, queue=self.queue_name)
        except tracing.TracingError as error:
            logger.warning("jobs are not traced", reason=str(error))
        if self.spans is not None:
            self.job_deserializer = self.spans.reading(self.job_deserializer)
            apps: ArqRedis = self.ctx["redis"]  # Jobs that jobs enqueue stay in the trace.
            apps.job_serializer = tracing.with_trace_context(apps.job_serializer)
            logger.info("jobs are traced")

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
            *(self.name, self.max_jobs, list(self.functions), self.tally, self.health, cron_runs),
            retiring=retiring,
            cancels=self.allow_abort_jobs,
        )
        try:
            asked = await heartbeat.write(self.pool, self.queue_name, beat)
        except REDIS_ERRORS as error:
            self.redis_failed("writing the heartbeat", error)
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

    def _hook_failed(self, name: str, error: BaseException) -> None:
        logger.error(f"{name} failed", exc_info=error)
        termination.report(f"arqube-worker: {name} failed: {told(error)}")

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
            except BaseException as error:
                self._hook_failed("on_shutdown", error)
                exit_code = 1
        for run in self.stragglers:  # They get no further: the process exits now.
            logger.warning("job did not end in time", **logs.names_of(run))
            self.done.append(Ended(run, *self.endings.returned(run)))
        with contextlib.suppress(*REDIS_ERRORS):
            while self.done:
                await self._take_turn(0)
            await heartbeat.remove(self.pool, self.queue_name, self.name)
            # The key says that some worker of the queue lives, so it goes with the last one.
            with invalid_if_odd():
                if not await self.pool.hlen(keys.heartbeats(self.queue_name)):  # type: ignore[misc]
                    await self.pool.delete(self.health_check_key)
        self.leases.stop()
        with contextlib.suppress(*REDIS_ERRORS):
            await self._line.disconnect()
        for pool in {id(pool): pool for pool in (self.pool, self.ctx["redis"])}.values():
            with contextlib.suppress(*REDIS_ERRORS):
                await pool.connection_pool.disconnect()  # aclose() is younger than the redis-py of some images
        self._pool = None
        return exit_code
