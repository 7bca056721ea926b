"""Payloads that no arq client writes: each becomes a dead letter that keeps its bytes, beside jobs that run."""

from __future__ import annotations

import json
import pickle
import zlib
from collections import Counter
from typing import Any

import msgpack
import pytest
from redis.asyncio import Redis

from arqube_queue import dead_letters, job_records
from arqube_queue.job_records import JobState
from arqube_worker.serializers import json_serializer
from builders.hostile import (
    BAD,
    EXIT,
    QUEUE,
    job,
    laughs,
    letter,
    nested,
    plant,
    plant_good,
    raises,
    reduced,
    with_persistent_id,
)
from builders.worker_process import WorkerProcess

GOOD_PICKLE = pickle.dumps(job("note", "bad"))
CELERY = json.dumps({"body": "W10=", "headers": {"task": "app.add", "id": "1"}, "content-type": "application/json"})

UNDECODABLE = {
    "nothing at all": b"",
    "the first half of a pickle": GOOD_PICKLE[: len(GOOD_PICKLE) // 2],
    "a pickle without its last byte": GOOD_PICKLE[:-1],
    "a protocol's number alone": b"\x80\x04",
    "a protocol that is not invented yet": b"\x80\x7f" + GOOD_PICKLE[2:],
    "zeros": bytes(1000),
    "every byte there is": bytes(range(256)),
    "a text": b"please run note",
    "a megabyte of opening marks": b"(" * 1_000_000,
    "a job in JSON": json.dumps(job("note", "bad")).encode(),
    "a job in MessagePack": msgpack.packb(job("note", "bad")),
    "a message of celery": CELERY.encode(),
    "a message of rq": zlib.compress(pickle.dumps(("app.add", None, (1, 2), {}))),
    "a text that gets from an empty memo": b"\x80\x04h\x07.",
    "a memo's place beyond all memory": b"\x80\x04]r\xff\xff\xff\xff.",
    "a bytes object that says it has 2 GB": b"\x80\x04B\xff\xff\xff\x7fx.",
    "a persistent id": with_persistent_id(),
    "a module that does not exist": b"\x80\x02cno_such_module\nThing\n.",
    "a class that does not exist": b"\x80\x02ctasks\nNoSuchTask\n.",
    "a class by an extension code": b"\x80\x02\x82\xf0.",
    "an object that raises ValueError when it is made": raises("ValueError('no')"),
    "an object that raises SystemExit when it is made": raises("SystemExit(3)"),
    "an object that raises KeyboardInterrupt when it is made": raises("KeyboardInterrupt"),
    "an object that raises CancelledError when it is made": raises("__import__('asyncio').CancelledError"),
    "an object that raises GeneratorExit when it is made": raises("GeneratorExit"),
    "an object that recurses for ever when it is made": reduced(exec, "def f(): f()\nf()"),
    "an object that takes more memory than there is": reduced(bytearray, 1 << 62),
    "an exception whose text raises": raises("type('E', (Exception,), {'__str__': lambda self: 1 / 0})()"),
    "a list in place of a dict": pickle.dumps([1, 2]),
    "a number in place of a dict": pickle.dumps(7),
    "no function": pickle.dumps(job(f=...)),
    "no time of enqueueing": pickle.dumps(job(et=...)),
    "None as the function": pickle.dumps(job(None)),
    "a list as the function": pickle.dumps(job(["note"])),
    "bytes as the function": pickle.dumps(job(b"note")),
    "a megabyte as the function": pickle.dumps(job("x" * 1_000_000)),
    "None as the arguments": pickle.dumps(job(a=None)),
    "a text as the arguments": pickle.dumps(job(a="bad")),
    "a list as the named arguments": pickle.dumps(job(k=["bad"])),
    "a number as the name of an argument": pickle.dumps(job(k={1: 2})),
    "a text as the try": pickle.dumps(job(t="first")),
    "infinity as the try": pickle.dumps(job(t=float("inf"))),
    "a text as the time of enqueueing": pickle.dumps(job(et="yesterday")),
    "None as the time of enqueueing": pickle.dumps(job(et=None)),
    "no number as the time of enqueueing": pickle.dumps(job(et=float("nan"))),
    "nanoseconds as the time of enqueueing": pickle.dumps(job(et=1_700_000_000_000_000_000)),
    "a time of enqueueing before the first year": pickle.dumps(job(et=-(10**15))),
}
"""By a sentence, payloads that a worker with pickles cannot take for a job."""

FOR_JSON = {
    "JSON that ends in the middle": b'{"f": "note", "a": [',
    "JSON that is nested without end": b"[" * 200_000,
    "JSON with a number of a hundred thousand digits": b'{"f": "note", "et": ' + b"9" * 100_000 + b"}",
    "JSON of a list": b"[1]",
    "JSON with infinity as the time": b'{"t": null, "f": "note", "a": [], "k": {}, "et": 1e999}',
    "JSON with a text as the arguments": b'{"t": null, "f": "note", "a": "bad", "k": {}, "et": 1}',
    "JSON with null as the named arguments": b'{"t": null, "f": "note", "a": ["bad"], "k": null, "et": 1}',
    "JSON with an object as the function": b'{"t": null, "f": {}, "a": ["bad"], "k": {}, "et": 1}',
    "bytes that are no Unicode": b'{"f": "\xff"}',
    "a pickle where JSON is asked for": GOOD_PICKLE,
}
FOR_MSGPACK = {
    "MessagePack that ends in the middle": msgpack.packb(job("note", "bad"))[:-3],
    "MessagePack that says it has 4 GB": b"\xc6\xff\xff\xff\xffx",
    "MessagePack that is nested without end": b"\x91" * 100_000,
    "MessagePack of a number": b"\x07",
    "MessagePack with more behind it": msgpack.packb(job("note", "bad")) + b"more",
    "MessagePack with a list as a key": b"\x81\x91\x01\x01",
    "MessagePack with a text that is no Unicode": b"\x81\xa1f\xa1\xff",
    "the byte that MessagePack never uses": b"\xc1",
}

RUNS = {
    **{f"protocol {number} of pickle": pickle.dumps(job("note", "bad"), protocol=number) for number in range(6)},
    "a pickle with more behind it": GOOD_PICKLE + b"more",
    "a dict of another class": pickle.dumps(Counter(job("note", "bad"))),
    "a first try that is negative": pickle.dumps(job("note", "bad", t=-5)),
    "a time of enqueueing with a fraction": pickle.dumps(job("note", "bad", et=1.5)),
    "fields that nobody knows": pickle.dumps(job("note", "bad", zz=1)),
}
"""What looks odd and is a job of the function ``note`` nevertheless."""


@pytest.fixture(scope="module")
def pickles(start: Any) -> WorkerProcess:
    worker: WorkerProcess = start("Pickles")
    return worker


@pytest.fixture(scope="module")
def jsons(start: Any) -> WorkerProcess:
    worker: WorkerProcess = start("Json")
    return worker


@pytest.fixture(scope="module")
def msgpacks(start: Any) -> WorkerProcess:
    worker: WorkerProcess = start("Msgpack")
    return worker


async def check_buried(
    redis: Redis,
    worker: WorkerProcess,
    payload: bytes,
    eventually: Any,
    *,
    dump: Any = pickle.dumps,
    queue: str = QUEUE,
) -> None:
    await plant(redis, payload, queue=queue)
    await plant_good(redis, dump, queue=queue)

    async def ended() -> bool:
        assert worker.process.poll() is None, worker.text[-3000:]
        return bool(await redis.llen("notes")) and await redis.zcard(queue) == 0  # type: ignore[misc]

    await eventually(ended, within_s=60)
    assert [each.rpartition(b":")[0] for each in await redis.lrange("notes", 0, -1)] == [b"good:1"]  # type: ignore[misc]
    kept = await letter(redis, queue=queue)
    assert kept["reason"] == b"undecodable"
    assert hash(kept["payload"]) == hash(payload), "as it was; a failure does not print 64 MB"
    assert kept["error"], "it says what is wrong"
    assert [each for each in worker.logged("job ended") if each["job_id"] == BAD][-1]["outcome"] == "undecodable"
    (told,) = (await dead_letters.read_page(redis, queue)).letters
    assert (told.job_id, told.payload_bytes) == (BAD, len(payload))
    record = await job_records.read_job(redis, queue, BAD)
    assert record is not None
    assert (record.state, record.dead_letter) == (JobState.FAILED, True)


@pytest.mark.parametrize("payload", [pytest.param(value, id=name) for name, value in UNDECODABLE.items()])
async def test_what_is_no_job_for_pickle_becomes_a_dead_letter(
    hostile_redis: Redis, pickles: WorkerProcess, eventually: Any, payload: bytes
) -> None:
    await check_buried(hostile_redis, pickles, payload, eventually)


@pytest.mark.parametrize("payload", [pytest.param(value, id=name) for name, value in RUNS.items()])
async def test_what_is_odd_and_still_a_job_runs(
    hostile_redis: Redis, pickles: WorkerProcess, eventually: Any, payload: bytes
) -> None:
    await plant(hostile_redis, payload)
    await plant_good(hostile_redis)
    await eventually(lambda: hostile_redis.llen("notes"), within_s=60)

    async def both() -> bool:
        return await hostile_redis.llen("notes") == 2  # type: ignore[misc]

    await eventually(both, within_s=60)
    assert pickles.process.poll() is None
    assert not await letter(hostile_redis)


@pytest.mark.parametrize("payload", [pytest.param(value, id=name) for name, value in FOR_JSON.items()])
async def test_what_is_no_job_for_json_becomes_a_dead_letter(
    hostile_redis: Redis, jsons: WorkerProcess, eventually: Any, payload: bytes
) -> None:
    await check_buried(hostile_redis, jsons, payload, eventually, dump=json_serializer, queue="json")


@pytest.mark.parametrize("payload", [pytest.param(value, id=name) for name, value in FOR_MSGPACK.items()])
async def test_what_is_no_job_for_messagepack_becomes_a_dead_letter(
    hostile_redis: Redis, msgpacks: WorkerProcess, eventually: Any, payload: bytes
) -> None:
    await check_buried(hostile_redis, msgpacks, payload, eventually, dump=msgpack.packb, queue="msgpack")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        pytest.param("x" * 500, b"unknown_function", id="a long name"),
        pytest.param("no such\nfunction", b"unknown_function", id="a name of two lines"),
        pytest.param("\x1b[2J\x00", b"unknown_function", id="a name that commands terminals"),
        pytest.param("\ud800", b"unknown_function", id="a name that is half a surrogate pair"),
        pytest.param("", b"unknown_function", id="a name of no letters"),
    ],
)
async def test_a_function_of_an_odd_name_is_unknown(
    hostile_redis: Redis, pickles: WorkerProcess, eventually: Any, name: str, reason: bytes
) -> None:
    await plant(hostile_redis, payload := pickle.dumps(job(name)))
    await plant_good(hostile_redis)

    kept = await eventually(lambda: letter(hostile_redis), within_s=60)
    assert (kept["reason"], kept["payload"]) == (reason, payload)
    await eventually(lambda: hostile_redis.llen("notes"), within_s=60)
    assert pickles.process.poll() is None


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(pickle.dumps(job("take", laughs(40))), id="ten to the power of forty laughs"),
        pytest.param(nested(100_000), id="a hundred thousand lists in each other"),
    ],
)
async def test_an_argument_that_is_endless_if_written_out_harms_nobody(
    hostile_redis: Redis, pickles: WorkerProcess, eventually: Any, payload: bytes
) -> None:
    await plant(hostile_redis, payload)
    await plant_good(hostile_redis)

    async def ended() -> bool:
        assert pickles.process.poll() is None, pickles.text[-3000:]
        return bool(await hostile_redis.llen("notes")) and await hostile_redis.zcard(QUEUE) == 0  # type: ignore[misc]

    await eventually(ended, within_s=60)


