"""Decide which pods a ReplicaSet makes and which it gives up, in kube-controller-manager's order.

The order is ``ActivePodsWithRanks`` of ``pkg/controller/controller_utils.go``; the rank by pods on one node falls away
(a laptop is one node), and ages compare exactly instead of by powers of two, which only makes ties rarer.
"""

from __future__ import annotations

from dataclasses import dataclass

_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True)
class PodState:
    """A pod as far as a ReplicaSet asks; times are seconds since the epoch."""

    name: str
    created: float
    assigned: bool = True
    """A node has been chosen for it."""
    phase: str = "Running"
    ready_since: float | None = None
    deletion_cost: int = 0
    restarts: int = 0
    terminating: bool = False

    @property
    def active(self) -> bool:
        """It counts: not ended and not on its way out."""
        return self.phase not in ("Succeeded", "Failed") and not self.terminating

    def available(self, min_ready_s: float, now: float) -> bool:
        """Ready for at least ``min_ready_s`` seconds."""
        return self.active and self.ready_since is not None and now - self.ready_since >= min_ready_s


@dataclass(frozen=True)
class ReplicasPlan:
    """How many pods to make, and the names of those to delete."""

    create: int = 0
    delete: tuple[str, ...] = ()


def plan_replicas(desired: int, pods: tuple[PodState, ...]) -> ReplicasPlan:
    """Bring the active pods to ``desired``."""
    active = [pod for pod in pods if pod.active]
    if len(active) <= desired:
        return ReplicasPlan(create=desired - len(active))
    return ReplicasPlan(delete=tuple(pod.name for pod in sorted(active, key=_victim)[: len(active) - desired]))


def _victim(pod: PodState) -> tuple[bool, int, bool, int, float, int, float, str]:
    """Sorts the first to go to the front."""
    return (
        pod.assigned,
        _PHASES.get(pod.phase, 1),
        pod.ready_since is not None,
        pod.deletion_cost,
        -(pod.ready_since or 0.0),
        -pod.restarts,
        -pod.created,
        pod.name,
    )
