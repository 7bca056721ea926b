"""KEDA's part beside the HPA, after ``pkg/scaling/executor/scale_scaledobjects.go`` of KEDA 2.21, and the HPA alone.

KEDA's poller switches between zero and the floor; from one on the HPA decides, on the metric that KEDA serves.
"""

from __future__ import annotations

from dataclasses import dataclass

from arqube_local.simulate.hpa import SYNC_S, Behavior, Hpa
from arqube_local.simulate.world import World


@dataclass(frozen=True, slots=True)
class KedaSettings:
    """A ScaledObject with one Redis trigger, and the grace period of its pods; times in seconds.

    Attributes:
        target: ``listLength``: members of the sorted set a pod.
        activation: ``activationListLength``: active with more members than this.
    """

    min_replicas: int = 0
    max_replicas: int = 100
    target: float = 5.0
    polling_s: float = 30.0
    cooldown_s: float = 300.0
    activation: float = 0.0
    behavior: Behavior | None = None
    grace_s: float = 30.0


class Keda:
    """KEDA's poller and an HPA."""

    def __init__(self, settings: KedaSettings) -> None:
        self.grace_s = settings.grace_s
        self._settings = settings
        self._hpa = Hpa(max(1, settings.min_replicas), settings.max_replicas, settings.target, settings.behavior)
        self._active_s: float | None = None
        self._world: World

    def start(self, world: World) -> None:
        """Poll and sync, each at a phase of its own."""
        self._world = world
        world.deployment.create(self._settings.min_replicas)
        world.engine.every(self._settings.polling_s, self._poll, world.random.random() * self._settings.polling_s)
        world.engine.every(SYNC_S, self._sync, world.random.random() * SYNC_S)

    def _poll(self) -> None:
        """``RequestScale``: up from zero when active, down to it when the cool-down has passed since it last was."""
        deployment, now, settings = self._world.deployment, self._world.engine.now, self._settings
        if self._world.queue.members > settings.activation:
            self._active_s = now
            if deployment.replicas == 0:
                deployment.scale(max(1, settings.min_replicas))
        elif settings.min_replicas == 0 and (self._active_s is None or now - self._active_s > settings.cooldown_s):
            deployment.scale(0)

    def _sync(self) -> None:
        deployment, now = self._world.deployment, self._world.engine.now
        metric = self._world.queue.members
        deployment.scale(self._hpa.sync(now, metric, deployment.replicas, deployment.status_replicas))


class HpaAlone:
    """An HPA on the same metric without KEDA: it never goes to zero."""

    def __init__(self, min_replicas: int, max_replicas: int, target: float, grace_s: float) -> None:
        self.grace_s = grace_s
        self._min = max(1, min_replicas)
        self._hpa = Hpa(self._min, max_replicas, target)
        self._world: World

    def start(self, world: World) -> None:
        """Begin with the floor, and sync at a phase of its own."""
        self._world = world
        world.deployment.create(self._min)
        world.engine.every(SYNC_S, self._sync, world.random.random() * SYNC_S)

    def _sync(self) -> None:
        deployment, now = self._world.deployment, self._world.engine.now
        metric = self._world.queue.members
        deployment.scale(self._hpa.sync(now, metric, deployment.replicas, deployment.status_replicas))
