"""Keys of a queue that hold what they should not: workers go on beside it, and readers read all else."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis.asyncio import Redis

from arqube_local.cli import main
from arqube_local.redis_server import RedisServer
from arqube_queue import dead_letters, keys
from arqube_queue.model import QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from builders.hostile import BAD, QUEUE, job, letter, plant, plant_good
from builders.worker_process import WorkerProcess

Plant = Callable[[Redis], Awaitable[Any]]
PAYLOAD = pickle.dumps(job("note", "bad"))
PAST_MS = 1_700_000_000_000
FAR_MS = 10**15


async def at_once(redis: Redis, write: Plant) -> list[Any]:
    """Write in one step, as a worker is waiting for it; the answers."""
    async with redis.pipeline(transaction=True) as pipe:
        await write(pipe)
        pipe.dump(keys.JOB_PREFIX + BAD)
        return await pipe.execute()


def queued(score: Any = PAST_MS, *, payload: bytes = PAYLOAD, job_id: bytes = b"bad") -> Plant:
    """A job of a due time that nobody sets."""

    async def write(redis: Redis) -> None:
        await redis.set(keys.JOB_PREFIX.encode() + job_id, payload)
        await redis.zadd(QUEUE, {job_id: score})

    return write


def beside(key: str, kind: str, *, value: Any = b"x", score: Any = PAST_MS) -> Plant:
    """A due job, and a key that holds something else than it should."""

    async def write(redis: Redis) -> None:
        await holding(key, kind, value=value)(redis)
        await redis.zadd(QUEUE, {BAD: score})
        await redis.set(keys.JOB_PREFIX + BAD, PAYLOAD, nx=True)

    return write


def holding(key: str, kind: str, *, value: Any = b"x") -> Plant:
    """A key that holds something else than it should."""

    async def write(redis: Redis) -> None:
        match kind:
            case "text":
                await redis.set(key, value)
            case "list":
                await redis.rpush(key, value)  # type: ignore[misc]
            case "set":
                await redis.sadd(key, value)  # type: ignore[misc]
            case "hash":
                await redis.hset(key, mapping=value if isinstance(value, dict) else {"x": value})  # type: ignore[misc]
            case "sorted set":
                await redis.zadd(key, value if isinstance(value, dict) else {value: 1})
            case "stream":
                await redis.xadd(key, {"x": value})

    return write


HEARTBEATS = keys.heartbeats(QUEUE)
DEAD = keys.dead_letters(QUEUE)
OPEN, RECORDS, ENDS = keys.open_jobs(QUEUE), keys.job_records(QUEUE), keys.job_ends(QUEUE)

RUNS: dict[str, Plant] = {
    "a due time of minus infinity": queued("-inf"),
    "a due time before all times": queued(-1e308),
    "a due time of 0": queued(0),
    "a due time between two milliseconds": queued(PAST_MS + 0.5),
    "a count of tries that is a word": beside(keys.RETRY_PREFIX + BAD, "text", value="many"),
    "a count of tries that is empty": beside(keys.RETRY_PREFIX + BAD, "text", value=""),
    "a count of tries that is a list": beside(keys.RETRY_PREFIX + BAD, "list"),
    "a count of tries that is the largest": beside(keys.RETRY_PREFIX + BAD, "text", value=str(2**63 - 1)),
    "a count of tries below 0": beside(keys.RETRY_PREFIX + BAD, "text", value="-7"),
    "a lease that is a list": beside(keys.IN_PROGRESS_PREFIX + BAD, "list"),
    "a result that is a list": beside(keys.RESULT_PREFIX + BAD, "list"),
    "former tries that are no text of ours": beside(OPEN, "hash", value={BAD: b"\xff\n[]\n[1e999]\n" + b"[" * 9000}),
    "former tries that are a list": beside(OPEN, "list"),
    "records of jobs that are a text": beside(RECORDS, "text"),
    "ends of jobs that are a text": beside(ENDS, "text"),
    "requests to abort that are a text": beside(keys.ABORT, "text"),
    "first sightings that are a list": beside(keys.unknown_functions(QUEUE), "list"),
}
"""What is odd around a job that is one, which runs."""

BURIED: dict[str, tuple[Plant, str, bytes]] = {
    "a list in place of a payload": (beside(keys.JOB_PREFIX + BAD, "list"), BAD, b"undecodable"),
    "a hash in place of a payload": (beside(keys.JOB_PREFIX + BAD, "hash"), BAD, b"undecodable"),
    "a sorted set in place of a payload": (beside(keys.JOB_PREFIX + BAD, "sorted set"), BAD, b"undecodable"),
    "a stream in place of a payload": (beside(keys.JOB_PREFIX + BAD, "stream"), BAD, b"undecodable"),
    "an id that is no Unicode": (queued(job_id=b"\xff\xfe"), "\\xff\\xfe", b"undecodable"),
    "an id of every byte": (queued(job_id=bytes(range(256))), bytes(range(256)).decode(errors="backslashreplace"), b""),
    "more tries than any job has": (beside(keys.RETRY_PREFIX + BAD, "text", value="1000000"), BAD, b"tries_exhausted"),
    "a member without a payload": (lambda redis: redis.zadd(QUEUE, {BAD: PAST_MS}), BAD, b"expired"),
}
"""What cannot run, the id of its dead letter, and the reason."""

NAMES = {
    "an empty id": "",
    "an id of a megabyte": "x" * 1_000_000,
    "an id of two lines": "two\nlines",
    "an id with colons": "arq:job::bad:",
    "an id in braces": "{bad}",
    "an id that commands terminals": "\x1b[2J\x00\r",
    "an id in Chinese": "\u4e2d\u6587",
    "an id with a slash and dots": "../../bad",
    "an id that is markup": "<script>alert(1)</script>",
}
"""Ids that are texts; jobs run under any."""

BESIDE: dict[str, Plant] = {
    "a payload that is queued nowhere": lambda redis: redis.set(keys.JOB_PREFIX + "stray", PAYLOAD),
    "a lease without a job": lambda redis: redis.set(keys.IN_PROGRESS_PREFIX + "stray", "x"),
    "a due time of infinity": queued("+inf"),
    "a due time beyond all times": queued(1e308),
    "a due time in the year 30,000": queued(FAR_MS),
    "a member of another queue with the same id": lambda redis: redis.zadd("other", {"good": PAST_MS}),
    "dead letters whose index is a text": holding(DEAD, "text"),
    "dead letters whose index is a list": holding(DEAD, "list"),
    "a dead letter without a hash": lambda redis: redis.zadd(DEAD, {"ghost": PAST_MS}),
    "a dead letter that is a list": lambda redis: asyncio.gather(
        redis.zadd(DEAD, {"ghost": PAST_MS}), redis.rpush(keys.dead_letter(QUEUE, "ghost"), "x")
    ),
    "a dead letter that died at infinity": lambda redis: asyncio.gather(
        redis.zadd(DEAD, {"ghost": "+inf"}), redis.hset(keys.dead_letter(QUEUE, "ghost"), mapping={"reason": "failed"})
    ),
    "a dead letter of garbage": lambda redis: asyncio.gather(
        redis.zadd(DEAD, {b"\xff": -1e308}),
        redis.hset(
            b"arqube:arq:queue:dead:\xff",
            mapping=dict.fromkeys(("reason", "error", "tries", "enqueued_ms", "payload"), b"\xff\x00\x1b[2J" * 99),
        ),
    ),
    "a record that is no text of ours": lambda redis: asyncio.gather(
        redis.hset(RECORDS, "ghost", b"\xff\n[null,1e999,7]\n[" + b"9" * 5000), redis.zadd(ENDS, {"ghost": PAST_MS})
    ),
    "a record of a time beyond all times": lambda redis: asyncio.gather(
        redis.hset(RECORDS, "ghost", b'["note",9e99,"succeeded"]\n[1,"w",%d,%d,"succeeded"]' % (10**40, 10**50)),
        redis.zadd(ENDS, {"ghost": 1e300}),
    ),
    "a record that ended at infinity": lambda redis: asyncio.gather(
        redis.hset(RECORDS, "ghost", b'["note",1,"succeeded"]'), redis.zadd(ENDS, {"ghost": "+inf"})
    ),
    "a record of an id that is no Unicode": lambda redis: asyncio.gather(
        redis.hset(RECORDS, b"\xff", b'["note",1,"succeeded"]'), redis.zadd(ENDS, {b"\xff": PAST_MS})
    ),
    "a record of a million lines": lambda redis: asyncio.gather(
        redis.hset(RECORDS, "ghost", b"[1]\n" * 1_000_000), redis.zadd(ENDS, {"ghost": PAST_MS})
    ),
    "records that are a stream": holding(RECORDS, "stream"),
    "ends that are a hash": holding(ENDS, "hash"),
    "open tries that are a set": holding(OPEN, "set"),
    "requests to abort that are a hash": holding(keys.ABORT, "hash"),
    "a request to abort at infinity": lambda redis: redis.zadd(keys.ABORT, {"ghost": "+inf"}),
    "heartbeats that are a list": holding(HEARTBEATS, "list"),
    "marks of retirement that are a list": holding(keys.retiring(QUEUE), "list"),
    "a health key that is a list": holding(f"{QUEUE}:health-check", "list"),
    "tokens of an outbox that are a text": holding(keys.OUTBOX_MOVED, "text"),
}
"""Keys beside a good job, which runs."""


@pytest.fixture(scope="module")
def worker(start: Any) -> WorkerProcess:
    process: WorkerProcess = start("Pickles")
    return process


@pytest.fixture
def noted(hostile_redis: Redis, worker: WorkerProcess, eventually: Any) -> Callable[..., Awaitable[None]]:
    """Wait until jobs have noted themselves, each once, by the one process that there was."""

    async def wait(*names: bytes) -> None:
        async def all_noted() -> bool:
            assert worker.process.poll() is None, worker.text[-3000:]
            return await hostile_redis.llen("notes") >= len(names)  # type: ignore[misc]

        await eventually(all_noted, within_s=60)
        notes = [each.partition(b":")[0] for each in await hostile_redis.lrange("notes", 0, -1)]  # type: ignore[misc]
        assert sorted(notes) == sorted(names)

    return wait


@pytest.mark.parametrize("write", [pytest.param(value, id=name) for name, value in RUNS.items()])
async def test_a_job_runs_whatever_is_odd_around_it(
    hostile_redis: Redis, worker: WorkerProcess, noted: Any, write: Plant
) -> None:
    await at_once(hostile_redis, write)
    await plant_good(hostile_redis)
    await noted(b"bad", b"good")


@pytest.mark.parametrize(
    ("write", "job_id", "reason"), [pytest.param(*value, id=name) for name, value in BURIED.items()]
)
async def test_what_cannot_run_becomes_a_dead_letter(
    hostile_redis: Redis, worker: WorkerProcess, noted: Any, eventually: Any, write: Plant, job_id: str, reason: bytes
) -> None:
    *_, held = await at_once(hostile_redis, write)
    await plant_good(hostile_redis)
    kept = await eventually(lambda: letter(hostile_redis, job_id), within_s=60)
    assert kept["reason"] == (reason or b"undecodable")
    assert kept["payload"] in (PAYLOAD, held, b"" if reason == b"expired" else PAYLOAD), "nothing is lost"
    await noted(b"good")
    (told,) = (await dead_letters.read_page(hostile_redis, QUEUE)).letters
    assert told.job_id == job_id


async def test_a_job_whose_id_is_no_text_runs_when_it_is_retried(
    hostile_redis: Redis, worker: WorkerProcess, noted: Any, eventually: Any
) -> None:
    await at_once(hostile_redis, queued(job_id=b"\xff\xfe"))
    await eventually(lambda: letter(hostile_redis, "\\xff\\xfe"), within_s=60)
    assert any("no text" in line["event"] and line["job_id"] == "\\xff\\xfe" for line in worker.lines)

    await dead_letters.retry(hostile_redis, QUEUE, ["\\xff\\xfe"])
    await noted(b"bad")


@pytest.mark.parametrize("job_id", [pytest.param(value, id=name) for name, value in NAMES.items()])
async def test_a_job_runs_under_any_id_that_is_a_text(
    hostile_redis: Redis, worker: WorkerProcess, noted: Any, cli: Any, job_id: str
) -> None:
    await plant(hostile_redis, PAYLOAD, job_id)
    await plant_good(hostile_redis)
    await noted(b"bad", b"good")
    assert (await cli("jobs list")).exit_code == 0


@pytest.mark.parametrize("write", [pytest.param(value, id=name) for name, value in BESIDE.items()])
async def test_a_good_job_runs_beside_it(hostile_redis: Redis, worker: WorkerProcess, noted: Any, write: Plant) -> None:
    await at_once(hostile_redis, write)
    await plant_good(hostile_redis)
    await noted(b"good")


# -- readers --

READ = {**RUNS, **{name: case[0] for name, case in BURIED.items()}, **BESIDE}
COMMANDS = ("jobs list", "jobs show bad", "jobs show good", "dlq list", "dlq show ghost", "workers", "queues")
QUEUE_LOST = {"heartbeats that are a list", "dead letters whose index is a text", "dead letters whose index is a list"}
"""Where the operator must say that it cannot read this queue."""


@pytest.fixture
def cli(hostile_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Awaitable[Result]]:
    """Call ``arqube`` on the queue of the tests."""

    async def call(command: str, *arguments: str) -> Result:
        words = [*command.split(), "--redis", hostile_server.url, "--queue", QUEUE, *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, words)

    return call


@pytest.mark.parametrize(("name", "write"), [pytest.param(name, value, id=name) for name, value in READ.items()])
async def test_readers_read_all_else(other_server: RedisServer, other_cli: Any, name: str, write: Plant) -> None:
    async with other_server.address.connect() as redis:
        await redis.flushall()
        await at_once(redis, write)
        await plant_good(redis)
        await plant_good(redis, queue="reports")
        queries = [SnapshotQuery(QUEUE, owner="us", workers=(1, 1)), SnapshotQuery("reports")]
        bad, good = await read_snapshots(redis, queries)
        assert isinstance(good, QueueSnapshot), "other queues are read"
        assert good.waiting == 1
        assert isinstance(bad, QueueSnapshot) == (name not in QUEUE_LOST)
    for command in COMMANDS:
        done = await other_cli(command)
        told = done.output[-2000:]
        assert done.exception is None or isinstance(done.exception, SystemExit), f"{command}: {done.exc_info}"
        assert done.exit_code in (0, 1), f"{command}: {told}"
        assert "\x1b" not in done.output.replace("\\x1b", ""), f"{command}: {told}"
        if command == "jobs list":
            assert "good" in done.stdout, told


@pytest.fixture(scope="module")
def other_server() -> Any:
    """One without workers."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def other_cli(other_server: RedisServer) -> Callable[..., Awaitable[Result]]:
    """Call ``arqube`` on the queue of the tests there."""

    async def call(command: str) -> Result:
        words = [*command.split(), "--redis", other_server.url, "--queue", QUEUE]
        return await asyncio.to_thread(CliRunner().invoke, main, words)

    return call
