"""Version v1alpha1 of the TaskQueue: frozen models that are the one source of the CRD."""

from arqube_operator.api.v1alpha1.redis import RedisSpec, SecretKey, Sentinel, Tls
from arqube_operator.api.v1alpha1.scaling import Fallback, ScaleDownLimits, ScaleLimits, ScalingSpec, Schedule
from arqube_operator.api.v1alpha1.spec import DeadLetterSpec, ShutdownSpec, TaskQueueSpec
from arqube_operator.api.v1alpha1.status import (
    Condition,
    CronStatus,
    LastChange,
    QueueStatus,
    ScalingInputs,
    ScalingStatus,
    ScalingTerm,
    TaskQueueStatus,
)
from arqube_operator.api.v1alpha1.task_queue import GROUP, KIND, VERSION, InvalidTaskQueueError, ObjectMeta, TaskQueue
from arqube_operator.api.v1alpha1.worker import PodTemplate, WorkerSpec

__all__ = [
    "GROUP",
    "KIND",
    "VERSION",
    "Condition",
    "CronStatus",
    "DeadLetterSpec",
    "Fallback",
    "InvalidTaskQueueError",
    "LastChange",
    "ObjectMeta",
    "PodTemplate",
    "QueueStatus",
    "RedisSpec",
    "ScaleDownLimits",
    "ScaleLimits",
    "ScalingInputs",
    "ScalingSpec",
    "ScalingStatus",
    "ScalingTerm",
    "Schedule",
    "SecretKey",
    "Sentinel",
    "ShutdownSpec",
    "TaskQueue",
    "TaskQueueSpec",
    "TaskQueueStatus",
    "Tls",
    "WorkerSpec",
]
