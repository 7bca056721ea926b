"""``arqube jobs``, ``arqube queues`` and ``arqube workers`` as people and scripts call them, on a real Redis."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from arqube_local.cli import jobs_output, main
from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_queue import heartbeat, job_tries, keys, turns
from arqube_queue.answers import now_ms
from arqube_queue.job_records import JobRecord, JobState
from arqube_queue.job_tries import JobTry
from arqube_queue.model import Heartbeat
from arqube_queue.turns import Death, Policy, Turns

QUEUE = "mail"
NOW_MS = 1_795_843_431_000  # only for what is written, never for what is in Redis
Cli = Callable[..., Awaitable[Result]]


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Call ``arqube`` in an environment that names no queue; it has an event loop of its own."""
    for name in list(os.environ):
        if name.startswith("ARQUBE_"):
            monkeypatch.delenv(name)

    async def call(*arguments: str, environ: dict[str, str] | None = None) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), env=environ)

    return call


@pytest.fixture
def cli(invoke: Cli, redis: Redis, redis_server: RedisServer) -> Cli:
    """The same on the queue of the tests; the command's words come first."""

    async def call(command: str, *arguments: str) -> Result:
        return await invoke(*command.split(), "--redis", redis_server.url, "--queue", QUEUE, *arguments)

    return call


@pytest_asyncio.fixture
async def some(redis: Redis, redis_server: RedisServer) -> AsyncIterator[None]:
    """Jobs of several states: one succeeded at its second try, one dead, one running, one waiting, one for later."""
    address = redis_server.address
    client: ArqRedis = await create_pool(RedisSettings(host=address.host, port=address.port), default_queue_name=QUEUE)
    name = "pod-1"
    us = Turns(redis, QUEUE, worker=name, token=name, policy=Policy())

    async def take(*ends: turns.End, limit: int = 0) -> list[turns.Lease]:
        return (await us.take(ends, now_ms=await now_ms(redis) + 1, limit=limit)).leases

    at = await now_ms(redis)
    failed = job_tries.ended_try(1, '"pod-1"', at - 9000, at - 8000, "retried", "OSError: \x1b[31mred")
    succeeded = job_tries.ended_try(2, '"pod-1"', at - 5000, at - 3750, "succeeded")
    await client.enqueue_job("send", "a secret", _job_id="good")
    (lease,) = await take(limit=1)
    record = "\n".join((job_tries.ending('"send"', at - 60_000, "succeeded"), failed, succeeded))
    await take(turns.finish(lease, b"result", record=record))
    ended = await now_ms(redis)
    while await now_ms(redis) == ended:
        pass  # Lists are in the order of ends, and of ids where those are the same.
    await client.enqueue_job("bill", _job_id="dead")
    (lease,) = await take(limit=1)
    only = job_tries.ended_try(1, '"pod-1"', at - 5000, at - 4000, "failed", "KeyError: 'Price'")
    record = "\n".join((job_tries.ending('"bill"', at - 60_000, "failed"), only))
    death = Death("failed", "bill", "KeyError: 'Price'", "Traceback ...", 1, at - 60_000)
    await take(turns.bury(lease, b"result", death, record=record))
    await client.enqueue_job("send", _job_id="runs")
    await take(limit=1)
    await client.enqueue_job("send", _job_id="waits")
    await client.enqueue_job("send", _job_id="later", _defer_by=3600)
    yield
    await client.aclose(close_connection_pool=True)


@pytest.mark.usefixtures("some")
async def test_the_list_is_a_table_of_those_alive_and_then_of_those_that_ended(cli: Cli) -> None:
    done = await cli("jobs list")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["JOB", "ID", "FUNCTION", "STATE", "TRIES", "AGE", "RAN", "WORKER", "ERROR"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["runs", "send", "running", "1"],
        ["waits", "send", "waiting", "0"],
        ["later", "send", "deferred", "0"],
        ["dead", "bill", "failed", "1"],
        ["good", "send", "succeeded", "2"],
    ]
    assert lines[4].endswith("pod-1   KeyError: 'Price'")
    assert (done.exit_code, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param(["--state", "failed"], ["dead"], id="by state"),
        pytest.param(["--state", "failed", "--state", "running"], ["runs", "dead"], id="by two states"),
        pytest.param(["--function", "bill"], ["dead"], id="by function"),
        pytest.param(["--limit", "2"], ["runs", "waits"], id="so many"),
        pytest.param(["--state", "cancelled"], [], id="none"),
    ],
)
@pytest.mark.usefixtures("some")
async def test_what_is_listed_for_programs(cli: Cli, arguments: list[str], found: list[str]) -> None:
    done = await cli("jobs list", "--json", *arguments)
    assert [job["job_id"] for job in json.loads(done.stdout)] == found
    assert ("--limit shows more" in done.stderr) == ("--limit" in arguments)
    assert done.exit_code == 0


