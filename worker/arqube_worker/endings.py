"""How a run ends: what becomes of its job, its result, its dead letter, and the record of its tries."""

from __future__ import annotations

import asyncio
import random
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import arq.worker
from arq.utils import timestamp_ms
from arq.worker import JobExecutionFailed, Retry, RetryJob

from arqube_queue import turns
from arqube_queue.turns import Death, End
from arqube_worker import logs, retries
from arqube_worker.clock import QueueClock
from arqube_worker.recording import Recorder
from arqube_worker.results import Results
from arqube_worker.retries import RetryPolicy
from arqube_worker.runs import Cause, Outcome, Run, Verdict, verdict

_BEFORE_START: Final = {
    Cause.ABORT: Verdict.ABORT,
    Cause.STOP: Verdict.RETURN,
    Cause.TIMEOUT: Verdict.RETURN,
    Cause.LEASE_LOST: Verdict.FORGET,
}

logger = logs.get_logger(__name__)


class _Rules(NamedTuple):
    """What holds for the jobs of one function: their policy, how many tries they have, how long an id stays taken."""

    policy: RetryPolicy | None
    most: int
    keep_ms: int


class Endings:
    """Says for the runs of one worker how each is to be written to Redis, and what it counts as.

    Args:
        worker: Whose settings count.
        name: Of the worker.
        clock: By which jobs are due.
        retry_policy: For functions without one of their own; None for none.
        max_tries: As the settings say it; None where they do not.

    Attributes:
        least_tries: How many tries a job has at least, whatever its function.
    """

    def __init__(
        self,
        worker: arq.worker.Worker,
        *,
        name: str,
        clock: QueueClock,
        retry_policy: RetryPolicy | None,
        max_tries: int | None,
    ) -> None:
        self._worker = worker
        self._clock = clock
        self._results = Results(worker)
        self._recorder = Recorder(name)
        self._rules: dict[str, _Rules] = {}
        for each, function in worker.functions.items():
            policy = retries.policy_of(function.coroutine, retry_policy)
            most = retries.tries_allowed(
                policy, function=function.max_tries, worker=max_tries, default=worker.max_tries
            )
            is_cron = hasattr(function, "next_run")
            keep_ms = int(arq.worker.keep_cronjob_progress * 1000) if is_cron else 0  # type: ignore[attr-defined]
            self._rules[each] = _Rules(policy, most, keep_ms)
        tries = [rules.most for rules in self._rules.values()]
        self.least_tries, self._most_tries = min(tries), max(tries)

    def most_tries(self, function: str | None) -> int:
        """How many tries a job of ``function`` has; of one that is not known here, as many as any."""
        rules = self._rules.get(function or "")
        return self._most_tries if rules is None else rules.most

    def refused(
        self, run: Run, args: tuple[Any, ...], kwargs: dict[Any, Any], error: BaseException, outcome: Outcome
    ) -> tuple[End, Outcome]:
        """The end of a job that is not started, as arq's ``job_failed`` has it: the worker's ``keep_result`` counts."""
        now_ms = timestamp_ms()
        result, life_ms = None, self._results.life_ms()
        if life_ms is not None:
            result = self._results.write(
                run, args, kwargs, success=False, result=error, started_ms=now_ms, ended_ms=now_ms
            )
        text = _text(error)
        cause = error.__cause__
        if cause is not None:
            text = f"{text} ({_text(cause)})"
        record = self._recorder.refused(run, outcome.value, "" if outcome is Outcome.ABORTED else text)
        if outcome is Outcome.ABORTED:
            return turns.finish(run.lease, result, record=record, life_ms=life_ms or 0), outcome
        death = _death(run, outcome.value, text, _traceback(error) if cause else "")
        if outcome is Outcome.UNKNOWN_FUNCTION:
            return turns.put_back(run.lease, result, death, record=record, life_ms=life_ms or 0), Outcome.PUT_BACK
        return turns.bury(run.lease, result, death, record=record, life_ms=life_ms or 0), outcome

    def not_begun(self, run: Run) -> tuple[End, Outcome]:
        """The app's own hook failed before the job's code. The try counts, or it would spin for ever."""
        record = self._recorder.tries(run, "retried", "on_job_start failed")
        return turns.requeue(run.lease, record=record, tries=run.attempt), Outcome.RETRIED

    def returned(self, run: Run) -> tuple[End, Outcome]:
        """The worker stops: the job is for another, and a try that has begun does not count."""
        record = None if run.started_at is None else self._recorder.tries(run, "returned")
        return turns.give_back(run.lease, record=record), Outcome.RETURNED

    def told(
        self,
        run: Run,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[Any, Any],
        result: Any,
        error: BaseException | None,
    ) -> tuple[End | None, Outcome]:
        """How the run's end is written, and what it counts as; whatever goes wrong in telling it makes it a failure."""
        try:
            return self._judge(run, function, args, kwargs, result, error, self._rules[run.function or ""])
        except BaseException as broken:  # an app's serializer, an exception's __str__
            logger.exception("the end of a job could not be told as it was")
            failure = JobExecutionFailed(type(broken).__name__)
        try:  # Another try would end like this one.
            return self._judge(
                run, function, (), {}, None, failure, self._rules[run.function or ""]._replace(policy=None)
            )
        except BaseException:  # the function's own settings
            logger.exception("the failure of a job could not be told")
            text = f"{type(failure).__name__}: {failure}"
            record = self._recorder.ended(run, "failed", *_times(run), text)
            return turns.bury(run.lease, None, _death(run, "failed", text, ""), record=record), Outcome.FAILED

    def _judge(
        self,
        run: Run,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[Any, Any],
        result: Any,
        error: BaseException | None,
        rules: _Rules,
    ) -> tuple[End | None, Outcome]:
        worker, lease, (policy, _, keep_ms) = self._worker, run.lease, rules
        if run.started_at is None and error is not None:  # It never began, so it may always begin elsewhere.
            decision = _BEFORE_START[run.cause or Cause.STOP]
        else:
            decision = verdict(error, run.cause, retry_jobs=worker.retry_jobs, own_wish=(Retry, RetryJob))
        match decision:
            case Verdict.FORGET:
                return None, Outcome.LEASE_LOST
            case Verdict.RETURN:
                return self.returned(run)
            case Verdict.AGAIN:
                return self._again(run, None, keep_ms, _cause_of(error))
            case Verdict.RETRY:
                return self._again(run, getattr(error, "defer_score", None), keep_ms, _cause_of(error))
        if decision is not Verdict.SUCCEED:
            timed_out = run.cause is Cause.TIMEOUT and isinstance(error, asyncio.CancelledError)
            result = error = asyncio.TimeoutError() if timed_out else error
        reason = "failed"
        if decision is Verdict.FAIL and error is not None:
            if policy is not None and worker.retry_jobs and run.cause in (None, Cause.TIMEOUT):
                ruling = self._rule(run, rules.most, policy, error)
                if ruling.retry_in_s is not None:
                    return self._again(run, int(ruling.retry_in_s * 1000), keep_ms, _text(error))
                reason = ruling.reason
            if isinstance(error, asyncio.TimeoutError) and run.cause is Cause.TIMEOUT:
                reason = "timeout"
        started_ms, ended_ms = _times(run)
        data, life_ms = None, self._results.life_ms(function)
        if life_ms is not None:
            data = self._results.write(
                run, args, kwargs, success=error is None, result=result, started_ms=started_ms, ended_ms=ended_ms
            )
        if decision is Verdict.FAIL and error is not None:
            _log_failure(error)
            text = _text(error)
            death = _death(run, reason, text, _traceback(error))
            record = self._recorder.ended(run, "failed", started_ms, ended_ms, text)
            end = turns.bury(lease, data, death, record=record, life_ms=life_ms or 0, keep_in_progress_ms=keep_ms)
            return end, Outcome.FAILED
        aborted = decision is Verdict.ABORT
        outcome = Outcome.ABORTED if aborted else Outcome.SUCCEEDED
        # An enumeration's member takes longer to write than its text.
        record = self._recorder.ended(run, "aborted" if aborted else "succeeded", started_ms, ended_ms)
        return turns.finish(lease, data, record=record, life_ms=life_ms or 0, keep_in_progress_ms=keep_ms), outcome

    def _again(self, run: Run, defer_ms: int | None, keep_ms: int, error: str) -> tuple[End, Outcome]:
        """The job runs again, and this try counts."""
        tries = run.attempt if run.attempt != run.lease.tries else None
        due_ms = self._clock.now_ms() + defer_ms if defer_ms else None
        record = self._recorder.tries(run, "retried", error)
        end = turns.requeue(run.lease, record=record, due_ms=due_ms, tries=tries, keep_in_progress_ms=keep_ms)
        return end, Outcome.RETRIED

    def _rule(self, run: Run, most: int, policy: RetryPolicy, error: BaseException) -> retries.Decision:
        """What the policy says of a failed try; tells people what it leads to."""
        elapsed_s = time.time() - run.enqueued_ms / 1000
        ruling = retries.decide(policy, run.attempt, error, most=most, elapsed_s=elapsed_s, chance=random.random())  # noqa: S311
        if ruling.retry_in_s is not None:
            logger.warning(
                "job failed, and will be tried again",
                retry_in_s=round(ruling.retry_in_s, 3),
                max_tries=most,
                exc_info=error,
            )
        return ruling


def _death(run: Run, reason: str, error: str, frames: str) -> Death:
    run.death = reason
    return Death(reason, run.function or "", error, frames, run.attempt or run.lease.tries, run.enqueued_ms)


def _log_failure(error: BaseException) -> None:
    details: Mapping[str, Any] = {}
    try:
        extra = getattr(error, "extra", None)
        if extra is not None:
            details = {"extra": extra() if callable(extra) else extra}
    except BaseException:
        logger.exception("the failure's own 'extra' failed")
    logger.error("job failed", exc_info=error, **details)


def _times(run: Run) -> tuple[int, int]:
    """When the run started and ended, in Unix milliseconds; 0 for what it did not."""
    return int((run.started_at or 0) * 1000), int((run.ended_at or 0) * 1000)


def _text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # an exception's own __str__
        return type(error).__name__


def _cause_of(error: BaseException | None) -> str:
    """Why a job wants another try: what it has caught, which is often not said again."""
    cause = error and (error.__cause__ or error.__context__)
    return _text(cause) if cause else ""


def _traceback(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(error))
    except BaseException:  # an exception's own __str__
        return f"{type(error).__name__}"
