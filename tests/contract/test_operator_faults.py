"""The operator as a process while its API server is in trouble, or strangers interfere: what it makes of it.

Only on the fake, which can be in trouble on demand.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import urllib.error
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from arqube_local.apiserver import WATCH, FakeApiServer, Trouble
from arqube_local.redis_server import RedisServer
from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, LEASES, PODS, TASK_QUEUES, KubeClient, Resource
from arqube_queue.connection import RedisAddress

Eventually = Callable[..., Awaitable[Any]]

CRDS = Resource("apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", namespaced=False)
NAMESPACE = "default"
NAME = "emails"
WORKERS = f"{NAME}-worker"
LEASE = "arqube-operator"
STILL_S = 3.0
"""Longer than the operator lets counts be old in a status."""
KOPF_WAITS_S = 3.0
"""How long kopf is kept from its first list; it asks for the kinds of our group before."""
ANSWER_WAITS_S = 5.0
"""How long the operator is kept from the answer that a TaskQueue is gone."""
SLOW_S = 60.0
"""Deadline of what takes a few seconds on an idle machine."""


class Stage:
    """An API server that can be in trouble, and an operator on it."""

    def __init__(self, fake: FakeApiServer, client: KubeClient, operator: Any, port: int) -> None:
        self.fake = fake
        self.client = client
        self.operator = operator
        self._port = port

    async def apply(self, name: str = NAME, *, least: int = 1, shard: str = "a") -> None:
        spec = {
            "redis": {"host": "127.0.0.1", "port": self._port},
            "queueName": f"faults:{self._port}",
            "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
            "scaling": {"minReplicas": least, "maxReplicas": 5},
        }
        metadata = {"name": name, "labels": {"shard": shard}}
        body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": metadata, "spec": spec}
        await self.client.apply(TASK_QUEUES, NAMESPACE, name, body, field_manager="test")

    async def replicas(self) -> int | None:
        live = await self.client.get(DEPLOYMENTS, NAMESPACE, WORKERS)
        return None if live is None else int(live["spec"]["replicas"])

    async def settle(self, eventually: Eventually) -> None:
        """Wait until the operator has read the queue and has nothing more to write."""
        seen, since = "", 0.0

        async def stands_still() -> bool:
            nonlocal seen, since
            body = await self.client.get(TASK_QUEUES, NAMESPACE, NAME) or {}
            now, version = asyncio.get_running_loop().time(), body["metadata"]["resourceVersion"]
            if version != seen:
                seen, since = version, now
            return "queue" in body.get("status", {}) and now - since > STILL_S

        await eventually(stands_still, within_s=SLOW_S, every_s=0.2)

    async def has(self, replicas: int | None) -> bool:
        return await self.replicas() == replicas

    async def forgets(self) -> bool:
        metrics = await self.operator.metrics()
        return "arqube_operator_leader 1.0" in metrics and f'taskqueue="{NAME}"' not in metrics

    async def has_listed(self, times: int) -> bool:
        """Whether the operator itself has listed TaskQueues as often: once as it begins, and when kopf has."""
        return f'{{code="200",resource="taskqueues",verb="list"}} {times}.0' in await self.operator.metrics()

    async def has_written_in_vain(self) -> bool:
        """Whether the operator wrote a status of a TaskQueue that is gone."""
        return '{code="404",resource="taskqueues/status",verb="patch"}' in await self.operator.metrics()

    async def ready(self) -> str:
        """What ``/readyz`` says, with the status before it."""
        try:
            return f"200 {await asyncio.to_thread(self.operator.get, '/readyz')}"
        except urllib.error.HTTPError as error:
            return f"{error.code} {error.read().decode()}"

    async def enqueue(self) -> None:
        """Give the operator something to tell."""
        async with RedisAddress("127.0.0.1", self._port).connect() as redis:
            await redis.zadd(f"faults:{self._port}", {"job": 1})

    def log(self) -> list[dict[str, Any]]:
        written, _, _ = self.operator.log.read_text().rpartition("\n")
        return [json.loads(line) for line in written.splitlines() if line.startswith("{")]


@pytest.fixture
def selector() -> str:
    """Which TaskQueues the operator watches."""
    return ""


@pytest_asyncio.fixture
async def stage(
    tmp_path: Path, redis_server: RedisServer, operator_process: Any, selector: str
) -> AsyncIterator[Stage]:
    fake = FakeApiServer()
    await fake.start()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(fake.kubeconfig()))
    client = await KubeClient.from_config(str(kubeconfig))
    definition = custom_resource_definition()
    await client.apply(CRDS, None, definition["metadata"]["name"], definition, field_manager="test")
    operator = operator_process(kubeconfig, LEASE, ARQUBE_WATCH_LABEL_SELECTOR=selector).start()
    try:
        yield Stage(fake, client, operator, redis_server.address.port)
    finally:
        await asyncio.to_thread(operator.stop)
        await client.close()
        await fake.stop()


async def made_after(stage: Stage, version: str, until: Callable[[], Awaitable[Any]], eventually: Eventually) -> int:
    """How many Deployments were made from ``version`` on until a condition holds."""
    made = 0

    async def count() -> None:
        nonlocal made
        async with aclosing(stage.client.watch(DEPLOYMENTS, NAMESPACE, resource_version=version)) as events:  # type: ignore[type-var]
            async for kind, _ in events:
                made += kind == "ADDED"

    counting = asyncio.create_task(count())
    try:
        await eventually(until, within_s=SLOW_S, every_s=0.2)
        assert not counting.done(), "the counting has ended too soon"
    finally:
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)
    return made


async def test_a_task_queue_whose_end_nobody_told_gets_no_workers(stage: Stage, eventually: Eventually) -> None:
    """The history is lost while watches are silent: kopf lists what is there, and cannot tell what went."""
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    await stage.settle(eventually)
    stage.fake.faults.silence_watches()
    await stage.client.delete(TASK_QUEUES, NAMESPACE, NAME)
    await eventually(lambda: stage.has(None), within_s=SLOW_S)
    stage.fake.compact()
    _, version = await stage.client.list(DEPLOYMENTS, NAMESPACE)
    stage.fake.faults.let_watches_speak()

    assert await made_after(stage, version, stage.forgets, eventually) == 0


async def test_a_task_queue_made_anew_while_its_forerunner_is_found_gone_is_seen_to(
    stage: Stage, eventually: Eventually
) -> None:
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    await stage.settle(eventually)
    stage.fake.faults.silence_watches()
    stage.fake.faults.begin(Trouble(frozenset({"GET"}), f"/taskqueues/{NAME}$", delay_s=ANSWER_WAITS_S))
    await stage.client.delete(TASK_QUEUES, NAMESPACE, NAME)
    await eventually(lambda: stage.has(None), within_s=SLOW_S)
    await stage.enqueue()
    await eventually(stage.has_written_in_vain, within_s=SLOW_S)
    await stage.apply()
    stage.fake.faults.let_watches_speak()

    await eventually(lambda: stage.has(1), within_s=SLOW_S)


@pytest.mark.parametrize("selector", ["shard=a"])
async def test_a_task_queue_that_goes_to_another_shard_before_kopf_has_listed_is_let_go(
    stage: Stage, eventually: Eventually
) -> None:
    """We have listed it, and kopf, which is asked for what goes, lists what is left."""
    stage.fake.faults.begin(Trouble(frozenset({"GET"}), "^/apis/arqube.dev/v1alpha1$", delay_s=KOPF_WAITS_S))
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    await stage.apply(shard="b")

    await eventually(stage.forgets, within_s=SLOW_S)


@pytest.mark.parametrize("selector", ["shard=a"])
async def test_a_task_queue_that_goes_to_another_shard_while_the_history_is_lost_is_let_go(
    stage: Stage, eventually: Eventually
) -> None:
    await stage.apply()
    await stage.apply("stays")
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    await eventually(lambda: stage.has_listed(2), within_s=SLOW_S)
    stage.fake.faults.silence_watches()
    await stage.apply(shard="b")
    stage.fake.compact()
    stage.fake.faults.let_watches_speak()

    await eventually(stage.forgets, within_s=SLOW_S)


async def test_workers_that_go_with_their_task_queue_are_not_made_anew(stage: Stage, eventually: Eventually) -> None:
    """Their end is told seconds before that of the TaskQueue."""
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    stage.fake.faults.begin(Trouble(frozenset({WATCH}), "/taskqueues", delay_s=3.0))
    stage.fake.end_watches()
    await eventually(lambda: watches_anew(stage), within_s=SLOW_S)
    await stage.settle(eventually)
    _, version = await stage.client.list(DEPLOYMENTS, NAMESPACE)
    await stage.client.delete(TASK_QUEUES, NAMESPACE, NAME)

    assert await made_after(stage, version, stage.forgets, eventually) == 0
    assert not [line for line in stage.log() if line["event"] in ("reconcile.failed", "reconcile.defect")]


async def watches_anew(stage: Stage) -> bool:
    """Whether a change of the TaskQueue comes through to the operator."""
    await stage.apply(least=2)
    return await stage.has(2)


async def test_an_error_in_a_watch_that_kopf_gives_up_on_ends_no_leadership(
    stage: Stage, eventually: Eventually
) -> None:
    await eventually(stage.operator.leads, within_s=SLOW_S)
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    stage.fake.end_watches(500)
    await eventually(lambda: "watches.ended" in [line["event"] for line in stage.log()], within_s=SLOW_S)

    await stage.apply(least=3)
    await eventually(lambda: stage.has(3), within_s=SLOW_S)
    assert [line["event"] for line in stage.log()].count("leadership.started") == 1


async def test_a_leader_that_can_list_nothing_is_not_ready_and_says_why(stage: Stage, eventually: Eventually) -> None:
    await eventually(stage.operator.leads, within_s=SLOW_S)
    await asyncio.to_thread(stage.operator.stop, signal.SIGKILL)
    forbidden = Trouble(frozenset({"GET"}), "/taskqueues", status=403)
    stage.fake.faults.begin(forbidden)
    stage.operator.start()

    async def says() -> bool:
        told = await stage.ready() if "arqube_operator_leader 1.0" in await stage.operator.metrics() else ""
        return told.startswith("503") and "cannot list TaskQueues" in told and "403 Forbidden" in told

    await eventually(says, within_s=SLOW_S)
    stage.fake.faults.end(forbidden)
    await eventually(lambda: is_well(stage), within_s=SLOW_S)
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)


async def is_well(stage: Stage) -> bool:
    return await stage.ready() == "200 ok"


async def test_a_leader_that_stood_still_and_was_replaced_writes_nothing_more(
    stage: Stage, eventually: Eventually
) -> None:
    """What it was about to write may be wrong by now: here the scaling of a queue that is somebody else's."""
    await eventually(stage.operator.leads, within_s=SLOW_S)
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    os.kill(stage.operator.pid, signal.SIGSTOP)
    try:
        spec = {"holderIdentity": "another", "leaseDurationSeconds": 3600}
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": {"name": LEASE}, "spec": spec}
        await stage.client.apply(LEASES, NAMESPACE, LEASE, body, field_manager="test")
        await stage.apply(least=3)
        stopped_at = asyncio.get_running_loop().time()
        await eventually(lambda: asyncio.get_running_loop().time() - stopped_at > 11)
    finally:
        os.kill(stage.operator.pid, signal.SIGCONT)

    async def deposed() -> bool:
        return "arqube_operator_leader 0.0" in await stage.operator.metrics()

    await eventually(deposed, within_s=SLOW_S)
    assert await stage.has(1)