async def test_an_empty_list_says_so(cli: Cli) -> None:
    assert (await cli("jobs list")).stderr == "no jobs in mail\n"
    done = await cli("jobs list", "--state", "failed")
    assert (done.stdout, done.stderr, done.exit_code) == ("", "no such jobs in mail\n", 0)


@pytest.mark.usefixtures("some")
async def test_a_job_is_shown_with_its_tries(cli: Cli) -> None:
    done = await cli("jobs show", "good")
    assert done.exit_code == 0
    assert "State:    has succeeded in 1.25s after 2 tries" in done.stdout
    head, *rows = done.stdout.split("\n\n")[1].splitlines()
    assert head.split() == ["TRY", "STARTED", "RAN", "OUTCOME", "WORKER", "ERROR"]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert "retried" in rows[0]
    assert "\x1b" not in done.stdout, "an error cannot command the terminal"
    assert "a secret" not in done.stdout
    told = json.loads((await cli("jobs show", "good", "--json")).stdout)
    assert (told["state"], told["tried"], told["tries"][1]["outcome"]) == ("succeeded", 2, "succeeded")
    assert set(told["tries"][0]) == {"number", "worker", "started_at", "ended_at", "outcome", "error"}


async def test_a_job_of_which_nothing_is_known_is_an_error(cli: Cli) -> None:
    done = await cli("jobs show", "none")
    assert done.exit_code == 1
    assert "nothing is known of job 'none' in this queue" in done.stderr


@pytest.mark.usefixtures("some")
async def test_jobs_are_cancelled_and_run_again(cli: Cli, redis: Redis) -> None:
    done = await cli("jobs cancel", "runs", "later", "good", "none")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "runs: its worker is asked to cancel it",
        "later: the next free worker ends it without running it",
    ]
    assert "good: it has ended already\nnone: nothing is known of it\n" in done.stderr
    assert set(await redis.zrange(keys.ABORT, 0, -1)) == {b"runs", b"later"}
    assert "running, cancelling" in (await cli("jobs list")).stdout
    done = await cli("jobs retry", "dead")
    assert (done.exit_code, done.stdout) == (0, "dead: it waits for a worker again\n")
    assert json.loads((await cli("jobs retry", "--json", "dead")).stdout) == {"dead": "missing"}
    done = await cli("jobs retry", "good")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "only jobs that have failed for good" in done.stderr


@pytest.mark.parametrize(
    ("heeds", "warned"), [pytest.param(True, False, id="workers that heed"), pytest.param(False, True, id="others")]
)
@pytest.mark.usefixtures("some")
async def test_a_cancellation_that_no_worker_heeds_is_told(cli: Cli, redis: Redis, heeds: bool, warned: bool) -> None:
    await heartbeat.write(redis, QUEUE, Heartbeat("pod-1", 0, 1, 10, cancels=heeds))
    done = await cli("jobs cancel", "waits")
    assert done.exit_code == 0
    assert ("allow_abort_jobs = True" in done.stderr) is warned


@pytest.mark.usefixtures("some")
async def test_queues_are_told_in_a_line_each(cli: Cli, redis: Redis) -> None:
    await heartbeat.write(redis, QUEUE, Heartbeat("pod-1", 0, 3, 10))
    done = await cli("queues", QUEUE, "other")
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert head[:4] == ["QUEUE", "WAITING", "RUNNING", "DEFERRED"]
    assert [row[:4] for row in rows] == [["mail", "1", "1", "1"], ["other", "0", "0", "0"]]
    assert rows[0][5:] == ["1", "3", "10", "1"]
    (told,) = json.loads((await cli("queues", "--json")).stdout)
    assert (told["queue"], told["waiting"], told["slots"], told["dead_letters"]) == ("mail", 1, 10, 1)


async def test_a_queue_of_another_type_is_told(cli: Cli, redis: Redis) -> None:
    await redis.set(QUEUE, "text")
    done = await cli("queues")
    assert done.exit_code == 1
    assert "queue 'mail' cannot be read" in done.stderr