async def test_a_job_of_64_megabytes_runs(hostile_redis: Redis, pickles: WorkerProcess, eventually: Any) -> None:
    size = 64 * 1024 * 1024
    await plant(hostile_redis, pickle.dumps(job("measure", bytes(size))))
    await plant_good(hostile_redis)

    await eventually(lambda: hostile_redis.llen("notes"), within_s=60)
    await eventually(lambda: hostile_redis.llen("measured"), within_s=60)
    assert await hostile_redis.lrange("measured", 0, -1) == [str(size).encode()]  # type: ignore[misc]
    assert pickles.process.poll() is None


async def test_a_payload_of_64_megabytes_that_is_no_job_is_kept_whole(
    hostile_redis: Redis, pickles: WorkerProcess, eventually: Any
) -> None:
    await check_buried(hostile_redis, pickles, b"[" * (64 * 1024 * 1024), eventually)


@pytest.mark.parametrize("payload", [pytest.param(EXIT, id="an object that ends the process when it is made")])
async def test_a_payload_that_ends_its_workers_does_so_only_so_often(
    hostile_redis: Redis, start: Any, eventually: Any, payload: bytes
) -> None:
    queue = "fragile"
    await plant(hostile_redis, payload, queue=queue)
    for _ in range(2):  # its try, and the one in which it would be refused as it has had it
        worker = start("Fragile", ARQUBE_LEASE="1")
        await eventually(lambda worker=worker: worker.process.poll() is not None, within_s=60)
        assert worker.process.returncode == 9
    worker = start("Fragile", ARQUBE_LEASE="1")
    kept = await eventually(lambda: letter(hostile_redis, queue=queue), within_s=60)
    assert (kept["reason"], kept["function"], kept["payload"]) == (b"tries_exhausted", b"note", payload)
    assert b"workers end when they read the payload" in kept["error"]
    await plant_good(hostile_redis, queue=queue)
    await eventually(lambda: hostile_redis.llen("notes"), within_s=60)
    assert worker.process.poll() is None
