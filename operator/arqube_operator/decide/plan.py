"""``decide``: from what is to what shall be done about it, each step with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from zlib import crc32

from arqube_operator.api.v1alpha1 import Condition, TaskQueueStatus
from arqube_operator.decide.conditions import SCALING_LIMITED, Finding, find_conditions
from arqube_operator.decide.departure import (
    deletion_costs,
    fewest_without_harm,
    still_leaving,
    victims,
    without,
)
from arqube_operator.decide.manifest import deployment, deployment_name, spec_hash
from arqube_operator.decide.scaling import Decision, decide_replicas
from arqube_operator.decide.state import Memory, State
from arqube_operator.decide.status import next_status

RESYNC_S: Final = 600.0
"""The manifest is applied anew after so many seconds even when nothing seems changed: what an event missed heals."""
QUIET_S: Final = 60.0
"""A limit that binds again within so many seconds is not told in another Event."""

_TOLD_LIMITS: Final = frozenset({"MaxReplicas", "ReadLimit", "Unschedulable", "DryRun"})
"""Limits that a person would want to know of at once: more workers would help, or nothing is done at all."""


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
        deletion_costs: Pods whose deletion cost must be written before ``replicas``, so that the right ones go.
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
    leaving = still_leaving(state, now)
    state = without(state, leaving)
    decision = _without_harm(state, decide_replicas(state, now))
    live_hash = spec_hash(state.identity, state.spec, state.runtime_image)
    create = state.deployment is None
    applied_s = _applied_s(state, now)
    due = create or _apply_is_due(state, live_hash, now - applied_s)
    replicas = _scale_to(state, decision)
    going = frozenset() if replicas is None else victims(state, replicas, decision.retire)
    leaving.update(dict.fromkeys(going, now))
    retire = frozenset() if state.spec.scaling.dry_run else decision.retire.union(leaving)
    findings = find_conditions(state, decision)
    status = next_status(state, decision, findings, scaled_to=replicas, retiring=len(retire), now=now)
    memory = replace(
        state.memory,
        since_s=now if state.memory.since_s is None else state.memory.since_s,
        scaling=decision.memory,
        retire=state.memory.retire if state.queue is None else retire,
        leaving=leaving,
        applied_s=now if due else applied_s,
        status_s=state.memory.status_s if status is None else now,
    )
    return Plan(
        apply=deployment(state.identity, state.spec, state.runtime_image) if due else None,
        create=create,
        replicas=replicas,
        deletion_costs=deletion_costs(state, going) if going else {},
        retire=retire,
        status=status,
        deeds=_deeds(state, live_hash, decision, replicas),
        transitions=() if status is None else _transitions(state, findings, now),
        decision=decision,
        memory=memory,
    )


def show_only(plan: Plan) -> Plan:
    """What of ``plan`` changes nothing but the status."""
    return replace(plan, apply=None, create=False, replicas=None, deletion_costs={}, deeds=())


def _without_harm(state: State, decision: Decision) -> Decision:
    """``decision`` held where it would cut jobs, unless a person has asked for that number."""
    if not decision.active or decision.replicas is None or state.deployment is None:
        return decision
    if decision.replicas >= state.deployment.spec_replicas:
        return decision
    fewest = fewest_without_harm(state)
    if decision.replicas >= fewest:
        return decision
    return replace(decision, replicas=fewest, limit=decision.limit or "BusyWorkers")


def _applied_s(state: State, now: float) -> float:
    """When the manifest was applied last, in Unix seconds.

    A new leader does not know. It takes those of all TaskQueues to have been applied one after the other, so that it
    applies them anew one after the other, too: at once they would hold up what is urgent, here and at the API server.
    """
    if state.memory.since_s is not None:
        return state.memory.applied_s
    turn = crc32(state.identity.uid.encode()) / 2**32
    return now - RESYNC_S + turn * state.first_applies_s


def _apply_is_due(state: State, wanted_hash: str, age_s: float) -> bool:
    live, memory = state.deployment, state.memory
    if live is None or live.spec_hash != wanted_hash:
        return True
    changed_by_others = memory.applied_generation is not None and live.generation != memory.applied_generation
    return changed_by_others or age_s >= RESYNC_S


def _scale_to(state: State, decision: Decision) -> int | None:
    """The number to write, where it differs from the one that stands."""
    current = state.deployment.spec_replicas if state.deployment else None
    if decision.replicas is None or state.spec.scaling.dry_run:
        # Before the first look at the queue a new Deployment begins with the floor.
        return state.spec.scaling.min_replicas if current is None else None
    return None if decision.replicas == current else decision.replicas


def _deeds(state: State, wanted_hash: str, decision: Decision, replicas: int | None) -> tuple[Event, ...]:
    live, events = state.deployment, []
    if live is None:
        events.append(Event("WorkersCreated", f"created Deployment {deployment_name(state.identity.name)}"))
    elif live.spec_hash != wanted_hash:
        events.append(Event("WorkersUpdated", f"rolling out image {state.spec.worker.image}"))
    if live is not None and replicas is not None:
        verb = "up" if replicas > live.spec_replicas else "down"
        message = f"scaled {verb} from {live.spec_replicas} to {replicas}: {decision.message}"
        events.append(Event(f"Scaled{verb.capitalize()}", message))
    return tuple(events)


def _transitions(state: State, findings: tuple[Finding, ...], now: float) -> tuple[Event, ...]:
    """A warning for each condition that became false, or false for another reason; a note when it is well again.

    Also what begins to keep the number of workers from what the jobs need.
    """
    before = {condition.type: condition for condition in state.status.conditions}
    events = []
    for finding in findings:
        old = before.get(finding.type)
        if finding.type == SCALING_LIMITED and _is_new_limit(finding, old, now):
            events.append(Event(finding.reason, finding.message, warning=finding.reason != "DryRun"))
        if finding.type not in ("RedisReachable", "WorkersAvailable"):
            continue
        if finding.needs_attention:
            if old is None or old.reason != finding.reason:
                events.append(Event(finding.reason, finding.message, warning=True))
        elif finding.status is True and old is not None and old.status == "False" and old.reason != "Starting":
            events.append(Event(f"{finding.type}Again", finding.message))
    return tuple(events)


def _is_new_limit(finding: Finding, old: Condition | None, now: float) -> bool:
    if not finding.status or finding.reason not in _TOLD_LIMITS:
        return False
    if old is None or old.status == "Unknown":
        return True
    since_s = now - datetime.fromisoformat(old.last_transition_time).timestamp()
    return old.reason != finding.reason and since_s >= QUIET_S
