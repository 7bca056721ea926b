"""The sentences a person reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from arqube_operator.decide.scaling.crons import KnownCrons
from arqube_operator.decide.scaling.learning import Rate
from arqube_operator.decide.scaling.limits import Bounds
from arqube_operator.decide.scaling.model import Term
from arqube_queue.model import QueueSnapshot

if TYPE_CHECKING:
    from arqube_operator.api.v1alpha1 import ScalingSpec


def plural(count: int, noun: str) -> str:
    """``1 pod``, ``2 pods``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def arrivals(rate: Rate, service_s: float | None, ask_slots: float, enough_slots: float) -> str:
    """How the pods for the arrivals come about."""
    if rate.mean is None or service_s is None:
        return f"what runs needs {ask_slots:.3g} slots; arrivals and run times are not known yet"
    return (
        f"{rate.mean:.3g} jobs/s x {service_s:.3g} s = {rate.mean * service_s:.3g} busy slots; by the spread of"
        f" arrivals {ask_slots:.3g} to {enough_slots:.3g} when a new pod would be ready"
    )


def backlog(queue: QueueSnapshot, service_s: float | None, max_wait_s: float) -> str:
    """How the pods for what waits come about."""
    due = f" and {queue.due_soon} due soon" if queue.due_soon else ""
    oldest = f", the oldest for {queue.oldest_wait_s:.0f} s" if queue.waiting else ""
    each = "of unknown length" if service_s is None else f"of {service_s:.3g} s each"
    return f"{queue.waiting} waiting{due} {each}{oldest}, to start within {max_wait_s:g} s"


def jobs(queue: QueueSnapshot, jobs_per_pod: int) -> str:
    """How the pods by the number of jobs come about."""
    return f"{queue.waiting} waiting, {queue.running} running, {queue.due_soon} due soon, at {jobs_per_pod} a pod"


def cron(known: KnownCrons, template: str, now: float) -> str:
    """Why a pod must be there for cron jobs."""
    if known.template != template or known.next_s is None:
        return "workers with these settings have not told their cron jobs yet"
    left_s = known.next_s - now
    return f"a cron job is due in {left_s:.0f} s" if left_s >= 0 else f"a cron job was due {-left_s:.0f} s ago"


def deferred(queue: QueueSnapshot) -> str:
    """Why a pod must be there for deferred jobs."""
    return f"the next deferred job is due in {queue.next_due_s or 0:.0f} s, about a start-up from now"


def decision(
    queue: QueueSnapshot,
    terms: Sequence[Term],
    target: int,
    current: int,
    limits: Bounds,
    limit: str | None,
    retiring: int,
    scaling: ScalingSpec,
) -> str:
    """The decision as one sentence: what there is, what speaks for how many, what holds that back."""
    parts = [f"{queue.waiting} waiting, {queue.running} running, {queue.due_soon} due soon"]
    leading = max(terms, key=_replicas, default=None)
    if leading is not None:
        parts.append(f"{leading.name} {leading.replicas:.3g} of {limits.floor} to {limits.ceiling}: {leading.message}")
    if limit is not None:
        parts.append(_LIMITS[limit].format(scaling=scaling, floor=limits.floor, ceiling=limits.ceiling))
    if target != current:
        parts.append(f"{plural(target, 'worker')} in place of {current}")
    if retiring:
        parts.append(f"{plural(retiring, 'worker')} asked to take no more jobs")
    return "; ".join(parts)


def _replicas(term: Term) -> float:
    return term.replicas


_LIMITS: Final = {
    "MaxReplicas": "more would help, {ceiling} is the maximum",
    "ReadLimit": "more than {ceiling} would get no jobs: plain arq reads only so far into the queue",
    "MinReplicas": "{floor} is the minimum",
    "Schedule": "{floor} is the minimum by schedule",
    "ScaleUpLimit": "no more at once by scaling.scaleUp",
    "ScaleDownLimit": "no fewer at once by scaling.scaleDown",
    "Stabilization": "held by stabilization",
    "Cooldown": "the last one stays until there was no work for {scaling.cooldown}",
    "Tolerance": "the difference is within the tolerance of {scaling.tolerance} %",
    "Activation": "too few for a first worker by scaling.activationJobs {scaling.activation_jobs}",
    "Paused": "scaling is paused: {scaling.paused}",
    "Unschedulable": "no node takes some of the workers",
    "BusyWorkers": "those that are to go still run jobs",
    "DryRun": "nothing is changed in a dry run",
}
