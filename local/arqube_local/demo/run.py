"""Runs the demo against a cluster: applies the TaskQueue, drives the load, rolls out a new image, waits for zero."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis

from arqube_local.demo.app import COMPLETED
from arqube_local.demo.load import TOTAL, Load
from arqube_local.demo.record import SAMPLE_S, Ledger, Sample, Table, read_ledger
from arqube_operator.decide.manifest import deployment_name
from arqube_operator.kube.client import DEPLOYMENTS, TASK_QUEUES, KubeClient
from arqube_queue.connection import RedisAddress
from arqube_queue.keys import DEFAULT_QUEUE
from arqube_queue.model import QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots

NAMESPACE: Final = "default"
NAME: Final = "demo"
MANAGER: Final = "arqube-demo"
READY_TIMEOUT_S: Final = 30.0
DRAIN_TIMEOUT_S: Final = 100.0
POLL_S: Final = 0.05


@dataclass(slots=True)
class Result:
    """How the demo went."""

    enqueued: int
    ledger: Ledger
    first_scale_s: float | None
    seconds: float
    samples: list[Sample] = field(default_factory=list)
    steps: list[tuple[float, str]] = field(default_factory=list)

    @property
    def lost(self) -> int:
        """Jobs that never ran to their end."""
        return self.enqueued - self.ledger.completed

    @property
    def is_flawless(self) -> bool:
        """Every job ran exactly once to its end, and no worker is left."""
        return self.lost == 0 and self.ledger.run_twice == 0 and self.enqueued == TOTAL and self._final_replicas == 0

    @property
    def _final_replicas(self) -> int:
        return self.samples[-1].replicas

    def summary(self) -> dict[str, Any]:
        """The line of figures."""
        return {
            "enqueued": self.enqueued,
            "completed": self.ledger.completed,
            "lost": self.lost,
            "run_twice": self.ledger.run_twice,
            "interrupted": self.ledger.interrupted,
            "peak_replicas": max(sample.replicas for sample in self.samples),
            "final_replicas": self._final_replicas,
            "first_scale_s": None if self.first_scale_s is None else round(self.first_scale_s, 2),
            "seconds": round(self.seconds, 1),
        }


class Demo:
    """One run."""

    def __init__(self, kube: KubeClient, redis: Redis, load: Load, table: Table, address: RedisAddress) -> None:
        self._kube = kube
        self._redis = redis
        self._load = load
        self._table = table
        self._address = address
        self._began = time.monotonic()
        self._samples: list[Sample] = []
        self._steps: list[tuple[float, str]] = []
        self._first_scale_s: float | None = None

    @classmethod
    async def start(cls, kubeconfig: str, address: RedisAddress) -> Demo:
        """Connect to the cluster of ``kubeconfig`` and to its Redis at ``address``."""
        table = Table()
        steps: list[Callable[[str], None]] = []
        load = await Load.connect(address, lambda text: steps[0](text))
        demo = cls(await KubeClient.from_config(kubeconfig), address.connect(), load, table, address)
        steps.append(demo._say)
        return demo

    async def close(self) -> None:
        """Let go of both."""
        await self._load.close()
        await self._redis.aclose()
        await self._kube.close()

    async def run(self) -> Result:
        """The whole demo."""
        await self._apply("demo:1")
        self._say("apply TaskQueue demo, minReplicas 0")
        # One worker comes first, to tell of its cron jobs, and goes again.
        await self._until(self._is_at_zero, DRAIN_TIMEOUT_S)
        watcher = asyncio.create_task(self._watch_first_scale(), name="first scale")
        sampler = asyncio.create_task(self._sample_for_ever(), name="sampler")
        try:
            await self._load.run(self._roll_out)
            self._say("drain to zero")
            await self._until(self._is_drained, DRAIN_TIMEOUT_S)
        except TimeoutError as error:
            self._say(str(error))
        finally:
            watcher.cancel()
            sampler.cancel()
            await asyncio.gather(watcher, sampler, return_exceptions=True)
        await self._sample()
        return Result(
            enqueued=self._load.enqueued,
            ledger=await read_ledger(self._redis),
            first_scale_s=self._first_scale_s,
            seconds=self._elapsed_s,
            samples=self._samples,
            steps=self._steps,
        )

    @property
    def _elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def _say(self, text: str) -> None:
        self._steps.append((self._elapsed_s, text))
        self._table.say(text)

    async def _apply(self, image: str) -> None:
        body = {
            "apiVersion": TASK_QUEUES.api_version,
            "kind": TASK_QUEUES.kind,
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "redis": {"host": self._address.host, "port": self._address.port},
                "worker": {"image": image, "settings": "arqube_local.demo.app.WorkerSettings", "concurrency": 10},
                "scaling": {"minReplicas": 0, "maxReplicas": 6, "cooldown": "5s", "scaleDown": {"stabilization": "5s"}},
            },
        }
        await self._kube.apply(TASK_QUEUES, NAMESPACE, NAME, body, field_manager=MANAGER)

    async def _roll_out(self) -> None:
        await self._until(self._is_busy, READY_TIMEOUT_S)
        self._say("roll out image demo:2")
        await self._apply("demo:2")

    async def _watch_first_scale(self) -> None:
        """Note how long it takes from the first job to the first worker asked for."""
        await self._load.began.wait()
        began = time.monotonic()
        await self._until(self._has_scaled, READY_TIMEOUT_S)
        self._first_scale_s = time.monotonic() - began

    async def _sample_for_ever(self) -> None:
        while True:
            await self._sample()
            await asyncio.sleep(SAMPLE_S)

    async def _sample(self) -> None:
        queue = await self._queue()
        replicas, ready = await self._replicas()
        completed: int = await self._redis.hlen(COMPLETED)  # type: ignore[misc]
        now = self._elapsed_s
        earlier = next((one for one in reversed(self._samples) if now - one.at_s >= 1), None)
        rate = 0.0 if earlier is None else (completed - earlier.completed) / (now - earlier.at_s)
        sample = Sample(now, queue.waiting, queue.running, queue.deferred, completed, rate, replicas, ready)
        self._samples.append(sample)
        self._table.show(sample)

    async def _queue(self) -> QueueSnapshot:
        (result,) = await read_snapshots(self._redis, [SnapshotQuery(DEFAULT_QUEUE)])
        if not isinstance(result, QueueSnapshot):
            raise result
        return result

    async def _replicas(self) -> tuple[int, int]:
        """Workers asked for, and those ready."""
        live = await self._kube.get(DEPLOYMENTS, NAMESPACE, deployment_name(NAME))
        if live is None:
            return 0, 0
        return live["spec"].get("replicas", 0), live.get("status", {}).get("readyReplicas", 0)

    async def _has_scaled(self) -> bool:
        return await self._replicas() != (0, 0)

    async def _is_busy(self) -> bool:
        return (await self._queue()).running > 0

    async def _is_at_zero(self) -> bool:
        live = await self._kube.get(DEPLOYMENTS, NAMESPACE, deployment_name(NAME))
        return live is not None and live["spec"].get("replicas") == live.get("status", {}).get("replicas", 0) == 0

    async def _is_drained(self) -> bool:
        """Nothing is queued and no worker is left."""
        queue = await self._queue()
        live = await self._kube.get(DEPLOYMENTS, NAMESPACE, deployment_name(NAME)) or {}
        pods = live.get("status", {}).get("replicas", 0)
        return queue.waiting + queue.running + queue.deferred == 0 and await self._replicas() == (0, 0) and pods == 0

    async def _until(self, condition: Callable[[], Any], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not await condition():
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"not so within {timeout_s:.0f} s: {condition.__name__.strip('_').replace('_', ' ')}"
                )
            await asyncio.sleep(POLL_S)
