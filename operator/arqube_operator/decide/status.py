"""The status a TaskQueue shows, and when it is worth a write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Literal

from arqube_operator.api.duration import format_duration
from arqube_operator.api.v1alpha1 import (
    Condition,
    CronStatus,
    LastChange,
    QueueStatus,
    ScalingInputs,
    ScalingStatus,
    ScalingTerm,
    TaskQueueStatus,
)
from arqube_operator.decide.conditions import SCALING_ACTIVE, SCALING_LIMITED, Finding
from arqube_operator.decide.manifest import TASK_QUEUE_LABEL
from arqube_operator.decide.scaling import Decision, Inputs
from arqube_operator.decide.scaling.crons import KnownCrons
from arqube_operator.decide.state import Identity, State
from arqube_queue.model import QueueSnapshot

WORDS_INTERVAL_S: Final = 60.0
"""Sentences alone are written at most this often: some tell how long something takes yet."""

_OF_DECISION: Final = (SCALING_ACTIVE, SCALING_LIMITED)
_CONDITION_STATUS: Final[dict[bool | None, Literal["True", "False", "Unknown"]]] = {
    True: "True",
    False: "False",
    None: "Unknown",
}


def next_status(
    state: State,
    decision: Decision,
    findings: tuple[Finding, ...],
    *,
    scaled_to: int | None,
    retiring: int,
    now: float,
) -> TaskQueueStatus | None:
    """The status that tells ``state`` and ``decision`` at ``now`` (Unix seconds); None while the present one will do.

    Args:
        scaled_to: The number of workers that is written now; None when it stays.
        retiring: Pods that are asked to take no more jobs.
    """
    old, since_write_s = state.status, now - state.memory.status_s
    at_once = scaled_to is not None or essence(old) != _next_essence(state, decision, findings)
    if not at_once and since_write_s < state.counts_interval_s:
        return None
    live = state.deployment
    new = TaskQueueStatus(
        observed_generation=state.identity.generation,
        replicas=live.replicas if live else 0,
        ready_replicas=live.ready_replicas if live else 0,
        desired_replicas=_desired(state, decision),
        selector=_selector(state),
        queue=_queue(state.queue) if state.queue else old.queue,
        scaling=_scaling(state, decision, scaled_to, retiring, now),
        conditions=tuple(_condition(state, finding, now) for finding in findings),
    )
    if at_once or since_write_s >= WORDS_INTERVAL_S:
        return None if new == old else new
    return None if _figures(new) == _figures(old) else new


def invalid_status(identity: Identity, message: str, now: float) -> TaskQueueStatus:
    """The status of an object that passed the CRD and yet cannot be understood; ``message`` names field and remedy."""
    condition = Condition(
        type="Ready",
        status="False",
        reason="InvalidSpec",
        message=message,
        last_transition_time=timestamp(now),
        observed_generation=identity.generation,
    )
    return TaskQueueStatus(observed_generation=identity.generation, conditions=(condition,))


def timestamp(seconds: float) -> str:
    """Unix seconds as the API writes times: RFC 3339 in UTC, whole seconds."""
    # strftime would write the year 1 without its zeros.
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")


def essence(status: TaskQueueStatus) -> tuple[object, ...]:
    """What is told at once: all but counts and sentences."""
    return (
        status.observed_generation,
        status.replicas,
        status.ready_replicas,
        status.desired_replicas,
        status.selector,
        status.scaling and status.scaling.reason,
        [(condition.type, condition.status, condition.reason) for condition in status.conditions],
    )


def _next_essence(state: State, decision: Decision, findings: tuple[Finding, ...]) -> tuple[object, ...]:
    """``essence`` of the status to come, which costs far more to make."""
    live = state.deployment
    return (
        state.identity.generation,
        live.replicas if live else 0,
        live.ready_replicas if live else 0,
        _desired(state, decision),
        _selector(state),
        decision.reason,
        [(finding.type, _CONDITION_STATUS[finding.status], finding.reason) for finding in findings],
    )


def _figures(status: TaskQueueStatus) -> tuple[object, ...]:
    """All but the sentences about the decision, some of which tell how long something takes yet."""
    scaling = status.scaling
    decided = scaling and (
        scaling.startup_seconds,
        scaling.inputs,
        [(term.name, term.replicas) for term in scaling.terms],
        scaling.limit,
        scaling.retiring,
        scaling.crons,
    )
    told = [condition.message for condition in status.conditions if condition.type not in _OF_DECISION]
    return (status.queue, decided, told)


def _desired(state: State, decision: Decision) -> int:
    if decision.replicas is not None:
        return decision.replicas
    return state.deployment.spec_replicas if state.deployment else 0


def _selector(state: State) -> str:
    return f"{TASK_QUEUE_LABEL}={state.identity.name}"


def _scaling(state: State, decision: Decision, scaled_to: int | None, retiring: int, now: float) -> ScalingStatus:
    old, current = state.status.scaling, state.deployment.spec_replicas if state.deployment else 0
    change = old.last_change if old else None
    if scaled_to is not None and scaled_to != current:
        change = LastChange.model_validate(
            {
                "time": timestamp(now),
                "from": current,
                "to": scaled_to,
                "reason": decision.reason,
                "message": decision.message,
            }
        )
    return ScalingStatus(
        reason=decision.reason,
        message=decision.message,
        last_scale_time=timestamp(now) if scaled_to is not None else (old.last_scale_time if old else None),
        startup_seconds=round(state.startup_s, 1),
        inputs=_inputs(decision.inputs) if decision.inputs else (old.inputs if old else None),
        terms=tuple(
            ScalingTerm(name=term.name, replicas=round(term.replicas, 2), message=term.message)
            for term in decision.terms
        ),
        limit=decision.limit,
        retiring=retiring or None,
        last_change=change,
        crons=_crons(decision.memory.crons, old.crons if old else None),
    )


def _inputs(inputs: Inputs) -> ScalingInputs:
    return ScalingInputs(
        waiting=inputs.waiting,
        running=inputs.running,
        due_soon=inputs.due_soon,
        oldest_wait_seconds=round(inputs.oldest_wait_s),
        arrivals_per_second=_rounded(inputs.arrivals_per_s),
        service_seconds=_rounded(inputs.service_s),
        startup_seconds=_rounded(inputs.startup_s),
        busy_slots=inputs.busy_slots,
        slots=inputs.slots,
    )


def _crons(known: KnownCrons, old: CronStatus | None) -> CronStatus | None:
    if not known.template:
        return None
    due = None if known.next_s is None else timestamp(known.next_s)
    if old is not None and (old.template, old.next) == (known.template, due):
        return old
    return CronStatus(template=known.template, next=due)


def _rounded(value: float | None) -> float | None:
    """To three digits, none behind the fourth place, so that a figure which hardly changes is not written again."""
    return None if value is None else round(float(f"{value:.3g}"), 4)


def _queue(queue: QueueSnapshot) -> QueueStatus:
    return QueueStatus(
        waiting=queue.waiting,
        running=queue.running,
        deferred=queue.deferred,
        due_soon=queue.due_soon,
        oldest_wait=format_duration(int(queue.oldest_wait_s)),
        dead_letters=queue.dead_letters,
    )


def _condition(state: State, finding: Finding, now: float) -> Condition:
    status = _CONDITION_STATUS[finding.status]
    old = next((condition for condition in state.status.conditions if condition.type == finding.type), None)
    kept = old is not None and old.status == status
    told = (status, finding.reason, finding.message, state.identity.generation)
    if old is not None and told == (old.status, old.reason, old.message, old.observed_generation):
        return old  # A new one would cost as much as a good part of the decision.
    return Condition(
        type=finding.type,
        status=status,
        reason=finding.reason,
        message=finding.message,
        last_transition_time=old.last_transition_time if old is not None and kept else timestamp(now),
        observed_generation=state.identity.generation,
    )