async def test_workers_are_told_in_a_line_each(cli: Cli, redis: Redis) -> None:
    assert (await cli("workers")).stderr == "no worker of ours lives in mail\n"
    finished = {"succeeded": 7, "failed": 1}
    for beat in (
        Heartbeat("pod-2", 0, 0, 10),
        Heartbeat("pod-1", 0, 3, 10, started=11, finished=finished, run_seconds=4.0, functions=("send",), cancels=True),
        Heartbeat("pod-3", 0, 1, 10, draining=True),
    ):
        await heartbeat.write(redis, QUEUE, beat)
    await redis.hset(keys.heartbeats(QUEUE), "long-gone", b"1000 {}")  # type: ignore[misc]
    done = await cli("workers")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["WORKER", "STATE", "BUSY", "SLOTS", "STARTED", "SUCCEEDED", "FAILED", "RETRIED", "MEAN", "RUN"],
        ["pod-1", "working", "3", "10", "11", "7", "1", "0", "0.5s"],
        ["pod-2", "idle", "0", "10", "0", "0", "0", "0"],
        ["pod-3", "draining", "1", "10", "0", "0", "0", "0"],
    ]
    told = json.loads((await cli("workers", "--json")).stdout)
    assert [(worker["worker"], worker["heeds_cancels"]) for worker in told] == [
        ("pod-1", True),
        ("pod-2", False),
        ("pod-3", False),
    ]
    assert told[0]["functions"] == ["send"]


@pytest.mark.parametrize("command", [["jobs", "list"], ["queues"], ["workers"]])
async def test_a_queue_is_named_in_one_way_and_must_be_reached(invoke: Cli, command: list[str]) -> None:
    done = await invoke(*command)
    assert done.exit_code == 2
    assert "Name the queue: --taskqueue NAME, or --redis URL" in done.stderr
    done = await invoke(*command, "--redis", f"redis://:secretpw@127.0.0.1:{free_port()}")
    assert done.exit_code == 1
    assert "cannot be reached from here" in done.stderr
    assert "secretpw" not in done.output


@pytest.mark.parametrize("arguments", [["jobs cancel"], ["jobs retry"], ["jobs show"], ["jobs list", "--state", "odd"]])
async def test_wrong_use_is_told(cli: Cli, arguments: list[str]) -> None:
    done = await cli(*arguments)
    assert done.exit_code == 2


RUNS = JobTry(2, "pod-1", NOW_MS - 12_000)
OVER = JobTry(1, "pod-1", NOW_MS - 30_000, NOW_MS - 29_500, "retried", "OSError: no answer")


@pytest.mark.parametrize(
    ("job", "words"),
    [
        pytest.param(JobRecord("a", JobState.WAITING, due_ms=NOW_MS - 3000), "waits for a worker for 3s", id="waiting"),
        pytest.param(JobRecord("a", JobState.DEFERRED, due_ms=NOW_MS + 600_000), "is due in 10m", id="deferred"),
        pytest.param(
            JobRecord("a", JobState.DEFERRED, due_ms=NOW_MS + 9000, tries=(OVER,), tried=1),
            "is due in 9s after 1 try",
            id="to be tried again",
        ),
        pytest.param(
            JobRecord("a", JobState.RUNNING, tries=(OVER, RUNS), tried=2), "runs on pod-1 for 12s", id="running"
        ),
        pytest.param(
            JobRecord("a", JobState.RUNNING, tries=(OVER,), tried=2),
            "runs on a worker that records nothing, as plain arq's do",
            id="running elsewhere",
        ),
        pytest.param(
            JobRecord("a", JobState.RUNNING, tries=(RUNS,), tried=2, cancelling=True),
            "runs on pod-1 for 12s; somebody has asked to cancel it",
            id="to be cancelled",
        ),
        pytest.param(
            JobRecord("a", JobState.FAILED, outcome="expired", tried=3),
            "has failed for good (expired) after 3 tries",
            id="failed",
        ),
        pytest.param(
            JobRecord("a", JobState.FAILED, outcome="failed", tried=1, dead_letter=True),
            "has failed for good (failed) after 1 try: arqube dlq show tells more, arqube jobs retry runs it again",
            id="dead",
        ),
        pytest.param(
            JobRecord("a", JobState.CANCELLED, outcome="aborted"), "was cancelled before it started", id="cancelled"
        ),
        pytest.param(
            JobRecord("a", JobState.ENDED), "has ended on a plain arq worker: only its result tells how", id="ended"
        ),
    ],
)
def test_the_state_in_words(job: JobRecord, words: str) -> None:
    assert jobs_output.words(job, NOW_MS) == words


def test_json_and_table_take_whatever_a_record_may_hold() -> None:
    job: Any = JobRecord("a\n", JobState.FAILED, error="\x1b[2J\u202e", outcome="failed", tries=(OVER, RUNS))
    assert "\x1b" not in jobs_output.table([job], NOW_MS) + jobs_output.details(job, NOW_MS)
    assert json.loads(json.dumps(jobs_output.document(job)))["error"] == "\x1b[2J\u202e"
