"""What the words of a TaskQueue's status mean, for whoever shows it to a person: reasons, limits, what needs a look."""

from __future__ import annotations

from typing import Final

from arqube_operator.api.v1alpha1 import Condition, ScalingSpec, TaskQueueStatus
from arqube_operator.decide.conditions import SCALING_LIMITED, needs_attention

REASONS: Final = {
    "ScalingUp": "more workers are needed",
    "ScalingDown": "fewer workers are needed",
    "CoolingDown": "fewer would do, but not for long enough yet",
    "Steady": "as many as are needed",
    "Idle": "there is nothing to do",
    "AtMaxReplicas": "more would help, but no more are allowed",
    "AtMinReplicas": "fewer would do, but no fewer are allowed",
    "Paused": "scaling is paused",
    "ManualReplicas": "a person set the number",
    "NotYetRead": "the queue was not read yet",
}
"""What ``status.scaling.reason`` says, in words."""

REMEDIES: Final = {
    "MaxReplicas": "The jobs need more workers than spec.scaling.maxReplicas ({scaling.max_replicas}) allows. Raise it,"
    " or set an easier target.",
    "MinReplicas": "Fewer would do, but spec.scaling.minReplicas keeps {scaling.min_replicas}. Lower it to let"
    " them go.",
    "Schedule": "Fewer would do, but a window of spec.scaling.schedules is open. Nothing to do, unless it"
    " should not be.",
    "ScaleUpLimit": "More are needed at once than spec.scaling.scaleUp allows within its period. Raise its maxPods or"
    " maxPercent to scale up faster.",
    "ScaleDownLimit": "More could go at once than spec.scaling.scaleDown allows within its period. Raise its maxPods or"
    " maxPercent to scale down faster.",
    "Stabilization": "The number changes when it was called for long enough: stabilization is"
    " {scaling.scale_up.stabilization} on the way up and {scaling.scale_down.stabilization} on the way down.",
    "Cooldown": "The last worker goes when there was no work for spec.scaling.cooldown ({scaling.cooldown}).",
    "Tolerance": "The difference is within spec.scaling.tolerance ({scaling.tolerance} %): not worth a change.",
    "Activation": "The first worker comes when more than spec.scaling.activationJobs ({scaling.activation_jobs}) jobs"
    " wait.",
    "Paused": "spec.scaling.paused is {scaling.paused}. Remove it to scale again.",
    "Fallback": "Redis is away, so spec.scaling.fallback sets the least number until it is back.",
    "Unschedulable": "No node takes some of the workers. Add nodes, or lower the requests in spec.worker.podTemplate;"
    " kubectl describe of a Pending pod tells what is short.",
    "ReadLimit": "More workers would find no jobs: plain arq reads only so far into the queue. Use the Arqube worker"
    " (spec.worker.runtime), or raise spec.worker.concurrency.",
    "BusyWorkers": "Workers that are to go still run jobs, and none is cut: they go when their jobs have ended.",
    "DryRun": "This is what would be done. Set spec.scaling.dryRun to false to have it done.",
}
"""What to do about the limit that binds."""


def remedy(scaling: ScalingSpec, limit: str | None) -> str | None:
    """What to do about ``limit``; None where none binds, or none that is known here."""
    text = REMEDIES.get(limit or "")
    return None if text is None else text.format(scaling=scaling)


def attention(status: TaskQueueStatus) -> list[Condition]:
    """The conditions that somebody should look at; what several of them say is told once."""
    found = [
        condition
        for condition in status.conditions
        if needs_attention(condition.status == "False", condition.reason) and condition.type != SCALING_LIMITED
    ]
    told: dict[tuple[str, str], Condition] = {}
    for condition in sorted(found, key=lambda condition: condition.type == "Ready"):
        told.setdefault((condition.reason, condition.message), condition)
    return list(told.values())
