"""A Deployment whose number is set through ``/scale``, its pods' lives, and which of them a ReplicaSet gives up.

The order of victims is ``ActivePodsWithRanks.Less`` of ``pkg/controller/controller_utils.go`` in Kubernetes 1.32, with
``LogarithmicScaleDown``, which is on by default.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cmp_to_key
from random import Random
from typing import Protocol

from arqube_local.simulate.engine import Engine


class Pod:
    """A pod from its creation to its end; times are seconds from the start.

    Attributes:
        uid: Random, as ties between victims are broken by it.
        ready_s: When it became ready; None before.
        terminating: It was asked to go.
        gone: It has ended.
        deletion_cost: The annotation ``controller.kubernetes.io/pod-deletion-cost``; None when absent.
    """

    __slots__ = ("created_s", "deletion_cost", "gone", "name", "ready_s", "terminating", "uid")

    def __init__(self, name: str, uid: int, created_s: float) -> None:
        self.name = name
        self.uid = uid
        self.created_s = created_s
        self.ready_s: float | None = None
        self.terminating = False
        self.gone = False
        self.deletion_cost: int | None = None


class Containers(Protocol):
    """What runs in the pods."""

    def begin(self, pod: Pod) -> None:
        """The pod is ready."""

    def stop(self, pod: Pod) -> None:
        """SIGTERM: finish, then tell ``Deployment.exited``."""

    def kill(self, pod: Pod) -> None:
        """SIGKILL: nothing runs from here on."""


class Deployment:
    """The workers' Deployment.

    Args:
        startup_s: Seconds from creation to readiness, of one pod after the other.
        grace_s: Seconds from SIGTERM to SIGKILL.
        random: Draws uids.

    Attributes:
        replicas: The number asked for.
        pods: Those that have not ended, terminating ones included, by age.
        scale_events: How often the number was changed.
        lifetimes_s: Of the pods that have ended.
    """

    def __init__(
        self, engine: Engine, containers: Containers, startup_s: Iterator[float], grace_s: float, random: Random
    ) -> None:
        self.replicas = 0
        self.pods: list[Pod] = []
        self.scale_events = 0
        self.created = 0
        self.lifetimes_s = 0.0
        self._engine = engine
        self._containers = containers
        self._startup_s = startup_s
        self._grace_s = grace_s
        self._random = random

    @property
    def ready(self) -> int:
        """Pods that take jobs, as status.readyReplicas counts them."""
        return sum(pod.ready_s is not None and not pod.terminating for pod in self.pods)

    @property
    def status_replicas(self) -> int:
        """Pods that exist and were not asked to go, as status.replicas counts them."""
        return sum(not pod.terminating for pod in self.pods)

    def pod_seconds(self) -> float:
        """What was paid for until now."""
        return self.lifetimes_s + sum(self._engine.now - pod.created_s for pod in self.pods)

    def create(self, replicas: int) -> None:
        """Begin with ``replicas`` pods, which is no change of their number."""
        self.replicas = replicas
        self._reconcile()

    def scale(self, replicas: int) -> None:
        """Write the number to ``/scale``; the ReplicaSet acts at once."""
        if replicas != self.replicas:
            self.replicas = replicas
            self.scale_events += 1
            self._reconcile()

    def exited(self, pod: Pod) -> None:
        """The pod's container has ended after it was asked to."""
        pod.gone = True
        self.pods.remove(pod)
        self.lifetimes_s += self._engine.now - pod.created_s

    def _reconcile(self) -> None:
        replicas = self.replicas
        active = [pod for pod in self.pods if not pod.terminating]
        for _ in range(replicas - len(active)):
            self._create_pod()
        if len(active) > replicas:
            for pod in victims(active, self._engine.now)[: len(active) - replicas]:
                self._delete_pod(pod)

    def _create_pod(self) -> None:
        self.created += 1
        pod = Pod(f"worker-{self.created}", self._random.getrandbits(64), self._engine.now)
        self.pods.append(pod)
        self._engine.at(self._engine.now + next(self._startup_s), self._become_ready, pod)

    def _become_ready(self, pod: Pod) -> None:
        if not pod.gone:
            pod.ready_s = self._engine.now
            self._containers.begin(pod)

    def _delete_pod(self, pod: Pod) -> None:
        pod.terminating = True
        if pod.ready_s is None:
            self.exited(pod)
            return
        self._engine.at(self._engine.now + self._grace_s, self._grace_over, pod)
        self._containers.stop(pod)

    def _grace_over(self, pod: Pod) -> None:
        if not pod.gone:
            self._containers.kill(pod)
            self.exited(pod)


def victims(pods: list[Pod], now: float) -> list[Pod]:
    """``pods`` in the order in which a ReplicaSet deletes them."""

    def compare(one: Pod, other: Pod) -> int:
        # Every pod here has a node, no restarts, and a node of its own: those rules never decide.
        if (one.ready_s is None) != (other.ready_s is None):
            return -1 if one.ready_s is None else 1
        if costs := (one.deletion_cost or 0) - (other.deletion_cost or 0):
            return costs
        if one.ready_s is not None and other.ready_s is not None and int(one.ready_s) != int(other.ready_s):
            return _newer_first(one, int(one.ready_s), other, int(other.ready_s), now)
        if int(one.created_s) != int(other.created_s):
            return _newer_first(one, int(one.created_s), other, int(other.created_s), now)
        return 0

    return sorted(pods, key=cmp_to_key(compare))


def _newer_first(one: Pod, since_s: int, other: Pod, other_since_s: int, now: float) -> int:
    """``logarithmicRankDiff``: ages compare by their powers of two, and by uid within one."""
    return (_age_bucket(now - since_s) - _age_bucket(now - other_since_s)) or (-1 if one.uid < other.uid else 1)


def _age_bucket(age_s: float) -> int:
    return int(math.log2(age_s * 1e9)) if age_s > 0 else -1
