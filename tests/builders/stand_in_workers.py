"""Workers of a TaskQueue where no pods run: what Kubernetes and they would write, in few words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from typing import Any

from redis.asyncio import Redis

from arqube_operator.decide.manifest import DELETION_COST_ANNOTATION, TASK_QUEUE_LABEL
from arqube_operator.kube.client import DEPLOYMENTS, PODS, ApiError, KubeClient
from arqube_queue import heartbeat
from arqube_queue.model import Heartbeat


class StandInWorkers:
    """Kubernetes' controllers and the worker pods of one TaskQueue, neither of which runs here.

    As many ready pods as the Deployment asks for, that write heartbeats and heed retirement. ``busy`` and ``cron_runs``
    are what they tell. ``heeds`` false makes them slow to retire.
    """

    def __init__(self, client: KubeClient, redis: Redis, name: str, queue: str) -> None:
        self.busy: dict[str, int] = {}
        self.cron_runs: dict[str, int] = {}
        self.heeds = True
        self.pods: list[str] = []
        self.costs: dict[str, str] = {}
        """The deletion costs that pods had when they were taken, or have."""
        self._asked: dict[str, bool] = {}
        self._client, self._redis, self._name, self._queue = client, redis, name, queue
        self._numbers = count(1)
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop writing; the pods go."""
        self._stopped.set()
        await self._task
        for pod in list(self.pods):
            await self._delete(pod)

    async def _run(self) -> None:
        while not self._stopped.is_set():
            live = await self._client.get(DEPLOYMENTS, "default", f"{self._name}-worker")
            if live is not None:
                try:
                    await self._follow(live)
                except ApiError as error:
                    if error.status != 404:  # The Deployment went meanwhile.
                        raise
            for pod in self.pods:
                await self._beat(pod)
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await self._stopped.wait()

    async def _follow(self, live: Mapping[str, Any]) -> None:
        wanted = live["spec"]["replicas"]
        while len(self.pods) < wanted:
            await self._create(live)
        if len(self.pods) > wanted:
            listed, _ = await self._client.list(PODS, "default", label_selector=f"{TASK_QUEUE_LABEL}={self._name}")
            costs = {
                pod["metadata"]["name"]: pod["metadata"].get("annotations", {}).get(DELETION_COST_ANNOTATION, "0")
                for pod in listed
            }
            self.costs |= costs
            for pod in sorted(self.pods, key=lambda pod: int(costs[pod]))[: len(self.pods) - wanted]:
                await self._delete(pod)
        status = {"replicas": wanted, "readyReplicas": wanted, "updatedReplicas": wanted}
        if any(live.get("status", {}).get(field, 0) != value for field, value in status.items()):
            await self._client.patch_status(
                DEPLOYMENTS, "default", live["metadata"]["name"], status, field_manager="test"
            )

    async def _create(self, live: Mapping[str, Any]) -> None:
        name = f"{self._name}-worker-{next(self._numbers)}"
        labels = live["spec"]["template"]["metadata"]["labels"] | {"pod-template-hash": "1"}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": labels},
            "spec": {"containers": [{"name": "worker", "image": "app:1"}]},
        }
        await self._client.create(PODS, "default", body, field_manager="test")
        # Ready for a while, so that the operator takes it to have told its cron jobs.
        since = datetime.fromtimestamp(time.time() - 10, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": since}
        await self._client.patch_status(PODS, "default", name, {"conditions": [ready]}, field_manager="test")
        self.pods.append(name)

    async def _delete(self, pod: str) -> None:
        self.pods.remove(pod)
        with suppress(ApiError):
            await self._client.delete(PODS, "default", pod)
        await heartbeat.remove(self._redis, self._queue, pod)

    async def _beat(self, pod: str) -> None:
        told = Heartbeat(
            worker=pod,
            at_ms=0,
            busy=self.busy.get(pod, 0),
            slots=10,
            retiring=self._asked.get(pod, False),
            cron_runs=self.cron_runs,
        )
        asked = await heartbeat.write(self._redis, self._queue, told)
        self._asked[pod] = asked and self.heeds
