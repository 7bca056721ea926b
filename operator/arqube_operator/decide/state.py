"""What a decision stands on: one TaskQueue, its workers and its queue, as they are, and what is remembered of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from arqube_operator.api.v1alpha1 import TaskQueueSpec, TaskQueueStatus
from arqube_queue.model import QueueSnapshot

if TYPE_CHECKING:
    from arqube_operator.decide.scaling import ScalingMemory

UNSCHEDULABLE: Final = "Unschedulable"
"""The failure of a pod that no node takes."""
DEFAULT_STARTUP_S: Final = 10.0
"""Assumed seconds from a pod's creation to its readiness, until one was seen."""
LONGEST_STARTUP_S: Final = 600.0
"""The longest that is believed, of whom it may be."""
COUNTS_INTERVAL_S: Final = 2.0
"""Counts alone are written at most this often; what changed the number of workers or a condition, at once."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which TaskQueue: the object's name, namespace, uid and generation."""

    name: str
    namespace: str
    uid: str
    generation: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """The live Deployment of the workers.

    Attributes:
        spec_hash: Our annotation: the hash of the manifest it was last made from.
        generation: Raised by the API server at each change of its spec, by whomever.
        spec_replicas: Workers asked for.
        replicas: Pods that exist.
        ready_replicas: Pods that take jobs.
        updated_replicas: Pods of the newest template.
        problem: Why Kubernetes makes no pods, such as a quota; None when it does.
    """

    spec_hash: str
    generation: int
    spec_replicas: int
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Pod:
    """One worker pod.

    Attributes:
        created_s: Unix seconds.
        ready_s: Unix seconds since which it is ready; None when it is not.
        terminating: It was asked to go, or has ended.
        template: Names the pod template it was made from, among the pods of one Deployment.
        failure: Why it cannot run before somebody does something, such as ``ImagePullFailed``; None when it can.
        failure_message: The same in words.
        deletion_cost: The annotation ``controller.kubernetes.io/pod-deletion-cost``; None when absent.
    """

    name: str
    created_s: float
    ready_s: float | None = None
    terminating: bool = False
    template: str = ""
    failure: str | None = None
    failure_message: str = ""
    deletion_cost: int | None = None

    @property
    def unschedulable(self) -> bool:
        """No node takes it; ``failure_message`` has the scheduler's words."""
        return self.failure == UNSCHEDULABLE


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, as a condition shows it: a CamelCase reason and a sentence that names the remedy."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What is remembered of a TaskQueue between decisions; a new leader starts with an empty one.

    Attributes:
        since_s: Unix seconds since which it is watched; None before the first decision.
        scaling: What the policy remembers; None before its first decision.
        retire: The pods that were asked to take no more jobs; None before the first decision with a view of the queue:
            those that the leader before asked may be on their way out.
        leaving: The pods that a scale-down has given away, with the Unix seconds of that.
        applied_generation: The Deployment's generation after our last write; another means that somebody changed it.
        applied_s: Unix seconds of our last apply of the manifest.
        status_s: Unix seconds of our last write of the status.
        rejection: Why the API server refused our last write, until it takes one.
    """

    since_s: float | None = None
    scaling: ScalingMemory | None = None
    retire: frozenset[str] | None = None
    leaving: Mapping[str, float] = field(default_factory=dict)
    applied_generation: int | None = None
    applied_s: float = 0.0
    status_s: float = 0.0
    rejection: Problem | None = None


@dataclass(frozen=True, slots=True)
class State:
    """All that is known of one TaskQueue now.

    Attributes:
        status: The status the object shows now.
        runtime_image: The image that the workers' runtime is injected from.
        deployment: None when there is none.
        pods: The workers' pods, terminating ones included.
        queue: The newest snapshot; None when the queue was never read.
        redis_problem: Why the queue cannot be read now; None when it can, or was not tried yet.
        counts_interval_s: Seconds between writes of a status in which counts alone have changed.
        first_applies_s: Seconds within which a new leader applies the manifests of all TaskQueues anew.
    """

    identity: Identity
    spec: TaskQueueSpec
    status: TaskQueueStatus
    runtime_image: str
    deployment: Deployment | None = None
    pods: tuple[Pod, ...] = ()
    queue: QueueSnapshot | None = None
    redis_problem: Problem | None = None
    memory: Memory = field(default_factory=Memory)
    counts_interval_s: float = COUNTS_INTERVAL_S
    first_applies_s: float = 0.0

    @property
    def startup_s(self) -> float:
        """Seconds within which nearly every new pod is ready: learned, else what the status remembers.

        Sets how far ahead deferred jobs are looked for.
        """
        if self.memory.scaling is not None:
            return self.memory.scaling.startup_s
        remembered = self.status.scaling.startup_seconds if self.status.scaling else None
        return DEFAULT_STARTUP_S if remembered is None else min(remembered, LONGEST_STARTUP_S)
