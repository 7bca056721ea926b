"""Dead letters in a real Redis: read in pages, put back whole or not at all, forgotten as asked."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.jobs import Job, JobStatus, serialize_job
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import dead_letters, keys
from arqube_queue.dead_letters import ALL, Cursor, DeadLetter, Filter, Outcome

QUEUE = "mail"
DIED_MS = 1_700_000_000_000
PAYLOAD = serialize_job("send", ("a",), {}, None, 1_600_000_000_000)


async def bury(redis: Redis, job_id: str = "job-1", *, died_ms: int = DIED_MS, **fields: Any) -> None:
    """Write a dead letter as a worker does."""
    letter = {
        "payload": PAYLOAD,
        "reason": "failed",
        "function": "send",
        "error": "ValueError: no such mail",
        "traceback": "Traceback ...",
        "tries": 5,
        "enqueued_ms": 1_600_000_000_000,
        "died_ms": died_ms,
        "worker": "pod-1",
    }
    await redis.hset(keys.dead_letter(QUEUE, job_id), mapping={**letter, **fields})  # type: ignore[misc]
    await redis.zadd(keys.dead_letters(QUEUE), {job_id: died_ms})


async def ids(redis: Redis, chosen: Filter = ALL, *, newest_first: bool = True) -> list[str]:
    pages = dead_letters.read_pages(redis, QUEUE, chosen, newest_first=newest_first)
    return [letter.job_id async for page in pages for letter in page.letters]


async def everything(redis: Redis) -> set[bytes]:
    return set(await redis.keys())


@pytest_asyncio.fixture
async def arq_client(redis: Redis, redis_server: RedisServer) -> AsyncIterator[ArqRedis]:
    """A plain arq client of the same database."""
    address = redis_server.address
    client = await create_pool(RedisSettings(host=address.host, port=address.port))
    yield client
    await client.aclose(close_connection_pool=True)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dead_letters, "PAGE", 3)


async def test_a_letter_tells_what_the_worker_wrote(redis: Redis) -> None:
    await bury(redis)

    remains = await dead_letters.read(redis, QUEUE, "job-1")

    assert remains is not None
    assert remains.letter == DeadLetter(
        job_id="job-1",
        died_ms=DIED_MS,
        reason="failed",
        function="send",
        error="ValueError: no such mail",
        tries=5,
        enqueued_ms=1_600_000_000_000,
        worker="pod-1",
        payload_bytes=len(PAYLOAD),
    )
    assert (remains.traceback, remains.payload) == ("Traceback ...", PAYLOAD)
    assert (await dead_letters.read_page(redis, QUEUE)).letters == (remains.letter,)


async def test_there_is_no_letter_of_another_id_or_queue(redis: Redis) -> None:
    await bury(redis)
    assert await dead_letters.read(redis, QUEUE, "job-2") is None
    assert await dead_letters.read(redis, "other", "job-1") is None
    assert await dead_letters.count(redis, "other") == 0


@pytest.mark.parametrize(
    ("fields", "function", "enqueued_ms"),
    [
        pytest.param({"function": ""}, "send", 1_600_000_000_000, id="the payload tells the function"),
        pytest.param(
            {"function": "", "enqueued_ms": 0}, "send", 1_600_000_000_000, id="the payload tells when it was enqueued"
        ),
        pytest.param({"function": "", "payload": b"?", "enqueued_ms": 0}, None, None, id="nobody knows"),
        pytest.param({"function": "", "payload": "", "enqueued_ms": 0}, None, None, id="the payload had expired"),
        pytest.param(
            {"function": "", "payload": serialize_job("big", ("x" * 5000,), {}, None, 1), "enqueued_ms": 0},
            "big",
            None,
            id="the beginning of a long payload tells the function",
        ),
    ],
)
async def test_the_function_is_read_without_loading_the_payload(
    redis: Redis, fields: dict[str, Any], function: str | None, enqueued_ms: int | None
) -> None:
    await bury(redis, **fields)
    (letter,) = (await dead_letters.read_page(redis, QUEUE)).letters
    assert (letter.function, letter.enqueued_ms) == (function, enqueued_ms)


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("the payload was loaded",)


async def test_no_call_loads_a_payload(redis: Redis) -> None:
    payload = pickle.dumps({"t": None, "f": "send", "a": (Bomb(),), "k": {}, "et": 1})
    await bury(redis, payload=payload, function="")

    assert await ids(redis) == ["job-1"]
    remains = await dead_letters.read(redis, QUEUE, "job-1")
    assert remains is not None
    assert remains.letter.function == "send"
    await dead_letters.retry(redis, QUEUE, ["job-1"])
    assert await redis.get(keys.JOB_PREFIX + "job-1") == payload


async def test_fields_that_are_no_text_or_number_do_not_stop_the_others(redis: Redis) -> None:
    await bury(redis, "odd", error=b"\xff\xfe", tries="many", enqueued_ms="soon")
    await bury(redis, "even")
    await redis.zadd(keys.dead_letters(QUEUE), {"aged out": DIED_MS})

    page = await dead_letters.read_page(redis, QUEUE)

    assert {letter.job_id: letter.tries for letter in page.letters} == {"odd": 0, "even": 5}
    assert page.seen == 3


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
async def test_pages_come_in_the_order_of_deaths(redis: Redis, newest_first: bool) -> None:
    for index in range(10):
        await bury(redis, f"job-{index}", died_ms=DIED_MS + index // 2)

    found = await ids(redis, newest_first=newest_first)

    assert found == sorted(found, reverse=newest_first)
    assert len(found) == 10


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("step_ms", [0, 1], ids=["that died at once", "that died one after the other"])
async def test_each_page_may_be_taken_away_before_the_next(redis: Redis, newest_first: bool, step_ms: int) -> None:
    for index in range(20):
        await bury(redis, f"job-{index:02}", died_ms=DIED_MS + step_ms * index, function="abc"[index % 3])

    found = []
    async for page in dead_letters.read_pages(redis, QUEUE, Filter(function="b"), newest_first=newest_first):
        found += [letter.job_id for letter in page.letters]
        await dead_letters.purge(redis, QUEUE, [letter.job_id for letter in page.letters])

    assert sorted(found) == [f"job-{index:02}" for index in range(1, 20, 3)]
    assert await dead_letters.count(redis, QUEUE) == 20 - len(found)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("newest_first", [True, False], ids=["newest first", "oldest first"])
@pytest.mark.parametrize("step_ms", [0, 1], ids=["that died at once", "that died one after the other"])
async def test_none_is_told_twice_when_the_last_of_a_later_page_goes(
    redis: Redis, newest_first: bool, step_ms: int
) -> None:
    names = [f"job-{index:02}" for index in range(20)]
    for index, name in enumerate(names):
        await bury(redis, name, died_ms=DIED_MS + step_ms * index)

    found: list[str] = []
    async for page in dead_letters.read_pages(redis, QUEUE, newest_first=newest_first):
        found += [letter.job_id for letter in page.letters]
        if page.cursor is not None and len(found) > dead_letters.PAGE:
            await dead_letters.purge(redis, QUEUE, [page.cursor.job_id])

    assert sorted(found) == names


@pytest.mark.usefixtures("small_pages")
async def test_letters_that_come_and_go_do_not_shift_the_others(redis: Redis) -> None:
    for index in range(9):
        await bury(redis, f"job-{index}", died_ms=DIED_MS + index)

    found: list[str] = []
    async for page in dead_letters.read_pages(redis, QUEUE, newest_first=True):
        found += [letter.job_id for letter in page.letters]
        await bury(redis, f"new-{len(found)}", died_ms=DIED_MS + 100 + len(found))
        await dead_letters.purge(redis, QUEUE, ["job-0"])

    assert found == [f"job-{index}" for index in range(8, 0, -1)]


TIMES = st.integers(DIED_MS, DIED_MS + 6)


@given(
    deaths=st.lists(
        st.tuples(TIMES, st.sampled_from(["send", "bill", ""]), st.sampled_from(["failed", "timeout"])), max_size=12
    ),
    chosen=st.builds(
        Filter,
        function=st.sampled_from([None, "send", "bill"]),
        reason=st.sampled_from([None, "failed", "timeout"]),
        error=st.sampled_from([None, "MAIL", "other"]),
        since_ms=st.just(0) | TIMES,
        until_ms=st.just(dead_letters.END_OF_TIME_MS) | TIMES,
    ),
    newest_first=st.booleans(),
)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@pytest.mark.usefixtures("small_pages")
async def test_a_filter_finds_what_it_says(
    redis: Redis, deaths: list[tuple[int, str, str]], chosen: Filter, newest_first: bool
) -> None:
    await redis.flushall()
    for index, (died_ms, function, reason) in enumerate(deaths):
        await bury(redis, f"job-{index:02}", died_ms=died_ms, function=function, reason=reason)
    expected = [
        f"job-{index:02}"
        for index, (died_ms, function, reason) in enumerate(deaths)
        if chosen.since_ms <= died_ms <= chosen.until_ms
        and chosen.function in (None, function or "send")
        and chosen.reason in (None, reason)
        and chosen.error in (None, "MAIL")
    ]
    found = await ids(redis, chosen, newest_first=newest_first)
    assert sorted(found) == expected
    assert [deaths[int(job_id[4:])][0] for job_id in found] == sorted(
        (deaths[int(job_id[4:])][0] for job_id in expected), reverse=newest_first
    )
    within = [death for death in deaths if chosen.since_ms <= death[0] <= chosen.until_ms]
    counted = await dead_letters.count(redis, QUEUE, since_ms=chosen.since_ms, until_ms=chosen.until_ms)
    assert counted == len(within)


async def test_a_page_goes_on_after_its_cursor(redis: Redis) -> None:
    for index in range(5):
        await bury(redis, f"job-{index}", died_ms=DIED_MS + index)

    first = await dead_letters.read_page(redis, QUEUE, limit=2)
    second = await dead_letters.read_page(redis, QUEUE, limit=9, after=first.cursor)

    assert first.cursor == Cursor(DIED_MS + 3, "job-3")
    assert [letter.job_id for letter in second.letters] == ["job-2", "job-1", "job-0"]
    assert second.cursor is None


async def test_a_retried_job_is_queued_as_if_new(redis: Redis, arq_client: ArqRedis) -> None:
    await bury(redis)
    await redis.set(keys.RESULT_PREFIX + "job-1", pickle.dumps("the old failure"))
    await redis.set(keys.RETRY_PREFIX + "job-1", 5)
    await redis.zadd(keys.ABORT, {"job-1": DIED_MS})

    assert await dead_letters.retry(redis, QUEUE, ["job-1"]) == {"job-1": Outcome.RETRIED}

    assert await everything(redis) == {QUEUE.encode(), b"arq:job:job-1"}
    seconds, _ = await redis.time()
    assert await redis.zscore(QUEUE, "job-1") == pytest.approx(seconds * 1000, abs=5000)
    assert await redis.pttl("arq:job:job-1") == pytest.approx(86_400_000, abs=5000)
    job = Job("job-1", arq_client, QUEUE)
    assert await job.status() is JobStatus.queued
    info = await job.info()
    assert info is not None
    assert (info.function, info.args) == ("send", ("a",))


@pytest.mark.parametrize(
    ("prepare", "outcome"),
    [
        pytest.param(("zrem", keys.dead_letters(QUEUE), "job-1"), Outcome.MISSING, id="there is none"),
        pytest.param(("hset", keys.dead_letter(QUEUE, "job-1"), "payload", ""), Outcome.WITHOUT_PAYLOAD, id="expired"),
        pytest.param(("delete", keys.dead_letter(QUEUE, "job-1")), Outcome.WITHOUT_PAYLOAD, id="aged out"),
        pytest.param(("set", "arq:job:job-1", "another"), Outcome.QUEUED, id="a job of the same id is queued"),
        pytest.param(("zadd", QUEUE, {"job-1": 1}), Outcome.QUEUED, id="a member without payload is queued"),
    ],
)
async def test_what_cannot_be_retried_is_left_as_it_is(
    redis: Redis, prepare: tuple[Any, ...], outcome: Outcome
) -> None:
    await bury(redis)
    await redis.set(keys.RESULT_PREFIX + "job-1", "kept")
    await getattr(redis, prepare[0])(*prepare[1:])
    before = {key: await redis.dump(key) for key in await everything(redis)}

    assert await dead_letters.retry(redis, QUEUE, ["job-1"], dry_run=True) == {"job-1": outcome}
    assert await dead_letters.retry(redis, QUEUE, ["job-1"]) == {"job-1": outcome}

    assert {key: await redis.dump(key) for key in await everything(redis)} == before


async def test_a_job_that_died_again_meanwhile_is_not_retried_again(redis: Redis) -> None:
    await bury(redis, died_ms=DIED_MS + 1)
    assert await dead_letters.retry(redis, QUEUE, ["job-1"], until_ms=DIED_MS) == {"job-1": Outcome.MISSING}
    assert await dead_letters.purge(redis, QUEUE, ["job-1"], until_ms=DIED_MS) == 0
    assert await ids(redis) == ["job-1"]


@pytest.mark.usefixtures("small_pages")
async def test_batches_are_retried_in_calls_of_a_page(redis: Redis) -> None:
    names = [f"job-{index}" for index in range(10)]
    for name in names:
        await bury(redis, name)
    outcomes = await dead_letters.retry(redis, QUEUE, [*names, "none"])
    assert outcomes == {**dict.fromkeys(names, Outcome.RETRIED), "none": Outcome.MISSING}
    assert await redis.zcard(QUEUE) == 10


@pytest.mark.usefixtures("small_pages")
async def test_purging_forgets_letters_with_their_hashes(redis: Redis) -> None:
    names = [f"job-{index}" for index in range(10)]
    for index, name in enumerate(names):
        await bury(redis, name, died_ms=DIED_MS + index)

    assert await dead_letters.purge(redis, QUEUE, [*names[:4], "none"]) == 4
    assert await ids(redis, newest_first=False) == names[4:]
    assert await dead_letters.purge_oldest(redis, QUEUE, until_ms=DIED_MS + 5) == 2
    assert await dead_letters.purge_oldest(redis, QUEUE, until_ms=DIED_MS + 5) == 0
    assert [await dead_letters.purge_oldest(redis, QUEUE) for _ in range(3)] == [3, 1, 0]
    assert await everything(redis) == set()


async def test_the_keyspace_is_never_scanned_and_no_call_reads_it_all(redis: Redis) -> None:
    for index in range(450):
        await bury(redis, f"job-{index}", died_ms=DIED_MS + index)
    await redis.config_resetstat()

    assert len(await ids(redis, Filter(function="none"))) == 0
    assert len(await ids(redis)) == 450

    reading = {"evalsha", "eval", "zcount", "zrange", "zrevrange", "zrank", "zrevrank", "zscore", "hmget", "hstrlen"}
    used = {name.removeprefix("cmdstat_") for name in await redis.info("commandstats")}
    assert used <= reading | {"config", "config|resetstat", "info"}  # Redis 6 tells of no subcommands
