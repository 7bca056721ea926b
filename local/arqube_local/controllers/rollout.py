"""Decide how a Deployment moves to its template: which ReplicaSet runs how many pods, and what its status says.

The arithmetic is kube-controller-manager's (``pkg/controller/deployment/rolling.go`` and ``recreate.go``), one step a
pass. Left out: pausing, and spreading a scale-up over old and new ReplicaSets in proportion; here the new one takes all
of it, within the same bounds of surge and unavailability.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Rollout:
    """What a Deployment asks for, with percentages already resolved to pods."""

    replicas: int
    template_hash: str
    max_surge: int = 0
    max_unavailable: int = 0
    recreate: bool = False
    history_limit: int = 10
    progress_deadline_s: float = 600.0


@dataclass(frozen=True)
class ReplicaSetState:
    """A ReplicaSet of the Deployment and its pods now."""

    name: str
    template_hash: str
    revision: int
    created: float
    desired: int
    replicas: int
    """Pods that are neither ended nor being deleted."""
    ready: int
    available: int
    lingering: int = 0
    """Pods being deleted whose processes still run."""


@dataclass(frozen=True)
class RolloutPlan:
    """The next step: the ReplicaSet of the template (made if missing), new sizes, and ReplicaSets nobody needs."""

    revision: int
    create: int | None = None
    """Size of the template's ReplicaSet, where it has to be made."""
    resize: tuple[tuple[str, int], ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class RolloutStatus:
    """The counts of a Deployment's status."""

    replicas: int
    updated: int
    ready: int
    available: int
    unavailable: int


@dataclass(frozen=True)
class Condition:
    """A condition of a Deployment; times are seconds since the epoch."""

    type: str
    status: bool
    reason: str
    message: str
    changed: float
    updated: float


def resolve_bounds(replicas: int, max_surge: int | str, max_unavailable: int | str) -> tuple[int, int]:
    """Pods above and below ``replicas`` that a rolling update may take; never (0, 0), which could not move.

    Percentages of surge round up, of unavailability down (API reference of RollingUpdateDeployment).
    """
    surge = math.ceil(_pods(max_surge, replicas))
    unavailable = math.floor(_pods(max_unavailable, replicas))
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _pods(value: int | str, replicas: int) -> float:
    return value if isinstance(value, int) else int(value.removesuffix("%")) * replicas / 100


def current_set(rollout: Rollout, sets: Iterable[ReplicaSetState]) -> ReplicaSetState | None:
    """The ReplicaSet of the Deployment's template; the oldest, should there be two."""
    matching = [each for each in sets if each.template_hash == rollout.template_hash]
    return min(matching, key=lambda each: each.created, default=None)


def plan_rollout(rollout: Rollout, sets: tuple[ReplicaSetState, ...]) -> RolloutPlan:
    """The next step from what runs to what the Deployment asks for."""
    current = current_set(rollout, sets)
    old = tuple(sorted((each for each in sets if each is not current), key=lambda each: (each.created, each.name)))
    revision = _revision(current, old)
    if rollout.recreate:
        return _recreate(rollout, current, old, revision)
    total = sum(each.desired for each in sets)
    if current is None:
        return RolloutPlan(revision, create=_grown(rollout, 0, total))
    size = min(rollout.replicas, _grown(rollout, current.desired, total))
    if size != current.desired:
        return RolloutPlan(revision, resize=((current.name, size),))
    if shrunk := _shrink_old(rollout, current, old):
        return RolloutPlan(revision, resize=shrunk)
    return RolloutPlan(revision, remove=_forgotten(rollout, sets, old))


def _revision(current: ReplicaSetState | None, old: tuple[ReplicaSetState, ...]) -> int:
    highest = max((each.revision for each in old), default=0)
    return current.revision if current is not None and current.revision > highest else highest + 1


def _grown(rollout: Rollout, size: int, total: int) -> int:
    room = rollout.replicas + rollout.max_surge - total
    return size + max(0, min(room, rollout.replicas - size))


def _recreate(
    rollout: Rollout, current: ReplicaSetState | None, old: tuple[ReplicaSetState, ...], revision: int
) -> RolloutPlan:
    if running := tuple((each.name, 0) for each in old if each.desired):
        return RolloutPlan(revision, resize=running)
    if any(each.replicas or each.lingering for each in old):
        return RolloutPlan(revision)
    if current is None:
        return RolloutPlan(revision, create=rollout.replicas)
    if current.desired != rollout.replicas:
        return RolloutPlan(revision, resize=((current.name, rollout.replicas),))
    return RolloutPlan(revision, remove=_forgotten(rollout, (current, *old), old))


def _shrink_old(
    rollout: Rollout, current: ReplicaSetState, old: tuple[ReplicaSetState, ...]
) -> tuple[tuple[str, int], ...]:
    """Old ReplicaSets' smaller sizes: first their pods that serve nobody, then as many as availability allows."""
    min_available = rollout.replicas - rollout.max_unavailable
    everything = (current, *old)
    spare = sum(each.desired for each in everything) - min_available - (current.desired - current.available)
    if spare <= 0:
        return ()
    sizes = {each.name: each.desired for each in old}
    for each in old:
        unhealthy = min(spare, each.desired - min(each.available, each.desired))
        sizes[each.name] -= unhealthy
        spare -= unhealthy
    surplus = sum(each.available for each in everything) - min_available
    for each in old:
        healthy = min(max(0, surplus), sizes[each.name])
        sizes[each.name] -= healthy
        surplus -= healthy
    return tuple((each.name, sizes[each.name]) for each in old if sizes[each.name] != each.desired)


def _forgotten(
    rollout: Rollout, sets: tuple[ReplicaSetState, ...], old: tuple[ReplicaSetState, ...]
) -> tuple[str, ...]:
    """Empty old ReplicaSets beyond the history, oldest revision first; none before the rollout is complete."""
    if not complete(rollout, rollout_status(rollout, sets)):
        return ()
    empty = sorted(
        (each for each in old if not (each.desired or each.replicas or each.lingering)), key=lambda each: each.revision
    )
    return tuple(each.name for each in empty[: max(0, len(empty) - rollout.history_limit)])


def rollout_status(rollout: Rollout, sets: tuple[ReplicaSetState, ...]) -> RolloutStatus:
    """The counts over all ReplicaSets of a Deployment."""
    current = current_set(rollout, sets)
    available = sum(each.available for each in sets)
    return RolloutStatus(
        replicas=sum(each.replicas for each in sets),
        updated=current.replicas if current else 0,
        ready=sum(each.ready for each in sets),
        available=available,
        unavailable=max(0, sum(each.desired for each in sets) - available),
    )


def complete(rollout: Rollout, status: RolloutStatus) -> bool:
    """Every pod wanted is of the template and available, and no other is left."""
    return status.updated == status.replicas == status.available == rollout.replicas


def conditions(
    rollout: Rollout,
    name: str,
    before: RolloutStatus,
    status: RolloutStatus,
    previous: tuple[Condition, ...],
    now: float,
) -> tuple[Condition, ...]:
    """``Available`` and ``Progressing`` as ``kubectl rollout status`` and ``kubectl wait`` read them.

    Args:
        rollout: What the Deployment asks for.
        name: The Deployment's, for messages.
        before: Its counts at the pass before this one.
        status: Its counts now.
        previous: Its conditions at the pass before.
        now: Seconds since the epoch.
    """
    known = {each.type: each for each in previous}
    enough = status.available >= rollout.replicas - (0 if rollout.recreate else rollout.max_unavailable)
    available = (
        (True, "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if enough
        else (False, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    )
    progressing = known.get("Progressing")
    if complete(rollout, status):
        progress = (True, "NewReplicaSetAvailable", f'Deployment "{name}" has successfully progressed.')
    elif progressing is None or _moved(before, status):
        progress = (True, "ReplicaSetUpdated", f'Deployment "{name}" is progressing.')
    elif progressing.reason == "NewReplicaSetAvailable" or now - progressing.updated <= rollout.progress_deadline_s:
        # A complete rollout does not turn back by a pod that fails later: its deadline is over.
        progress = (progressing.status, progressing.reason, progressing.message)
    else:
        progress = (False, "ProgressDeadlineExceeded", f'Deployment "{name}" has timed out progressing.')
    moved = _moved(before, status)
    return (
        _condition("Available", available, known.get("Available"), now, touched=False),
        _condition("Progressing", progress, progressing, now, touched=moved),
    )


def _moved(before: RolloutStatus, status: RolloutStatus) -> bool:
    old_before, old_now = before.replicas - before.updated, status.replicas - status.updated
    return (
        status.updated > before.updated
        or old_now < old_before
        or status.ready > before.ready
        or status.available > before.available
    )


def _condition(
    kind: str, value: tuple[bool, str, str], previous: Condition | None, now: float, *, touched: bool
) -> Condition:
    status, reason, message = value
    if previous is None:
        return Condition(kind, status, reason, message, changed=now, updated=now)
    same = (previous.status, previous.reason, previous.message) == value
    return Condition(
        kind,
        status,
        reason,
        message,
        changed=previous.changed if previous.status == status else now,
        updated=previous.updated if same and not touched else now,
    )