async def test_a_crash_loop_is_told_once(stage: Stage, eventually: Eventually) -> None:
    await stage.apply()
    await eventually(lambda: stage.has(1), within_s=SLOW_S)
    labels = ((await stage.client.get(DEPLOYMENTS, NAMESPACE, WORKERS)) or {})["spec"]["template"]["metadata"]["labels"]
    pod = {
        "metadata": {"name": f"{WORKERS}-0", "labels": labels},
        "spec": {"containers": [{"name": "worker", "image": "app:1"}]},
    }
    await stage.client.create(PODS, NAMESPACE, {"apiVersion": "v1", "kind": "Pod", **pod}, field_manager="test")
    ended = {"terminated": {"exitCode": 1, "message": "no module named app"}}

    async def is_shown(restarts: int) -> bool:
        found = await stage.client.get(TASK_QUEUES, NAMESPACE, NAME) or {}
        conditions = {each["type"]: each for each in found.get("status", {}).get("conditions", ())}
        told = conditions.get("WorkersAvailable", {})
        return told.get("reason") == "CrashLooping" and f"run {restarts}" in told["message"]

    for restarts in range(3, 7):
        for state in ({"running": {}}, {"waiting": {"reason": "CrashLoopBackOff"}}):
            ended["terminated"]["message"] = f"run {restarts}"
            container = {"name": "worker", "state": state, "lastState": ended, "restartCount": restarts}
            status = {"containerStatuses": [{**container, "started": False, "ready": False}]}
            await stage.client.patch_status(PODS, NAMESPACE, f"{WORKERS}-0", status, field_manager="test")
            await eventually(lambda restarts=restarts: is_shown(restarts), within_s=SLOW_S)

    events, _ = await stage.client.list(EVENTS, NAMESPACE)
    assert [event["reason"] for event in events].count("CrashLooping") == 1
