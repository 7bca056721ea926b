"""The HorizontalPodAutoscaler's arithmetic, after ``pkg/controller/podautoscaler/horizontal.go`` of Kubernetes 1.32.

One external metric with an AverageValue target; see
https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

SYNC_S: Final = 15.0
TOLERANCE: Final = 0.1
DOWNSCALE_STABILIZATION_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class ScalingPolicy:
    """At most ``value`` pods, or percent of the pods, within ``period_s`` seconds."""

    type: Literal["Pods", "Percent"]
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """``behavior.scaleUp`` or ``behavior.scaleDown``.

    Attributes:
        stabilization_s: How long a recommendation must hold: the least of them counts upwards, the most downwards.
        policies: Bounds on a step.
        select: Which of the policies' bounds counts; ``Disabled`` allows no step.
    """

    stabilization_s: float
    policies: tuple[ScalingPolicy, ...]
    select: Literal["Max", "Min", "Disabled"] = "Max"


DEFAULT_SCALE_UP: Final = ScalingRules(0.0, (ScalingPolicy("Pods", 4, 15.0), ScalingPolicy("Percent", 100, 15.0)))
DEFAULT_SCALE_DOWN: Final = ScalingRules(DOWNSCALE_STABILIZATION_S, (ScalingPolicy("Percent", 100, 15.0),))


@dataclass(frozen=True, slots=True)
class Behavior:
    """``spec.behavior``; what is not given is Kubernetes' default of ``autoscaling/v2``."""

    scale_up: ScalingRules = DEFAULT_SCALE_UP
    scale_down: ScalingRules = DEFAULT_SCALE_DOWN


def recommend(metric: float, target: float, status_replicas: int) -> int:
    """Pods for ``metric`` at ``target`` a pod: ``GetExternalPerPodMetricReplicas``.

    The number stays while the metric is within the tolerance of what the pods are for.
    """
    if status_replicas > 0 and 1.0 - TOLERANCE <= metric / (target * status_replicas) <= 1.0 + TOLERANCE:
        return status_replicas
    return math.ceil(metric / target)


class Hpa:
    """One HorizontalPodAutoscaler, with what the controller remembers of it.

    Args:
        behavior: None is the rule without ``spec.behavior``: the most of the last 300 s, and upwards at most to
            ``max(2 x current, 4)`` a sync.
    """

    def __init__(self, min_replicas: int, max_replicas: int, target: float, behavior: Behavior | None = None) -> None:
        self._min = min_replicas
        self._max = max_replicas
        self._target = target
        self._behavior = behavior
        self._recommendations: list[tuple[float, int]] = []
        self._changes: list[tuple[float, int]] = []
        rules = (behavior.scale_up, behavior.scale_down) if behavior else ()
        self._longest_period_s = max((each.period_s for side in rules for each in side.policies), default=0.0)

    def sync(self, now: float, metric: float, spec_replicas: int, status_replicas: int) -> int:
        """The number to set at ``now``: ``reconcileAutoscaler``. At 0 the HPA is switched off."""
        if not self._recommendations:
            self._recommendations.append((now, spec_replicas))
        if spec_replicas == 0:
            return 0
        wanted = recommend(metric, self._target, status_replicas)
        if spec_replicas > self._max:
            desired = self._max
        elif spec_replicas < self._min:
            desired = self._min
        elif self._behavior is None:
            desired = self._plain(now, spec_replicas, wanted)
        else:
            desired = self._behaved(now, spec_replicas, wanted, self._behavior)
        if desired != spec_replicas:
            self._changes = [change for change in self._changes if change[0] > now - self._longest_period_s]
            self._changes.append((now, desired - spec_replicas))
        return desired

    def _plain(self, now: float, current: int, wanted: int) -> int:
        """``normalizeDesiredReplicas``."""
        recent = [entry for entry in self._recommendations if entry[0] >= now - DOWNSCALE_STABILIZATION_S]
        self._recommendations = [*recent, (now, wanted)]
        stable = max(count for _, count in self._recommendations)
        return max(self._min, min(stable, self._max, max(2 * current, 4)))

    def _behaved(self, now: float, current: int, wanted: int, behavior: Behavior) -> int:
        """``normalizeDesiredReplicasWithBehaviors``: stabilize, then limit the step."""
        up, down = behavior.scale_up, behavior.scale_down
        least = min([wanted, *(count for time, count in self._recommendations if time > now - up.stabilization_s)])
        most = max([wanted, *(count for time, count in self._recommendations if time > now - down.stabilization_s)])
        kept_s = max(up.stabilization_s, down.stabilization_s)
        recent = [entry for entry in self._recommendations if entry[0] > now - kept_s]
        self._recommendations = [*recent, (now, wanted)]
        stable = min(max(current, least), most)
        if stable > current:
            return min(stable, self._max, max(current, self._up_limit(now, current, up)))
        if stable < current:
            return max(stable, self._min, min(current, self._down_limit(now, current, down)))
        return stable

    def _up_limit(self, now: float, current: int, rules: ScalingRules) -> int:
        """``calculateScaleUpLimitWithScalingRules``."""
        if rules.select == "Disabled":
            return current
        limits = []
        for policy in rules.policies:
            start = current - self._changed(now, policy.period_s)
            grown = start + policy.value if policy.type == "Pods" else math.ceil(start * (1 + policy.value / 100))
            limits.append(grown)
        return max(limits) if rules.select == "Max" else min(limits)

    def _down_limit(self, now: float, current: int, rules: ScalingRules) -> int:
        """``calculateScaleDownLimitWithBehaviors``."""
        if rules.select == "Disabled":
            return current
        limits = []
        for policy in rules.policies:
            start = current - self._changed(now, policy.period_s)
            limits.append(start - policy.value if policy.type == "Pods" else int(start * (1 - policy.value / 100)))
        return min(limits) if rules.select == "Max" else max(limits)

    def _changed(self, now: float, period_s: float) -> int:
        """How many pods more there are than ``period_s`` ago, by the HPA's own changes."""
        return sum(change for time, change in self._changes if time > now - period_s)
