"""``status``: what the operator tells of a TaskQueue.

Unknown fields are passed over when it is read: while operators are upgraded, the status may be of a newer one.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, ConfigDict, Field

from arqube_operator.api.rules import ApiModel

_LONGEST_MESSAGE: Final = 32_768

Count = Annotated[int, Field(ge=0)]
Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _is_a_time(text: str) -> str:
    """``text``, if it is one that can be reckoned with: the API server takes some that cannot, such as the year 0."""
    try:
        datetime.fromisoformat(text).astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
    return text


Time = Annotated[str, AfterValidator(_is_a_time), Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC with whole seconds, as 2026-01-31T12:00:00Z."""
Reason = Annotated[str, Field(max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]


class _StatusModel(ApiModel):
    model_config = ConfigDict(extra="ignore")


class Condition(_StatusModel):
    """One aspect of the TaskQueue's state, as Kubernetes' own metav1.Condition."""

    type: Annotated[str, Field(max_length=316, pattern="^[A-Za-z]([A-Za-z0-9]*)$")]
    """Which aspect: Ready, RedisReachable, ScalingActive, ScalingLimited or WorkersAvailable."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so."""
    reason: Reason
    """Why, as one word in CamelCase."""
    message: str = Field(max_length=_LONGEST_MESSAGE)
    """Why, as a sentence."""
    last_transition_time: Time
    """When status last changed."""
    observed_generation: Count | None = None
    """Generation of the TaskQueue that this is about."""


class QueueStatus(_StatusModel):
    """The queue when it was last read."""

    waiting: Count
    """Jobs that are due and do not run."""
    running: Count
    """Jobs that run."""
    deferred: Count
    """Jobs that are due later."""
    due_soon: Count
    """Those of deferred that are due before a new pod would be ready."""
    oldest_wait: str = Field(max_length=64)
    """How long the longest-waiting due job has waited: a duration such as 12s; 0s when none waits."""
    dead_letters: Count = 0
    """Jobs that have failed for good and are kept."""


class ScalingInputs(_StatusModel):
    """The figures that the last decision stands on; those that are not known yet are left out."""

    waiting: Count
    """Jobs that are due and do not run."""
    running: Count
    """Jobs that run."""
    due_soon: Count
    """Jobs that are due before a new pod would be ready."""
    oldest_wait_seconds: Figure
    """Seconds the longest-waiting due job has waited; 0 when none waits."""
    arrivals_per_second: Figure | None = None
    """Jobs that become due a second."""
    service_seconds: Figure | None = None
    """Seconds a job runs on average."""
    startup_seconds: Figure | None = None
    """Seconds a new pod is taken to need until it is ready."""
    busy_slots: Figure | None = None
    """Jobs that the pods run at once, as their heartbeats tell."""
    slots: Figure | None = None
    """Jobs that the ready pods could run at once."""


class ScalingTerm(_StatusModel):
    """A number of pods that something speaks for."""

    name: Reason
    """What speaks for it, as one word in CamelCase such as Arrivals."""
    replicas: Figure
    """How many pods, before rounding."""
    message: str = Field(max_length=1024)
    """How the number comes about, as a sentence."""


class LastChange(_StatusModel):
    """The last change of the number of pods."""

    time: Time
    """When it was made."""
    from_replicas: Count = Field(alias="from")
    """Pods before it."""
    to_replicas: Count = Field(alias="to")
    """Pods after it."""
    reason: Reason
    """Why, as one word in CamelCase."""
    message: str = Field(max_length=_LONGEST_MESSAGE)
    """Why, as a sentence."""


class CronStatus(_StatusModel):
    """What is known of the cron jobs of the workers' settings."""

    template: str = Field(max_length=64)
    """Hash of the pod template whose workers told them; with another one they are learned anew."""
    next: Time | None = None
    """When the next one is due."""


class ScalingStatus(_StatusModel):
    """The last decision on the number of pods."""

    reason: Reason
    """Why so many, as one word in CamelCase."""
    message: str = Field(max_length=_LONGEST_MESSAGE)
    """The terms of the decision as a sentence."""
    last_scale_time: Time | None = None
    """When the number last changed."""
    startup_seconds: Figure | None = None
    """Seconds a new pod is taken to need until it is ready."""
    inputs: ScalingInputs | None = None
    """The figures that the decision stands on."""
    terms: tuple[ScalingTerm, ...] = Field(
        default=(),
        max_length=32,
        strict=False,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """What speaks for which number of pods, in the order considered."""
    limit: Reason | None = None
    """What kept the number from what the terms ask for: MaxReplicas, MinReplicas, Schedule, ScaleUpLimit,
    ScaleDownLimit, Stabilization, Cooldown, Tolerance, Activation, Paused, Fallback, Unschedulable, ReadLimit,
    BusyWorkers or DryRun. Absent where nothing did."""
    retiring: Count | None = None
    """Pods that were asked to take no more jobs."""
    last_change: LastChange | None = None
    """The last change of the number of pods."""
    crons: CronStatus | None = None
    """What is known of the cron jobs of the workers' settings."""


class TaskQueueStatus(_StatusModel):
    """What the operator last saw and decided."""

    observed_generation: Count | None = None
    """Generation of the TaskQueue that this status is about."""
    replicas: Count | None = None
    """Pods that exist."""
    ready_replicas: Count | None = None
    """Pods that take jobs."""
    desired_replicas: Count | None = None
    """Pods there should be."""
    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the pods, for kubectl scale and autoscalers."""
    queue: QueueStatus | None = None
    """The queue when it was last read."""
    scaling: ScalingStatus | None = None
    """The last decision on the number of pods."""
    conditions: tuple[Condition, ...] = Field(
        default=(),
        max_length=16,
        strict=False,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )
    """Ready sums up RedisReachable and WorkersAvailable. ScalingActive and ScalingLimited tell of scaling."""
