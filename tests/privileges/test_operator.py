"""The operator with exactly the chart's rights on a real API server: it needs each of them, and is refused nothing.

Everything that the operator asks the API server for happens here: keep it so when it comes to ask for more.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from tests.privileges.conftest import ENFORCED, NAME, ROOT
from tests.privileges.permissions import not_granted, refused, unused

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, LEASES, TASK_QUEUES, KubeClient
from arqube_queue import keys
from builders.stand_in_workers import StandInWorkers

Eventually = Callable[..., Awaitable[Any]]
SERVED = "default"
QUEUE = "emails"
PASSWORD = "pr1vileged"  # noqa: S105 - of a server that lives as long as the test
DEFINITION = "taskqueues.arqube.dev"

UNSEEN = {("update", "arqube.dev", "taskqueues/finalizers"): f"{ENFORCED} asks for it within the apply of a Deployment"}
"""Permissions whose use no audit log shows, and why they are there; a test of its own proves each."""


@dataclass(frozen=True)
class World:
    """What is around the operator: an administrator's client, a Redis with a password, no TaskQueues."""

    client: KubeClient
    redis: Redis
    port: int
    server: Any

    def define(self) -> None:
        """Bring the definition of TaskQueues."""
        self.server.kubectl("apply", "--validate=false", "-f", str(ROOT / "crds"))
        self.server.kubectl("wait", "--for=condition=Established", f"crd/{DEFINITION}")

    async def apply(self, image: str = "app:1") -> None:
        """Make the Secret and the TaskQueue, or change its image."""
        data = {"password": base64.b64encode(PASSWORD.encode()).decode()}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "redis"}, "data": data}
        self.server.kubectl("apply", "--validate=false", f"--namespace={SERVED}", "-f", "-", body=secret)
        password = {"passwordFrom": {"name": "redis", "key": "password"}}
        spec = {
            "redis": {"host": "127.0.0.1", "port": self.port, **password},
            "queueName": QUEUE,
            "worker": {"image": image, "settings": "app.WorkerSettings"},
            "scaling": {"cooldown": "0s", "maxReplicas": 4, "jobsPerReplica": 10, "scaleDown": {"stabilization": "0s"}},
        }
        body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": QUEUE}, "spec": spec}
        await self.client.apply(TASK_QUEUES, SERVED, QUEUE, body, field_manager="test")

    async def enqueue(self, jobs: int, *, running: int = 0) -> None:
        """Have just so many jobs in the queue."""
        await self.redis.delete(QUEUE)
        ids = [f"{QUEUE}:{number}" for number in range(jobs)]
        await self.redis.zadd(QUEUE, dict.fromkeys(ids, 1000))
        for job in ids[:running]:
            await self.redis.set(keys.IN_PROGRESS_PREFIX + job, "1", ex=120)

    async def deployment(self) -> dict[str, Any]:
        return await self.client.get(DEPLOYMENTS, SERVED, f"{QUEUE}-worker") or {}

    async def reasons(self) -> set[str]:
        """Of the Events told."""
        return {event["reason"] for event in (await self.client.list(EVENTS, SERVED))[0]}

    async def ready(self) -> str:
        """The reason in the condition Ready."""
        body = await self.client.get(TASK_QUEUES, SERVED, QUEUE) or {}
        conditions = {each["type"]: each["reason"] for each in body.get("status", {}).get("conditions", ())}
        return conditions.get("Ready", "")


@pytest.fixture(scope="session")
def redis_with_password() -> Iterator[RedisServer]:
    with RedisServer(options=("--requirepass", PASSWORD)) as server:
        yield server


