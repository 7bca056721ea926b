"""Version v1alpha1 of the TaskQueue: frozen models that are the one source of the CRD."""

from arqube_operator.api.v1alpha1.redis import RedisSpec, SecretKey, Sentinel, Tls
from arqube_operator.api.v1alpha1.spec import DeadLetterSpec, ScalingSpec, ShutdownSpec, TaskQueueSpec
from arqube_operator.api.v1alpha1.status import Condition, QueueStatus, ScalingStatus, TaskQueueStatus
from arqube_operator.api.v1alpha1.task_queue import GROUP, KIND, VERSION, InvalidTaskQueueError, ObjectMeta, TaskQueue
from arqube_operator.api.v1alpha1.worker import PodTemplate, WorkerSpec

__all__ = [
    "GROUP",
    "KIND",
    "VERSION",
    "Condition",
    "DeadLetterSpec",
    "InvalidTaskQueueError",
    "ObjectMeta",
    "PodTemplate",
    "QueueStatus",
    "RedisSpec",
    "ScalingSpec",
    "ScalingStatus",
    "SecretKey",
    "Sentinel",
    "ShutdownSpec",
    "TaskQueue",
    "TaskQueueSpec",
    "TaskQueueStatus",
    "Tls",
    "WorkerSpec",
]
