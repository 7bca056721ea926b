"""Retry policies under a real worker: what its tries leave in logs, metrics, records and dead letters."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import arq.worker
import pytest
from arq import cron
from arq.connections import ArqRedis
from arq.worker import Retry, RetryJob, func
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import dead_letters, job_records, keys
from arqube_queue.dead_letters import DeadLetter
from arqube_queue.job_records import JobRecord, JobState
from arqube_worker import settings
from arqube_worker.metrics import Metrics
from arqube_worker.retries import Backoff, RetryPolicy
from arqube_worker.runtime import Worker

pytestmark = pytest.mark.timeout(180)

QUEUE = keys.DEFAULT_QUEUE
AT_ONCE = Backoff(0, 1, 0, 0)
WITHIN_S = 40.0

Finished = Callable[..., Awaitable[JobRecord]]
Context = dict[str, Any]


class RefusalError(Exception):
    """What an app's service raises when it will never do as asked."""


@pytest.fixture
def finished(redis_server: RedisServer, arq_client: ArqRedis) -> Finished:
    """Run one job on a worker of its own in this process, until it has ended; what is recorded of it."""

    async def run(
        *functions: Any, name: str = "work", registry: CollectorRegistry | None = None, **options: Any
    ) -> JobRecord:
        for function in functions:
            if inspect.isfunction(function):  # else arq takes the name of what made it, too
                function.__qualname__ = function.__name__
        values = {"functions": functions, **options}
        address = redis_server.address
        environ = {
            "ARQUBE_REDIS_HOST": address.host,
            "ARQUBE_REDIS_PORT": str(address.port),
            "ARQUBE_UNKNOWN_FUNCTION_GRACE": "0",
        }
        configuration = settings.configure(settings.LoadedSettings("test", values), environ)
        worker = Worker(configuration, name="here", metrics=Metrics(registry or CollectorRegistry()))
        if not options.get("cron_jobs"):
            await arq_client.enqueue_job(name, "a secret", _job_id="job")
        serving = asyncio.create_task(worker.serve())
        try:
            async with asyncio.timeout(WITHIN_S):
                while True:
                    over = job_records.JobFilter(frozenset(JobState) - job_records.ALIVE)
                    jobs = (await job_records.list_jobs(arq_client, QUEUE, over)).jobs
                    if jobs:
                        return jobs[0]
                    await asyncio.sleep(0.02)
        finally:
            worker.drain.request()
            worker.drain.request()
            await asyncio.wait_for(serving, WITHIN_S)

    return run


async def the_letter(redis: Redis) -> DeadLetter:
    (letter,) = (await dead_letters.read_page(redis, QUEUE)).letters
    return letter


def failing(*errors: BaseException | None) -> Any:
    """A job function whose tries raise these, one after the other; None succeeds."""

    async def work(ctx: Context, secret: str) -> str:
        error = errors[ctx["job_try"] - 1]
        if error is not None:
            raise error
        return "done"

    return work


def outcomes(job: JobRecord) -> list[str | None]:
    return [one.outcome for one in job.tries]


