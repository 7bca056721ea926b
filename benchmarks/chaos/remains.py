"""What is left at the end of a run: in Redis, in Kubernetes, and of processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis.asyncio import Redis

from arqube_operator.kube.client import DEPLOYMENTS, LEASES, PODS, TASK_QUEUES, KubeClient
from arqube_queue import keys
from benchmarks.chaos.ledger import digest
from benchmarks.chaos.queues import NAMESPACE, Queue

PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: why the job died, and the digest of its payload."""

    reason: str
    payload: str


@dataclass(frozen=True, slots=True)
class Key:
    """A key in Redis that is neither a result nor a dead letter.

    Attributes:
        kind: Its type.
        life_ms: Its time to live in milliseconds; -1 for ever.
        members: Those of a sorted set, and the fields of a hash.
    """

    kind: str
    life_ms: int
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RedisRemains:
    """What is in Redis.

    Attributes:
        results: For the ids of jobs with a result, its time to live in milliseconds.
        letters: The dead letters by job id.
        others: All other keys.
    """

    results: Mapping[str, int]
    letters: Mapping[str, Letter]
    others: Mapping[str, Key]


@dataclass(frozen=True, slots=True)
class Replicas:
    """A TaskQueue's workers.

    Attributes:
        wanted: By the Deployment's spec.
        existing: By the Deployment's status.
        pods: Pods there are, those that end included.
    """

    wanted: int
    existing: int
    pods: int


@dataclass(frozen=True, slots=True)
class KubeRemains:
    """What is in Kubernetes.

    Attributes:
        replicas: By the names of Deployments' TaskQueues.
        strays: Deployments and Pods of no TaskQueue that is there.
        holders: Who holds each Lease.
    """

    replicas: Mapping[str, Replicas]
    strays: tuple[str, ...]
    holders: Mapping[str, str]


async def read_redis(redis: Redis, queues: tuple[Queue, ...]) -> RedisRemains:
    """All keys, with what the checker has to see of them."""
    letters: dict[str, Letter] = {}
    lists = {keys.dead_letters(queue.key) for queue in queues}
    for queue in queues:
        ids = [job_id.decode() for job_id in await redis.zrange(keys.dead_letters(queue.key), 0, -1)]
        for first in range(0, len(ids), PAGE):
            page = ids[first : first + PAGE]
            async with redis.pipeline(transaction=False) as pipe:
                for job_id in page:
                    pipe.hmget(keys.dead_letter(queue.key, job_id), ["reason", "payload"])
                for job_id, (reason, payload) in zip(page, await pipe.execute(), strict=True):
                    letters[job_id] = Letter((reason or b"").decode(), digest(payload or b""))
    known = {keys.dead_letter(queue.key, job_id) for queue in queues for job_id in letters} | lists
    results: dict[str, int] = {}
    others: dict[str, Key] = {}
    cursor: int | None = None
    while cursor != 0:
        cursor, found = await redis.scan(cursor or 0, count=PAGE)
        names = [name.decode() for name in found if name.decode() not in known]
        async with redis.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.pttl(name)
            lives = await pipe.execute()
        for name, life_ms in zip(names, lives, strict=True):
            if name.startswith(keys.RESULT_PREFIX):
                results[name.removeprefix(keys.RESULT_PREFIX)] = life_ms
            elif life_ms != -2:  # It has gone meanwhile.
                others[name] = await _key(redis, name, life_ms)
    return RedisRemains(results, letters, others)


async def _key(redis: Redis, name: str, life_ms: int) -> Key:
    kind = (await redis.type(name)).decode()
    members: list[bytes] = []
    if kind == "zset":
        members = await redis.zrange(name, 0, PAGE - 1)
    elif kind == "hash":
        members = await redis.hkeys(name)  # type: ignore[misc]
    return Key(kind, life_ms, tuple(member.decode(errors="replace") for member in members))


async def read_kube(kube: KubeClient) -> KubeRemains:
    """All objects that there are because of TaskQueues."""
    task_queues, _ = await kube.list(TASK_QUEUES, NAMESPACE)
    names = {each["metadata"]["name"] for each in task_queues}
    deployments, _ = await kube.list(DEPLOYMENTS, NAMESPACE)
    pods, _ = await kube.list(PODS, NAMESPACE)
    leases, _ = await kube.list(LEASES, NAMESPACE)
    of_queue: dict[str, int] = {}
    for pod in pods:
        of_queue[_instance(pod)] = of_queue.get(_instance(pod), 0) + 1
    return KubeRemains(
        replicas={
            _instance(each): Replicas(
                each["spec"].get("replicas", 1),
                each.get("status", {}).get("replicas", 0),
                of_queue.get(_instance(each), 0),
            )
            for each in deployments
        },
        strays=tuple(
            f"{kind} {each['metadata']['name']}"
            for kind, objects in (("Deployment", deployments), ("Pod", pods))
            for each in objects
            if _instance(each) not in names
        ),
        holders={each["metadata"]["name"]: each["spec"].get("holderIdentity") or "" for each in leases},
    )


def _instance(thing: dict[str, Any]) -> str:
    return str(thing["metadata"].get("labels", {}).get("app.kubernetes.io/instance", ""))


def processes_of(folder: Path) -> list[str]:
    """The command lines of processes, this one aside, in whose environment or arguments ``folder`` stands."""
    found = []
    needle = str(folder).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            told = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:  # It has ended, or is another user's.
            continue
        if needle in told:
            found.append(f"{entry.name} {command}")
    return found
