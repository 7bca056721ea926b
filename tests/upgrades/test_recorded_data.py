"""What a release left in Redis, in Kubernetes and in an outbox's table is read as it was meant.

``record.py`` wrote it, run by the release itself. Nothing is changed but the times of heartbeats: those who live write
one each second.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from arqube_operator.decide.scaling.crons import template_hash
from arqube_operator.decide.scaling.learning import begin
from arqube_operator.observe.objects import read_deployment, read_pod, read_task_queue
from arqube_queue import dead_letters, heartbeat, history, job_records, keys
from arqube_queue.dead_letters import Outcome
from arqube_queue.job_records import JobState
from arqube_queue.payload import read_header
from arqube_queue.snapshot import SnapshotQuery, read_snapshots
from arqube_worker.contrib.outbox import Outbox, Relay
from arqube_worker.contrib.sqlalchemy import Database
from builders.releases import RELEASES

RECORDED = Path(__file__).parent / "recorded"
QUEUE = keys.DEFAULT_QUEUE
FUNCTIONS = ("work", "flaky", "later", "fail", "hold", "cron:nightly")
ENDED = {
    **{f"worked-{number}": (JobState.SUCCEEDED, ["succeeded"]) for number in (0, 19)},
    "outboxed": (JobState.SUCCEEDED, ["succeeded"]),
    "flaky": (JobState.SUCCEEDED, ["retried", "succeeded"]),
    "failed": (JobState.FAILED, ["failed"]),
    "failed-again": (JobState.FAILED, ["failed"]),
    "aborted": (JobState.CANCELLED, ["aborted"]),
}
ALIVE = {
    "running": (JobState.RUNNING, [None]),
    "later": (JobState.DEFERRED, ["retried"]),
    "deferred": (JobState.DEFERRED, []),
}
"""``unheard-of`` waits or is due in a second, as it is put back again and again."""


@pytest.fixture(params=[release["version"] for release in RELEASES])
def folder(request: pytest.FixtureRequest) -> Path:
    return RECORDED / str(request.param)


@pytest.fixture
def objects(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """By kind."""
    bodies: list[dict[str, Any]] = json.loads((folder / "objects.json").read_text())
    return {kind: [body for body in bodies if body["kind"] == kind] for kind in {body["kind"] for body in bodies}}


@pytest_asyncio.fixture
async def restored(folder: Path, redis: Redis) -> AsyncIterator[Redis]:
    """A server that holds what the release left, its workers alive."""
    now_ms = int((await redis.time())[0]) * 1000
    for key, kept in json.loads((folder / "redis.json").read_text())["keys"].items():
        await restore(redis, key, kept["type"], kept["value"])
        if key == keys.heartbeats(QUEUE):
            for worker, beat in (await redis.hgetall(key)).items():  # type: ignore[misc]
                await redis.hset(key, worker, b"%d %b" % (now_ms, beat.partition(b" ")[2]))  # type: ignore[misc]
    yield redis


async def restore(redis: Redis, key: str, kind: str, value: Any) -> None:
    if kind == "string":
        await redis.set(key, decoded(value))
    elif kind == "hash":
        await redis.hset(key, mapping={decoded(name): decoded(each) for name, each in value})  # type: ignore[misc]
    elif kind == "zset":
        await redis.zadd(key, {decoded(member): score for member, score in value})
    else:
        assert kind == "list"
        await redis.rpush(key, *map(decoded, value))  # type: ignore[misc]


def decoded(text: str) -> bytes:
    return base64.b64decode(text)


async def test_heartbeats(restored: Redis, objects: dict[str, list[dict[str, Any]]]) -> None:
    beats = await heartbeat.read(restored, QUEUE)

    assert {beat.worker for beat in beats} == {pod["metadata"]["name"] for pod in objects["Pod"]}
    assert {(beat.slots, beat.functions, beat.cancels) for beat in beats} == {(4, FUNCTIONS, True)}
    assert sum(beat.busy for beat in beats) == 1
    total = {name: sum(beat.finished.get(name, 0) for beat in beats) for name in ("succeeded", "failed", "aborted")}
    assert total == {"succeeded": 22, "failed": 2, "aborted": 1}
    assert sum(beat.started for beat in beats) >= 27
    assert sum(beat.run_seconds for beat in beats) > 0
    assert all(beat.cron_runs.keys() == {"cron:nightly"} for beat in beats)


async def test_a_snapshot(restored: Redis, objects: dict[str, list[dict[str, Any]]]) -> None:
    uid = objects["TaskQueue"][0]["metadata"]["uid"]

    (snapshot,) = await read_snapshots(restored, [SnapshotQuery(QUEUE, owner=uid, workers=(3, 3))])

    assert not isinstance(snapshot, Exception)
    assert (snapshot.running, snapshot.dead_letters, len(snapshot.heartbeats)) == (1, 2, len(objects["Pod"]))


async def test_the_last_minutes(restored: Redis, objects: dict[str, list[dict[str, Any]]]) -> None:
    uid = objects["TaskQueue"][0]["metadata"]["uid"]

    samples = await history.read(restored, QUEUE, uid)

    assert len(samples) == await restored.llen(keys.history(QUEUE, uid))  # type: ignore[misc]
    assert len(samples) >= 3
    assert [sample.at_ms for sample in samples] == sorted(sample.at_ms for sample in samples)
    assert max(sample.waiting for sample in samples) > 0
    assert samples[-1].replicas >= 1


@pytest.mark.parametrize(("job_id", "expected"), (ENDED | ALIVE).items(), ids=(ENDED | ALIVE).keys())
async def test_a_record(restored: Redis, job_id: str, expected: tuple[JobState, list[str | None]]) -> None:
    if job_id in ALIVE:  # deferred by a day, which may be over
        await restored.zincrby(QUEUE, 1e12 if expected[0] is JobState.DEFERRED else 0, job_id)

    found = await job_records.read_job(restored, QUEUE, job_id)

    assert found is not None
    assert (found.state, [one.outcome for one in found.tries]) == expected
    assert found.function in FUNCTIONS
    assert found.enqueued_ms is not None
    assert [one.number for one in found.tries] == list(range(1, len(found.tries) + 1))
    assert all(one.worker.startswith("emails-worker-") for one in found.tries)
    listed = (await job_records.list_jobs(restored, QUEUE)).jobs
    assert found in listed


async def test_dead_letters_and_their_retry(restored: Redis) -> None:
    for job_id, message in (("failed", "as asked"), ("failed-again", "once more")):
        remains = await dead_letters.read(restored, QUEUE, job_id)
        assert remains is not None
        assert remains.letter.error == f"ValueError: {message}"
        assert (str(remains.letter.reason), remains.letter.function, remains.letter.tries) == ("failed", "fail", 1)
        header = read_header(remains.payload)
        assert header is not None
        assert header.function == "fail"
        assert f"ValueError: {message}" in remains.traceback

    outcomes = await dead_letters.retry(restored, QUEUE, ["failed"])

    assert outcomes == {"failed": Outcome.RETRIED}
    assert await restored.zscore(QUEUE, "failed") is not None
    again = await job_records.read_job(restored, QUEUE, "failed")
    assert again is not None
    assert [one.outcome for one in again.tries] == ["failed"]


async def test_rows_of_an_outbox(restored: Redis, folder: Path, tmp_path: Path, eventually: Any) -> None:
    rows = json.loads((folder / "outbox.json").read_text())
    outbox, database = Outbox(), Database(f"sqlite+aiosqlite:///{tmp_path}/app.db")
    async with database.engine.begin() as connection:
        await connection.run_sync(outbox.metadata.create_all)
        for row in rows:
            await connection.execute(outbox.table.insert().values(row | {"payload": decoded(row["payload"])}))
    await restored.delete(keys.RESULT_PREFIX + "outboxed")  # else arq's rule of ids would hide a second move
    try:
        async with Relay(outbox, database.engine, restored, poll_s=0.05, settle_s=0.2):

            async def settled() -> bool:
                async with database.engine.connect() as connection:
                    return not (await connection.execute(outbox.table.select())).all()

            await eventually(settled)
    finally:
        await database.close()

    assert await restored.exists(keys.JOB_PREFIX + "left-behind")
    assert await restored.zscore(QUEUE, "left-behind") is not None
    assert await restored.zscore(QUEUE, "outboxed") is None
    assert await restored.zcard(keys.OUTBOX_MOVED) == 0


def test_the_status_of_a_taskqueue(objects: dict[str, list[dict[str, Any]]]) -> None:
    (body,) = objects["TaskQueue"]

    known = read_task_queue(body)

    assert known.problem == ""
    assert known.spec is not None
    assert known.status.to_object() == body["status"], "nothing of it is lost"
    scaling = known.status.scaling
    assert scaling is not None
    assert scaling.inputs is not None
    learned = begin(scaling.inputs, scaling.startup_seconds)
    assert learned.rate.mean == scaling.inputs.arrivals_per_second
    assert learned.service.mean_s == pytest.approx(scaling.inputs.service_seconds)
    assert learned.startup.typical_s == scaling.inputs.startup_seconds
    assert scaling.crons is not None
    worker = known.spec.worker
    assert scaling.crons.template == template_hash(worker.image, worker.settings), "else a pod starts to tell them anew"


def test_the_deployment_and_its_pods(objects: dict[str, list[dict[str, Any]]]) -> None:
    (deployment,), pods = objects["Deployment"], objects["Pod"]

    found = read_deployment(deployment)

    assert found.spec_hash
    assert (found.spec_replicas, found.ready_replicas) == (3, 3)
    assert {read_pod(pod).template for pod in pods} == {pods[0]["metadata"]["labels"]["pod-template-hash"]}
    assert all(read_pod(pod).ready_s is not None for pod in pods)