async def test_an_ordinary_exception_is_tried_again_and_each_try_is_told(
    finished: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    registry = CollectorRegistry()
    policy = RetryPolicy(backoff=Backoff(0.05, 2, 1, 0))
    job = await finished(policy(failing(OSError("no answer"), KeyError("k"), None)), registry=registry)
    assert (job.state, outcomes(job)) == (JobState.SUCCEEDED, ["retried", "retried", "succeeded"])
    assert [one.error for one in job.tries] == ["OSError: no answer", "KeyError: 'k'", ""]
    assert [one.number for one in job.tries] == [1, 2, 3]
    assert {one.worker for one in job.tries} == {"here"}
    waits = [later.started_ms - (former.ended_ms or 0) for former, later in zip(job.tries, job.tries[1:], strict=False)]
    assert waits[0] >= 49
    assert waits[1] >= 99
    jobs = {"function": "work", "outcome": "retried"}
    assert registry.get_sample_value("arqube_worker_jobs_total", jobs) == 2
    again = [record.msg for record in caplog.records if "will be tried again" in str(record.msg)]
    assert [(line["try"], line["retry_in_s"]) for line in again] == [(1, 0.05), (2, 0.1)]  # type: ignore[index]
    assert "a secret" not in caplog.text


async def test_used_up_tries_become_a_dead_letter_with_the_last_error(finished: Finished, redis: Redis) -> None:
    policy = RetryPolicy(max_tries=2, backoff=AT_ONCE)
    job = await finished(policy(failing(OSError("first"), OSError("second"))))
    assert (job.state, outcomes(job), job.dead_letter) == (JobState.FAILED, ["retried", "failed"], True)
    remains = await dead_letters.read(redis, QUEUE, "job")
    assert remains is not None
    letter = remains.letter
    assert (letter.reason, letter.error, letter.tries) == ("tries_exhausted", "OSError: second", 2)
    assert "raise error" in remains.traceback


@pytest.mark.parametrize(
    ("policy", "options", "errors", "told", "reason"),
    [
        pytest.param(
            RetryPolicy(retry_on=(OSError,), backoff=AT_ONCE),
            {},
            [TimeoutError(), ValueError()],
            ["retried", "failed"],
            "failed",
            id="an exception that the policy does not name is final",
        ),
        pytest.param(
            RetryPolicy(give_up_on=(RefusalError,), backoff=AT_ONCE),
            {},
            [OSError(), RefusalError()],
            ["retried", "failed"],
            "failed",
            id="one to give up on is final",
        ),
        pytest.param(
            RetryPolicy(time_limit=0.5, backoff=Backoff(1, 1, 1, 0)),
            {},
            [OSError()],
            ["failed"],
            "tries_exhausted",
            id="no try begins after the time limit",
        ),
        pytest.param(
            RetryPolicy(max_tries=9, backoff=AT_ONCE),
            {"max_tries": 2},
            [OSError(), OSError()],
            ["retried", "failed"],
            "tries_exhausted",
            id="the settings' smaller max_tries binds",
        ),
        pytest.param(
            RetryPolicy(max_tries=7, backoff=AT_ONCE),
            {},
            [OSError()] * 7,
            [*["retried"] * 6, "failed"],
            "tries_exhausted",
            id="the policy's goes beyond arq's default",
        ),
        pytest.param(
            RetryPolicy(max_tries=2, backoff=AT_ONCE),
            {},
            [Retry(), OSError()],
            ["retried", "failed"],
            "tries_exhausted",
            id="tries that arq's Retry asked for count, too",
        ),
        pytest.param(
            RetryPolicy(backoff=AT_ONCE),
            {"retry_jobs": False},
            [OSError()],
            ["failed"],
            "failed",
            id="retry_jobs=False holds",
        ),
        pytest.param(
            RetryPolicy(backoff=AT_ONCE), {}, [SystemExit(3)], ["failed"], "failed", id="an exit is no exception"
        ),
        pytest.param(
            RetryPolicy(retry_on=(KeyError,), backoff=AT_ONCE),
            {},
            [RetryJob(), Retry(), ValueError()],
            ["retried", "retried", "failed"],
            "failed",
            id="arq's own wishes need no policy's leave",
        ),
    ],
)
async def test_when_a_policy_gives_up(
    finished: Finished,
    redis: Redis,
    policy: RetryPolicy,
    options: dict[str, Any],
    errors: list[BaseException],
    told: list[str],
    reason: str,
) -> None:
    job = await finished(policy(failing(*errors)), **options)
    assert (outcomes(job), (await the_letter(redis)).reason) == (told, reason)


async def test_the_settings_policy_is_for_functions_without_one(finished: Finished, redis: Redis) -> None:
    job = await finished(failing(OSError(), None), retry_policy=RetryPolicy(backoff=AT_ONCE))
    assert outcomes(job) == ["retried", "succeeded"]
    await redis.flushall()
    own = RetryPolicy(retry_on=(KeyError,), backoff=AT_ONCE)
    job = await finished(own(failing(OSError())), retry_policy=RetryPolicy(backoff=AT_ONCE))
    assert outcomes(job) == ["failed"], "the decorator wins"


async def test_the_limit_of_arqs_func_binds_when_it_is_smaller(finished: Finished, redis: Redis) -> None:
    policy = RetryPolicy(max_tries=3, backoff=AT_ONCE)
    job = await finished(func(policy(failing(*[OSError()] * 3)), name="work", max_tries=2), max_tries=1)
    assert outcomes(job) == ["retried", "failed"]


async def test_a_timeout_is_tried_again_and_stays_a_timeout_in_the_end(finished: Finished, redis: Redis) -> None:
    async def work(ctx: Context, secret: str) -> None:
        await asyncio.sleep(600)

    policy = RetryPolicy(max_tries=2, backoff=AT_ONCE)
    job = await finished(func(policy(work), name="work", timeout=0.05))
    assert outcomes(job) == ["retried", "failed"]
    assert [one.error for one in job.tries] == ["TimeoutError: "] * 2
    assert (await the_letter(redis)).reason == "timeout"


async def test_a_job_that_somebody_cancels_is_not_tried_again(finished: Finished, redis: Redis) -> None:
    async def work(ctx: Context, secret: str) -> None:
        await redis.zadd(keys.ABORT, {"job": 1})
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            raise OSError("the driver's own error") from None

    job = await finished(RetryPolicy(backoff=AT_ONCE)(work), allow_abort_jobs=True, poll_delay=0.05)
    assert outcomes(job) == ["failed"]


async def test_an_error_that_cannot_be_told_is_tried_again_like_another(finished: Finished) -> None:
    class UnspeakableError(Exception):
        def __str__(self) -> str:
            raise ValueError

    errors = UnspeakableError(), UnspeakableError()
    job = await finished(RetryPolicy(max_tries=2, backoff=AT_ONCE)(failing(*errors)))
    assert (job.state, outcomes(job), job.error) == (JobState.FAILED, ["retried", "failed"], "UnspeakableError")


async def test_a_cron_job_has_the_tries_that_cron_gives_it(finished: Finished) -> None:
    async def tick(ctx: Context) -> None:
        raise OSError

    policy = RetryPolicy(backoff=AT_ONCE)
    job = await finished(cron_jobs=[cron(policy(tick), name="tick", run_at_startup=True, second=0)])
    assert (job.function, outcomes(job)) == ("tick", ["failed"])


async def test_plain_arq_runs_a_decorated_function(arq_client: ArqRedis) -> None:
    work = func(RetryPolicy(max_tries=3)(failing(None)), name="work")
    await arq_client.enqueue_job("work", "a secret", _job_id="job")
    plain = arq.worker.Worker([work], redis_pool=arq_client, burst=True, poll_delay=0.01, handle_signals=False)
    await plain.main()
    assert plain.jobs_complete == 1
    assert await arq.jobs.Job("job", arq_client).result(timeout=0) == "done"


@pytest.mark.parametrize("policy", [3, RetryPolicy, {"max_tries": 3}])
def test_settings_with_something_else_for_a_policy_are_refused(policy: Any) -> None:
    with pytest.raises(settings.SettingsError, match="retry_policy must be a RetryPolicy"):
        settings.configure(settings.LoadedSettings("test", {"retry_policy": policy}), {})
