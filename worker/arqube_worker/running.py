"""Runs a claimed job with arq's own code, and sees to it that every run ends in Redis one way or another.

Left to arq: how a payload becomes a call, and how its result is written. Ours: what becomes of a run which our stop,
Redis or a hook interrupts, and what is known of it afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import Any, Final

import arq.worker
from redis.exceptions import RedisError

from arqube_queue import claims
from arqube_worker import logs
from arqube_worker.drain import Drain
from arqube_worker.health import Health
from arqube_worker.heartbeats import Tally
from arqube_worker.metrics import Metrics
from arqube_worker.runs import Outcome, Run, outcome_of_refusal, outcome_of_run

FIRST_BACKOFF_S: Final = 0.1
LAST_BACKOFF_S: Final = 2.0
REDIS_ERRORS: Final = (RedisError, OSError, TimeoutError)

_run: ContextVar[Run] = ContextVar("run")
logger = logs.get_logger(__name__)


class JobRunner(arq.worker.Worker):
    """arq's Worker with each run observed. ``options`` are its arguments, and it raises what it raises."""

    def __init__(self, *, metrics: Metrics, **options: Any) -> None:
        super().__init__(**options)
        self.drain = Drain()
        self.health = Health(lease_s=self.in_progress_timeout_s, loop_turned_at=time.monotonic())
        self.tally = Tally()
        self.metrics = metrics
        # arq would print results, in lines that we drop, and fail a job whose result cannot be printed.
        self.log_results = False
        self._observe()

    async def run_to_the_end(self, run: Run) -> None:
        """Run a claimed job; one that is returning already is given back instead. Raises nothing."""
        _run.set(run)
        logs.bind_job(job_id=run.job.job_id)
        try:
            if run.returning:
                await self._give_back(run)
            else:
                await self.run_job(run.job.job_id, run.job.score)
        except Exception as error:
            if isinstance(error, REDIS_ERRORS) and not run.attempt:
                self.redis_failed("starting a job", error)
                await self._give_back(run)
                return
            # The app's on_job_start: the try counts, or a hook that always fails would spin for ever.
            logger.exception("on_job_start failed")
            release = partial(super().finish_job, run.job.job_id, False, None, None, False, None, None)
            await self._insist(run, release)
            self._settle(run, Outcome.RETRIED)

    async def hand_back(self, run: Run) -> None:
        """Give a job back as it was before its claim.

        Raises:
            redis.exceptions.RedisError, OSError: No answer; it can be repeated.
        """
        await claims.hand_back(self.pool, run.job)
        self._settle(run, Outcome.RETURNED)

    def redis_failed(self, during: str, error: BaseException) -> None:
        """Note that Redis did not do what it was asked."""
        self.health.redis_failing = True
        self.metrics.redis_errors.inc()
        logger.warning("Redis failed", during=during, error=f"{type(error).__name__}: {error}")

    # -- what arq calls to write the end of a run --

    async def finish_job(
        self,
        job_id: str,
        finish: bool,
        result_data: bytes | None,
        result_timeout_s: float | None,
        keep_result_forever: bool,
        incr_score: int | None,
        keep_in_progress: float | None,
    ) -> None:
        """As arq, but a run which our stop interrupted is given back, and Redis is asked until it answers."""
        run = _run.get()
        if self._interrupted(run):
            await self._give_back(run)
            return
        write = partial(super().finish_job, job_id, finish, result_data, result_timeout_s, keep_result_forever)
        await self._insist(run, partial(write, incr_score, keep_in_progress))
        self._settle(run, outcome_of_run(run, final=finish))

    async def finish_failed_job(self, job_id: str, result_data: bytes | None) -> None:
        """As arq, for a job that was not started."""
        run = _run.get()
        if self.keep_result_forever:  # arq would write a life of 0 ms, which Redis refuses.
            await self._insist(run, partial(super().finish_job, job_id, True, result_data, None, True, None, None))
        else:
            await self._insist(run, partial(super().finish_failed_job, job_id, result_data))
        self._settle(run, outcome_of_refusal(run, self.functions))

    def _interrupted(self, run: Run) -> bool:
        """Whether the run ended because we stopped it.

        Any error after our cancellation counts: drivers often turn a cancellation into an error of their own. With
        ``retry_jobs=False`` the app has said that a job which began must not begin again, so it fails as in arq.
        """
        if not run.returning or run.started_at is None:
            return run.returning
        own_wish = run.error is None or run.aborting or isinstance(run.error, arq.worker.Retry | arq.worker.RetryJob)
        return self.retry_jobs and not own_wish

    async def _give_back(self, run: Run) -> None:
        await self._insist(run, partial(claims.hand_back, self.pool, run.job))
        self._settle(run, Outcome.RETURNED)

    def _settle(self, run: Run, outcome: Outcome) -> None:
        run.settled = True
        self.metrics.ended(run, outcome)
        self.tally.ended(run, outcome)
        duration_s = None if run.duration_s is None else round(run.duration_s, 6)
        logger.info("job ended", outcome=outcome, duration_s=duration_s)

    async def _insist(self, run: Run, write: Callable[[], Awaitable[object]]) -> None:
        """Write until Redis has answered, or until the job's lease is over and another worker may have it.

        A write whose answer got lost may have been done. It ends the lease, so while the lease is there it was not.
        """
        deadline = time.monotonic() + self.in_progress_timeout_s
        backoff_s = FIRST_BACKOFF_S
        ours = True
        while ours and time.monotonic() < deadline:
            try:
                await write()
                return
            except REDIS_ERRORS as error:
                self.redis_failed("finishing a job", error)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, LAST_BACKOFF_S)
            with contextlib.suppress(*REDIS_ERRORS):
                ours = await claims.is_leased(self.pool, run.job)
        if ours:
            logger.error("the end of a job could not be written while its lease lasted")

    # -- looking over arq's shoulder --

    def _observe(self) -> None:
        """See the payload arq reads, the coroutine it calls and the failure it stores.

        Everything of the app's is called through, so that hooks, serializers and functions behave as before.
        """
        decode, encode = self.job_deserializer or pickle.loads, self.job_serializer or pickle.dumps
        start_hook = self.on_job_start

        def observed_decode(payload: bytes) -> dict[str, Any]:
            document: dict[str, Any] = decode(payload)
            _run.get().function = document["f"]
            logs.bind_job(function=document["f"])
            return document

        def observed_encode(document: dict[str, Any]) -> bytes:
            run = _run.get()
            if run.started_at is None and isinstance(document["r"], BaseException):
                run.refusal = document["r"]
            return encode(document)

        async def observed_start(ctx: dict[Any, Any]) -> None:
            _run.get().attempt = ctx["job_try"]
            logs.bind_job(**{"try": ctx["job_try"]})
            if start_hook is not None:
                await start_hook(ctx)

        self.job_deserializer, self.job_serializer = observed_decode, observed_encode
        self.on_job_start = observed_start
        self.on_job_end = _logged("on_job_end", self.on_job_end)
        self.after_job_end = _logged("after_job_end", self.after_job_end)
        self.functions = {
            name: replace(function, coroutine=self._observed(function.coroutine))
            for name, function in self.functions.items()
        }

    def _observed(self, coroutine: Any) -> Any:
        async def observed(ctx: dict[Any, Any], *args: Any, **kwargs: Any) -> Any:
            run = _run.get()
            if self.drain.requested.is_set():  # The signal came after the claim: nothing starts any more.
                run.returning = True
                raise asyncio.CancelledError
            run.started_at = time.time()
            self.tally.started += 1
            self.metrics.started(run)
            logger.info("job started", wait_s=run.wait_s and round(run.wait_s, 6))
            try:
                return await coroutine(ctx, *args, **kwargs)
            except BaseException as error:
                run.error = error
                run.aborting = run.job.job_id in self.aborting_tasks
                raise
            finally:
                run.ended_at = time.time()

        return observed


def _logged(name: str, hook: Any) -> Any:
    """The hook with its errors logged: arq would stop the worker and leave the job neither finished nor free."""
    if hook is None:
        return None

    async def logged(ctx: dict[Any, Any]) -> None:
        try:
            await hook(ctx)
        except Exception:
            logger.exception(f"{name} failed")

    return logged
