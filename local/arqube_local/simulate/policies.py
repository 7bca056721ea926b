"""The policies by name, each set up for one TaskQueue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from arqube_local.simulate.hpa import Behavior, ScalingPolicy, ScalingRules
from arqube_local.simulate.keda import HpaAlone, Keda, KedaSettings
from arqube_local.simulate.operator import Operator
from arqube_local.simulate.world import Policy
from arqube_operator.api.v1alpha1 import TaskQueueSpec

_DEFAULT_LIST_LENGTH: Final = 5.0
_DEFAULT_GRACE_S: Final = 30.0
_TUNED_GRACE_S: Final = 60.0
_TUNED_BEHAVIOR: Final = Behavior(
    scale_up=ScalingRules(0.0, (ScalingPolicy("Pods", 10_000, 15.0),)),
    scale_down=ScalingRules(60.0, (ScalingPolicy("Percent", 100, 15.0),)),
)


def _keda(spec: TaskQueueSpec) -> Policy:
    return Keda(
        KedaSettings(
            min_replicas=spec.scaling.min_replicas,
            max_replicas=spec.scaling.max_replicas,
            target=_DEFAULT_LIST_LENGTH,
            grace_s=max(_DEFAULT_GRACE_S, spec.shutdown.timeout_s),
        )
    )


def _keda_tuned(spec: TaskQueueSpec) -> Policy:
    return Keda(
        KedaSettings(
            min_replicas=spec.scaling.min_replicas,
            max_replicas=spec.scaling.max_replicas,
            target=spec.worker.concurrency,
            polling_s=5.0,
            cooldown_s=60.0,
            behavior=_TUNED_BEHAVIOR,
            grace_s=max(_TUNED_GRACE_S, spec.shutdown.timeout_s),
        )
    )


def _hpa(spec: TaskQueueSpec) -> Policy:
    return HpaAlone(
        min_replicas=spec.scaling.min_replicas,
        max_replicas=spec.scaling.max_replicas,
        target=_DEFAULT_LIST_LENGTH,
        grace_s=max(_DEFAULT_GRACE_S, spec.shutdown.timeout_s),
    )


ARQUBE: Final = "arqube"
POLICIES: Final[dict[str, Callable[[TaskQueueSpec], Policy]]] = {
    ARQUBE: Operator,
    "keda": _keda,
    "keda-tuned": _keda_tuned,
    "hpa": _hpa,
}
"""What makes each policy; a grace period is never shorter than the TaskQueue's ``shutdown.timeout``."""
