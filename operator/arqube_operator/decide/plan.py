"""``decide``: from what is to what shall be done about it, each step with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from arqube_operator.api.v1alpha1 import TaskQueueStatus
from arqube_operator.decide.conditions import Finding, find_conditions
from arqube_operator.decide.manifest import SPEC_HASH_ANNOTATION, deployment
from arqube_operator.decide.scaling import Decision, decide_replicas
from arqube_operator.decide.state import Memory, State
from arqube_operator.decide.status import next_status, status_is_due

RESYNC_S: Final = 600.0
"""The manifest is applied anew after so many seconds even when nothing seems changed: what an event missed heals."""


@dataclass(frozen=True, slots=True)
class Event:
    """What a person finds in ``kubectl describe``: a CamelCase reason, a sentence, and whether it is a warning."""

    reason: str
    message: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, in this order: apply, deletion costs, scale, status, Events.

    Attributes:
        apply: The Deployment's manifest to apply; None leaves it.
        create: The Deployment does not exist yet and begins with ``replicas``.
        replicas: The number to write to ``/scale``; None leaves it.
        deletion_costs: Pods whose deletion cost must be written before ``replicas``, busy pods costing more.
        retire: Names of the pods that shall take no more jobs from the next reading of the queue on.
        status: The status to write; None leaves the one that stands.
        deeds: Events that tell what apply and scale did, to be posted once they are done.
        transitions: Events that tell what has changed in the conditions, to be posted once the status is written.
        decision: The number of workers wanted and why.
        memory: To be remembered for the next decision.
    """

    apply: Mapping[str, Any] | None
    create: bool
    replicas: int | None
    deletion_costs: Mapping[str, int]
    retire: frozenset[str]
    status: TaskQueueStatus | None
    deeds: tuple[Event, ...]
    transitions: tuple[Event, ...]
    decision: Decision
    memory: Memory = field(default_factory=Memory)


def decide(state: State, now: float) -> Plan:
    """The plan for one TaskQueue at ``now`` (Unix seconds). Pure: the same state and time give the same plan."""
    decision = decide_replicas(state, now)
    manifest = deployment(state.identity, state.spec, state.runtime_image)
    create = state.deployment is None
    due = create or _apply_is_due(state, manifest, now)
    replicas = _scale_to(state, decision)
    findings = find_conditions(state, decision)
    status = next_status(state, decision, findings, replicas is not None, now)
    status_due = status_is_due(state.status, status, now - state.memory.status_s)
    memory = replace(
        state.memory,
        since_s=now if state.memory.since_s is None else state.memory.since_s,
        scaling=decision.memory,
        retire=decision.retire,
        applied_s=now if due else state.memory.applied_s,
        status_s=now if status_due else state.memory.status_s,
    )
    return Plan(
        apply=manifest if due else None,
        create=create,
        replicas=replicas,
        deletion_costs=_deletion_costs(state, replicas),
        retire=decision.retire,
        status=status if status_due else None,
        deeds=_deeds(state, manifest, decision, replicas),
        transitions=_transitions(state, findings) if status_due else (),
        decision=decision,
        memory=memory,
    )


def show_only(plan: Plan) -> Plan:
    """What of ``plan`` changes nothing but the status."""
    return replace(plan, apply=None, create=False, replicas=None, deletion_costs={}, deeds=())


def _apply_is_due(state: State, manifest: Mapping[str, Any], now: float) -> bool:
    live, memory = state.deployment, state.memory
    if live is None or live.spec_hash != manifest["metadata"]["annotations"][SPEC_HASH_ANNOTATION]:
        return True
    changed_by_others = memory.applied_generation is not None and live.generation != memory.applied_generation
    return changed_by_others or now - memory.applied_s >= RESYNC_S


def _scale_to(state: State, decision: Decision) -> int | None:
    """The number to write, where it differs from the one that stands."""
    current = state.deployment.spec_replicas if state.deployment else None
    if decision.replicas is None:
        # Before the first look at the queue a new Deployment begins with the floor.
        return state.spec.scaling.min_replicas if current is None else None
    return None if decision.replicas == current else decision.replicas


def _deletion_costs(state: State, replicas: int | None) -> dict[str, int]:
    """Before a scale-down: a pod costs as much as it runs jobs, so Kubernetes takes idle pods first."""
    if replicas is None or state.deployment is None or replicas >= state.deployment.spec_replicas:
        return {}
    busy = {beat.worker: beat.busy for beat in state.queue.heartbeats} if state.queue else {}
    costs = {pod.name: busy.get(pod.name, 0) for pod in state.pods if not pod.terminating}
    return {
        pod.name: costs[pod.name]
        for pod in state.pods
        if pod.name in costs and costs[pod.name] != (pod.deletion_cost or 0)
    }


def _deeds(state: State, manifest: Mapping[str, Any], decision: Decision, replicas: int | None) -> tuple[Event, ...]:
    live, events = state.deployment, []
    if live is None:
        events.append(Event("WorkersCreated", f"created Deployment {manifest['metadata']['name']}"))
    elif live.spec_hash != manifest["metadata"]["annotations"][SPEC_HASH_ANNOTATION]:
        events.append(Event("WorkersUpdated", f"rolling out image {state.spec.worker.image}"))
    if live is not None and replicas is not None:
        verb = "up" if replicas > live.spec_replicas else "down"
        message = f"scaled {verb} from {live.spec_replicas} to {replicas}: {decision.message}"
        events.append(Event(f"Scaled{verb.capitalize()}", message))
    return tuple(events)


def _transitions(state: State, findings: tuple[Finding, ...]) -> tuple[Event, ...]:
    """A warning for each condition that became false, or false for another reason; a note when it is well again."""
    before = {condition.type: condition for condition in state.status.conditions}
    events = []
    for finding in findings:
        if finding.type not in ("RedisReachable", "WorkersAvailable"):
            continue
        old = before.get(finding.type)
        if finding.needs_attention:
            if old is None or old.reason != finding.reason:
                events.append(Event(finding.reason, finding.message, warning=True))
        elif finding.status is True and old is not None and old.status == "False" and old.reason != "Starting":
            events.append(Event(f"{finding.type}Again", finding.message))
    return tuple(events)