@pytest_asyncio.fixture
async def world(audited: Any, redis_with_password: RedisServer) -> AsyncIterator[World]:
    client = await KubeClient.from_config(str(audited.kubeconfig))
    address = replace(redis_with_password.address, password=PASSWORD)
    redis = address.connect()
    await redis.flushall()
    yield World(client, redis, address.port, audited)
    audited.kubectl("delete", "deployment,pod,event", "--all", f"--namespace={SERVED}", "--grace-period=0", "--force")
    audited.kubectl("delete", "crd", DEFINITION, "--ignore-not-found")
    await redis.aclose()
    await client.close()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("namespace", "served"),
    [pytest.param("everywhere", "", id="all namespaces"), pytest.param("at-home", SERVED, id="one namespace")],
)
async def test_the_operator_uses_all_its_permissions_and_is_refused_nothing(
    world: World, account: Any, operator: Any, eventually: Eventually, namespace: str, served: str
) -> None:
    ours = account(namespace, *([f"watchNamespaces={{{served}}}"] if served else []))
    workers = None
    try:
        first = operator(ours, served)
        await eventually(lambda: "resync.failed" in first.log.read_text(), within_s=30)
        world.define()

        await world.enqueue(20, running=10)
        await world.apply()
        workers = StandInWorkers(world.client, world.redis, QUEUE, QUEUE)
        await eventually(lambda: len(workers.pods) == 2, within_s=30)
        idle, busy = workers.pods
        workers.busy = {busy: 10}
        await world.enqueue(10, running=10)
        await eventually(lambda: workers.pods == [busy], within_s=30)
        assert int(workers.costs[idle]) < int(workers.costs[busy])

        second = operator(ours, served)
        await eventually(second.metrics, within_s=30)
        first.stop()
        await eventually(second.leads, within_s=30)
        workers.busy = {}
        await world.enqueue(35)
        await eventually(lambda: len(workers.pods) == 4, within_s=30)

        world.server.kubectl("label", "crd", DEFINITION, "changed=yes")
        await world.apply(image="app:2")
        await eventually(lambda: rolled_out(world), within_s=30)
        await world.client.delete(LEASES, namespace, NAME)
        await eventually(lambda: world.client.get(LEASES, namespace, NAME), within_s=30)
        await eventually(lambda: told(world), within_s=30)

        await world.client.delete(TASK_QUEUES, SERVED, QUEUE)
        await eventually(lambda: is_forgotten(second), within_s=30)
        second.stop()
    finally:
        if workers is not None:
            await workers.stop()

    of_the_rest = {one for one in ours.permissions if (one.verb, one.group, one.resource) not in UNSEEN}
    assert len(ours.permissions) - len(of_the_rest) == len(UNSEEN)
    asked = ours.asked
    assert refused(asked) == set()
    assert unused(of_the_rest, asked) == set()
    assert not_granted(ours.permissions, asked) == set(), "what roles of others allow, a cluster may lack"
    secrets = {one.verb for one in asked | ours.permissions if one.resource == "secrets"}
    assert secrets == {"get"}
    assert {one.namespace for one in asked if one.verb == "watch"} == {served}


async def rolled_out(world: World) -> bool:
    (container,) = (await world.deployment())["spec"]["template"]["spec"]["containers"]
    return bool(container["image"] == "app:2")


async def told(world: World) -> bool:
    return {"WorkersCreated", "ScaledUp", "ScaledDown", "WorkersUpdated"} <= await world.reasons()


async def is_forgotten(process: Any) -> bool:
    text = await process.metrics()
    return bool(text) and f'taskqueue="{QUEUE}"' not in text


@pytest.mark.parametrize(
    ("without", "needed_for"),
    [
        pytest.param("taskqueues/finalizers", "deployments", id="to own Deployments"),
        pytest.param("secrets", "secrets", id="to read Secrets"),
    ],
)
async def test_a_permission_taken_away_is_missed(
    world: World, account: Any, operator: Any, eventually: Eventually, without: str, needed_for: str
) -> None:
    ours = account(f"without-{without.replace('/', '-')}", without=without)
    world.define()
    await world.apply()
    operator(ours)

    await eventually(lambda: refused(ours.asked), within_s=30)

    assert {request.resource for request in refused(ours.asked)} == {needed_for}
