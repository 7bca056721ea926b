"""Pods of a Deployment on the laptop cluster: they come, are replaced and go, whatever stands in the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from arqube_local.apiserver import Trouble
from arqube_local.cluster import LaptopCluster
from arqube_operator.kube.client import PODS
from builders.web_server import (
    NAMESPACE,
    alive,
    apply,
    ask,
    cluster_of_servers,
    deployment,
    is_ready,
    local_port,
    log_of,
    pid_of,
    pods,
    ready_pods,
    scale,
)

Eventually = Callable[..., Awaitable[Any]]

SLOW_S = 45.0
"""Deadline of what takes a second or two on an idle machine."""


@pytest_asyncio.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[LaptopCluster]:
    async with cluster_of_servers(tmp_path) as running:
        yield running


async def kubectl(cluster: LaptopCluster, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "kubectl",
        *arguments,
        env={**os.environ, "KUBECONFIG": cluster.kubeconfig},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_scales_up_and_down_and_deletion_leaves_no_process(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(replicas=2))
    both = await eventually(lambda: ready_pods(cluster, 2), within_s=SLOW_S)
    assert len({local_port(pod) for pod in both}) == 2
    pids = [await pid_of(pod) for pod in both]

    await cluster.client.patch_metadata(
        PODS,
        NAMESPACE,
        both[0]["metadata"]["name"],
        {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-1"}},
        field_manager="test",
    )
    await scale(cluster, 1)
    (kept,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    assert kept["metadata"]["name"] == both[1]["metadata"]["name"]
    assert [alive(pid) for pid in pids] == [False, True]

    assert "successfully rolled out" in await kubectl(cluster, "rollout", "status", "deployment/web", "--timeout=30s")
    await kubectl(cluster, "delete", "deployment", "web")

    async def nothing() -> bool:
        return not await pods(cluster)

    await eventually(nothing, within_s=SLOW_S)
    assert not alive(pids[1])


async def test_a_rolling_update_never_loses_availability(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment(replicas=2))
    before = await eventually(lambda: ready_pods(cluster, 2), within_s=SLOW_S)
    names = {pod["metadata"]["name"] for pod in before}
    least, most = 2, 2

    async def replaced() -> bool:
        nonlocal least, most
        found = await pods(cluster)
        active = [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]
        least, most = min(least, sum(map(is_ready, active))), max(most, len(active))
        return len(found) == 2 and all(map(is_ready, found)) and names.isdisjoint(p["metadata"]["name"] for p in found)

    await apply(cluster, deployment(replicas=2, env={"VERSION": "2"}))
    await eventually(replaced, within_s=SLOW_S)
    assert (least, most) == (2, 3)
    for pod in await pods(cluster):
        assert (await ask(pod))["env"]["VERSION"] == "2"
    assert "successfully rolled out" in await kubectl(cluster, "rollout", "status", "deployment/web", "--timeout=30s")


async def test_a_pod_may_finish_within_its_grace_period(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment(env={"STOP_AFTER": "2"}, terminationGracePeriodSeconds=60))
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    pid = await pid_of(pod)
    await scale(cluster, 0)
    await eventually(lambda: "stopping" in log_of(cluster, pod).read_text(), within_s=SLOW_S)
    (stopping,) = await pods(cluster)
    assert "deletionTimestamp" in stopping["metadata"]
    assert alive(pid)
    assert await eventually(lambda: not alive(pid), within_s=40)


async def test_a_pod_that_ignores_sigterm_is_killed_after_its_grace_period(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(env={"STOP_AFTER": "600"}, terminationGracePeriodSeconds=1))
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    pid = await pid_of(pod)
    await scale(cluster, 0)

    async def gone() -> bool:
        return not alive(pid) and not await pods(cluster)

    await eventually(gone, within_s=SLOW_S)
    assert "stopping" in log_of(cluster, pod).read_text()


async def test_a_deleted_pod_is_replaced(cluster: LaptopCluster, eventually: Eventually) -> None:
    await apply(cluster, deployment())
    (pod,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    await kubectl(cluster, "delete", "pod", pod["metadata"]["name"])
    (other,) = await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    assert other["metadata"]["uid"] != pod["metadata"]["uid"]


async def test_a_node_that_dies_tells_nobody_and_runs_what_is_there_when_it_is_back(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(replicas=2, env={"STOP_AFTER": "600"}))
    before = await eventually(lambda: ready_pods(cluster, 2), within_s=SLOW_S)
    pids = [await pid_of(pod) for pod in before]
    await cluster.kubelet.die()
    assert not any(map(alive, pids))
    assert len(await ready_pods(cluster, 2)) == 2, "nobody has told"

    evicted, kept = (pod["metadata"]["name"] for pod in before)
    await cluster.client.delete(PODS, NAMESPACE, evicted, grace_period_s=0)
    await eventually(lambda: is_replaced(cluster, evicted), within_s=SLOW_S)
    cluster.kubelet.revive()

    async def both_run() -> bool:
        after = {pod["metadata"]["name"]: pod for pod in await ready_pods(cluster, 2)}
        if kept not in after or evicted in after:
            return False
        try:
            return pids[1] != await pid_of(after[kept])
        except aiohttp.ClientError:  # What stands of it is from before.
            return False

    await eventually(both_run, within_s=SLOW_S)


async def is_replaced(cluster: LaptopCluster, name: str) -> bool:
    names = [pod["metadata"]["name"] for pod in await pods(cluster)]
    return len(names) == 2 and name not in names


async def test_pods_go_though_the_api_server_is_away_when_they_end(
    cluster: LaptopCluster, eventually: Eventually
) -> None:
    await apply(cluster, deployment(env={"STOP_AFTER": "2"}))
    await eventually(lambda: ready_pods(cluster, 1), within_s=SLOW_S)
    trouble = Trouble(frozenset({"DELETE"}), "/pods/", status=503)
    (pod,) = await pods(cluster)
    pid = await pid_of(pod)
    await scale(cluster, 0)
    await eventually(lambda: terminating(cluster), within_s=SLOW_S)
    cluster.api.faults.begin(trouble)
    await eventually(lambda: not alive(pid), within_s=SLOW_S)
    refused = asyncio.get_running_loop().time() + 4  # Longer than it once tried.
    await eventually(lambda: asyncio.get_running_loop().time() > refused)
    assert await pods(cluster)
    cluster.api.faults.end(trouble)

    async def nothing() -> bool:
        return not await pods(cluster)

    await eventually(nothing, within_s=SLOW_S)


async def terminating(cluster: LaptopCluster) -> bool:
    return any("deletionTimestamp" in pod["metadata"] for pod in await pods(cluster))


async def test_leaving_the_cluster_stops_its_pods(tmp_path: Path, eventually: Eventually) -> None:
    async with cluster_of_servers(tmp_path, stop_s=2) as running:
        await apply(running, deployment(replicas=1, env={"STOP_AFTER": "600"}))
        (pod,) = await eventually(lambda: ready_pods(running, 1), within_s=SLOW_S)
        pids = [await pid_of(pod), running.redis.pid]
        assert all(alive(pid) for pid in pids)
    assert not any(alive(pid) for pid in pids)
