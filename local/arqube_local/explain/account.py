"""What is known of a TaskQueue: the object with its status, its Events, and the samples in its Redis."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_local.timestamps import from_timestamp
from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide.state import Problem
from arqube_operator.kube.client import EVENTS, ApiError, KubeClient
from arqube_operator.observe.addresses import AddressResolver
from arqube_queue import answers, history
from arqube_queue.history import Sample

REDIS_TIMEOUT_S: Final = 2.0
"""Longest wait for Redis in seconds: the rest is told without it."""
MOST_SAMPLES: Final = 1000


@dataclass(frozen=True, slots=True)
class Happening:
    """An Event about the TaskQueue: Unix seconds of the last time, how often, what kind, and its sentence."""

    at_s: float
    count: int
    reason: str
    message: str
    warning: bool


@dataclass(frozen=True, slots=True)
class Account:
    """All that is told at one moment.

    Attributes:
        body: The TaskQueue as the API server hands it out.
        task_queue: The same, read.
        happenings: Its Events, oldest first.
        samples: The last minutes, oldest first.
        now_ms: The time of the samples' clock, in Unix milliseconds.
        without_history: Why there are no samples from before; None where they could be read.
    """

    body: dict[str, Any]
    task_queue: TaskQueue
    happenings: tuple[Happening, ...]
    samples: tuple[Sample, ...]
    now_ms: int
    without_history: str | None = None


class HistoryReader:
    """Reads the samples of one TaskQueue; without its Redis it collects them from what the status says at each look."""

    def __init__(self, redis: Redis | None, problem: str | None, label: str = "") -> None:
        self._redis = redis
        self._problem = problem
        self._label = label
        self._seen: list[Sample] = []

    @classmethod
    @asynccontextmanager
    async def of(cls, client: KubeClient, task_queue: TaskQueue) -> AsyncIterator[HistoryReader]:
        """The reader for a TaskQueue, by the Redis it names."""
        async with AsyncExitStack() as stack:
            resolver = AddressResolver(client)
            stack.callback(resolver.close)
            try:
                address = await resolver.resolve(task_queue.metadata.namespace, task_queue.spec.redis)
            except ApiError as error:
                yield cls(None, f"its Secret cannot be read: {error}")
                return
            if isinstance(address, Problem):
                yield cls(None, address.message)
                return
            redis = address.connect(timeout_s=REDIS_TIMEOUT_S)
            stack.push_async_callback(redis.aclose)
            yield cls(redis, None, address.label)

    async def read(self, task_queue: TaskQueue) -> tuple[tuple[Sample, ...], int, str | None]:
        """The samples, the time of their clock in Unix milliseconds, and why they do not come from Redis, if so."""
        if self._redis is not None:
            try:
                now_ms = await answers.now_ms(self._redis)
                samples = await history.read(self._redis, task_queue.spec.queue_name, task_queue.metadata.uid)
                return tuple(samples), now_ms, None
            except (RedisError, OSError, *answers.ODD_ANSWERS) as error:
                # It may be reachable inside the cluster alone: later looks do not wait for it again.
                self._redis = None
                self._problem = f"Redis at {self._label} cannot be read from here: {str(error) or type(error).__name__}"
        now_ms = int(time.time() * 1000)
        if (sample := _present(task_queue, now_ms)) is not None:
            self._seen = [*self._seen[1 - MOST_SAMPLES :], sample]
        return tuple(self._seen), now_ms, self._problem


async def read_happenings(client: KubeClient, task_queue: TaskQueue) -> tuple[Happening, ...]:
    """The Events about the TaskQueue, oldest first.

    Raises:
        ApiError: They cannot be read.
    """
    metadata = task_queue.metadata
    events, _ = await client.list(EVENTS, metadata.namespace, field_selector=f"involvedObject.uid={metadata.uid}")
    return tuple(sorted((_happening(event) for event in events), key=lambda happening: happening.at_s))


def _happening(event: dict[str, Any]) -> Happening:
    at = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    return Happening(
        from_timestamp(at),
        event.get("count") or 1,
        event.get("reason") or "",
        event.get("message") or "",
        event.get("type") == "Warning",
    )


def _present(task_queue: TaskQueue, now_ms: int) -> Sample | None:
    """What the status says now, as a sample."""
    status = task_queue.status
    queue = status.queue
    if queue is None:
        return None
    wait_s = status.scaling.inputs.oldest_wait_seconds if status.scaling and status.scaling.inputs else 0.0
    return Sample(
        now_ms,
        queue.waiting,
        queue.running,
        queue.deferred,
        int(wait_s * 1000),
        status.replicas or 0,
        status.ready_replicas or 0,
    )
