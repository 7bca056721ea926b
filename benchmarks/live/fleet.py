"""The workers of each side over time, as the API server tells of them: pods that exist or are ready, and replicas."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from arqube_local.follow import follow
from arqube_operator.kube.client import DEPLOYMENTS, PODS, KubeClient
from benchmarks.live.stage import WORK, Side

Object = dict[str, Any]


@dataclass(slots=True)
class Steps:
    """A number that changes in steps: the times of its changes by the monotonic clock, and the values from there on."""

    times: list[float] = field(default_factory=list)
    values: list[int] = field(default_factory=list)

    def note(self, value: int) -> None:
        """The value is ``value`` now."""
        if not self.values or self.values[-1] != value:
            self.times.append(time.monotonic())
            self.values.append(value)

    @property
    def now(self) -> int:
        """The last value; 0 before the first."""
        return self.values[-1] if self.values else 0

    def integral(self, begin: float, end: float) -> float:
        """The area below the steps between two times."""
        ends = [*self.times[1:], end]
        return sum(
            value * max(0.0, min(until, end) - max(since, begin))
            for since, until, value in zip(self.times, ends, self.values, strict=True)
        )

    def changes(self, begin: float) -> int:
        """How often the value changed after ``begin``."""
        return sum(at > begin for at in self.times[1:])

    def peak(self, begin: float) -> int:
        """The highest value from ``begin`` on."""
        return max((value for at, value in zip(self.times, self.values, strict=True) if at > begin), default=0)


@dataclass(slots=True)
class Fleet:
    """One side's workers.

    Attributes:
        pods: Pods that exist, from creation to the end of their termination: what is paid for.
        ready: Of these, those that are ready and not asked to end.
        replicas: What the side asked for.
    """

    side: Side
    pods: Steps = field(default_factory=Steps)
    ready: Steps = field(default_factory=Steps)
    replicas: Steps = field(default_factory=Steps)

    @property
    def is_at_zero(self) -> bool:
        """Whether nothing is asked for and nothing is there."""
        return self.replicas.now == 0 and self.pods.now == 0


@asynccontextmanager
async def watched(sides: tuple[Side, ...]) -> AsyncIterator[tuple[Fleet, ...]]:
    """Follow the workers of all sides, by two watches."""
    fleets = tuple(Fleet(side) for side in sides)
    client = await KubeClient.from_config()
    followers = (_Follower(fleets, _note_pods), _Follower(fleets, _note_replicas))
    tasks = [
        asyncio.create_task(follow(client, resource, follower.on_list, follower.on_event))
        for resource, follower in zip((PODS, DEPLOYMENTS), followers, strict=True)
    ]
    try:
        yield fleets
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await client.close()


class _Follower:
    """Keeps the objects of the comparison's namespace, and tells each fleet of them after each change."""

    def __init__(self, fleets: tuple[Fleet, ...], note: Callable[[Fleet, Collection[Object]], None]) -> None:
        self._objects: dict[str, Object] = {}
        self._fleets = fleets
        self._note = note

    def on_list(self, objects: list[Object]) -> None:
        self._objects = {each["metadata"]["name"]: each for each in objects if each["metadata"]["namespace"] == WORK}
        self._tell()

    def on_event(self, kind: str, body: Object) -> None:
        if body["metadata"]["namespace"] != WORK:
            return
        if kind == "DELETED":
            self._objects.pop(body["metadata"]["name"], None)
        else:
            self._objects[body["metadata"]["name"]] = body
        self._tell()

    def _tell(self) -> None:
        for fleet in self._fleets:
            self._note(fleet, self._objects.values())


def _note_pods(fleet: Fleet, pods: Collection[Object]) -> None:
    key, value = fleet.side.label
    ours = [pod for pod in pods if pod["metadata"].get("labels", {}).get(key) == value]
    fleet.pods.note(len(ours))
    fleet.ready.note(sum(_is_ready(pod) for pod in ours))


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    is_ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return is_ready and "deletionTimestamp" not in pod["metadata"]


def _note_replicas(fleet: Fleet, deployments: Collection[Object]) -> None:
    for each in deployments:
        if each["metadata"]["name"] == fleet.side.deployment:
            fleet.replicas.note(each["spec"]["replicas"])
