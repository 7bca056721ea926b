"""What others write among a queue's heartbeats and marks: workers and operator go on as if it were not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from arqube_queue import heartbeat, history, keys, turns
from arqube_queue.answers import now_ms
from arqube_queue.model import Heartbeat, QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from builders.jobs import DEATH, QUEUE, take, worker

DAY_MS = 86_400_000
OURS = {"busy": 1, "slots": 10, "started": 5, "finished": {"succeeded": 4}, "run_seconds": 2.5, "functions": ["other"]}


def written(**values: Any) -> Callable[[int], bytes]:
    """A heartbeat of now; ``at`` is how much later."""
    later = values.pop("at", 0)
    return lambda now: f"{now + later} {json.dumps({**OURS, **values})}".encode()


READ: dict[str, Callable[[int], bytes]] = {
    "one of this version": written(),
    "one of an older version": lambda now: f'{now} {{"busy":1,"slots":10}}'.encode(),
    "one that says nothing": lambda now: f"{now} {{}}".encode(),
    "one of a newer version": written(mood="fine", pods={"a": [1, {"b": None}]}, v=99),
    "a large count": written(started=2**53),
    "a thousand functions": written(functions=[f"app.tasks.do_{number}" for number in range(1000)]),
}
"""Heartbeats of workers that count."""

DROPPED: dict[str, Callable[[int], bytes]] = {
    "one of yesterday": written(at=-DAY_MS),
    "one of tomorrow": written(at=DAY_MS),
    "one of the end of time": lambda _now: b"9" * 300 + b" {}",
    "two megabytes": written(functions=["x" * 2_000_000]),
    "no time": lambda _now: b"soon {}",
    "null as its functions": written(functions=None),
    "a number as its functions": written(functions=7),
    "a table as its functions": written(functions={"1": {"2": 3}}, finished=[]),
    "a count below 0": written(busy=-5),
    "a count beyond all memory": written(slots=10**300),
    "a time that is no number": written(run_seconds=float("nan")),
    "lists without end": lambda now: f"{now} ".encode() + b"[" * 100_000,
    "bytes": lambda now: f"{now} ".encode() + bytes(range(256)),
    "half of one": lambda now: written()(now)[:40],
}
"""What is none, or no longer one."""


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in READ.items()])
async def test_heartbeats_of_other_versions_are_read(redis: Redis, value: Callable[[int], bytes]) -> None:
    await redis.hset(keys.heartbeats(QUEUE), "other", value(await now_ms(redis)))  # type: ignore[misc]
    (snapshot,) = await read_snapshots(redis, [SnapshotQuery(QUEUE)])
    assert isinstance(snapshot, QueueSnapshot)
    assert [beat.worker for beat in snapshot.heartbeats] == ["other"]
    assert await heartbeat.read(redis, QUEUE) == list(snapshot.heartbeats)


@pytest.mark.parametrize("value", [pytest.param(value, id=name) for name, value in DROPPED.items()])
async def test_what_is_no_heartbeat_counts_for_nothing_and_holds_up_nothing(
    redis: Redis, value: Callable[[int], bytes]
) -> None:
    await redis.hset(keys.heartbeats(QUEUE), mapping={"odd": value(await now_ms(redis))})  # type: ignore[misc]
    await heartbeat.write(redis, QUEUE, Heartbeat(worker="us", at_ms=0, busy=1, slots=2, functions=("bill",)))
    await redis.set(keys.JOB_PREFIX + "a", b"payload")
    await redis.zadd(QUEUE, {"a": 1000, "b": 1000})

    us = worker(redis, unknown_function_grace_s=0)
    one, two = (await take(redis, us, limit=2)).leases
    unknown = turns.put_back(one, b"result", DEATH)  # looks through the heartbeats for its function
    turn = await take(redis, us, unknown, turns.finish(two, b"result"))
    assert turn.ended == [True, True]
    assert await redis.hget(keys.dead_letter(QUEUE, "a"), "payload") == b"payload"  # type: ignore[misc]

    (snapshot,) = await read_snapshots(redis, [SnapshotQuery(QUEUE)])
    assert isinstance(snapshot, QueueSnapshot)
    assert [beat.worker for beat in snapshot.heartbeats] == ["us"]
    assert [beat.worker for beat in await heartbeat.read(redis, QUEUE)] == ["us"]


@pytest.mark.parametrize(
    "mark",
    [
        pytest.param(b"99999999999999 nobody", id="without end"),
        pytest.param(b"9" * 400, id="of four hundred digits"),
        pytest.param(b"soon us", id="without a time"),
        pytest.param(b"", id="empty"),
        pytest.param(b"\xff", id="of bytes"),
    ],
)
async def test_a_mark_that_no_operator_sets_retires_nobody_and_goes(redis: Redis, mark: bytes) -> None:
    await redis.hset(keys.retiring(QUEUE), "us", mark)  # type: ignore[misc]
    assert not await heartbeat.write(redis, QUEUE, Heartbeat(worker="us", at_ms=0, busy=0, slots=2))
    await read_snapshots(redis, [SnapshotQuery(QUEUE, owner="uid")])
    assert not await redis.exists(keys.retiring(QUEUE))


async def test_samples_of_another_type_or_content_are_passed_over(redis: Redis) -> None:
    name = keys.history(QUEUE, "uid")
    await redis.set(name, "x")
    assert await history.read(redis, QUEUE, "uid") == []
    await redis.delete(name)
    good = b"1800000000000 1 2 3 400 5 6"
    odd = (b"\xff", b"1 2", b"9" * 5000, b"-1 " * 7, b"1 " * 6 + b"9" * 30, b"")
    await redis.rpush(name, *[good] * 500, *odd)  # type: ignore[misc]
    assert len(await history.read(redis, QUEUE, "uid")) == history.SAMPLES - len(odd)


@pytest.mark.parametrize("kind", ["text", "list", "set", "stream", "hash"])
async def test_a_queue_that_is_none_is_told_and_the_others_are_read(redis: Redis, kind: str) -> None:
    command = {"text": ["SET", QUEUE, "x"], "list": ["RPUSH", QUEUE, "x"], "set": ["SADD", QUEUE, "x"]}
    command |= {"stream": ["XADD", QUEUE, "*", "x", "y"], "hash": ["HSET", QUEUE, "x", "y"]}
    await redis.execute_command(*command[kind])
    await redis.zadd("reports", {"a": 1000})
    bad, good = await read_snapshots(redis, [SnapshotQuery(QUEUE), SnapshotQuery("reports")])
    assert "WRONGTYPE" in str(bad)
    assert isinstance(good, QueueSnapshot)
    assert good.waiting == 1
