"""What the console sees: each TaskQueue as the controller knows it now, without a read of Kubernetes or Redis."""

from __future__ import annotations

from dataclasses import dataclass, field

from arqube_operator.decide.state import Deployment, Pod
from arqube_operator.observe.cluster import ClusterCache, Key
from arqube_operator.observe.objects import KnownTaskQueue
from arqube_operator.observe.queues import QueueObserver, Reading
from arqube_queue.connection import RedisAddress


@dataclass(frozen=True, slots=True)
class Seen:
    """One TaskQueue.

    Attributes:
        key: Its namespace and name.
        known: The object, as the API server has it.
        deployment: Of its workers; None when there is none.
        pods: Its workers' pods.
        reading: The newest reading of its queue.
        address: Where the queue is; None while it is not watched.
    """

    key: Key
    known: KnownTaskQueue
    deployment: Deployment | None = None
    pods: tuple[Pod, ...] = ()
    reading: Reading = field(default_factory=Reading)
    address: RedisAddress | None = None

    @property
    def desired(self) -> int:
        """Workers there should be: what was decided, even where a dry run does not write it."""
        if self.known.status.desired_replicas is not None:
            return self.known.status.desired_replicas
        return self.deployment.spec_replicas if self.deployment else 0

    @property
    def ready(self) -> int:
        """Workers that take jobs."""
        return self.deployment.ready_replicas if self.deployment else 0


class View:
    """The TaskQueues that the leading operator sees to."""

    def __init__(self, cache: ClusterCache, observer: QueueObserver) -> None:
        self._cache = cache
        self._observer = observer

    def all(self) -> list[Seen]:
        """All of them, by namespace and name."""
        return [seen for key in sorted(self._cache.keys()) if (seen := self.one(key)) is not None]

    def one(self, key: Key) -> Seen | None:
        """One of them; None when there is none."""
        if (known := self._cache.task_queue(key)) is None:
            return None
        return Seen(
            key=key,
            known=known,
            deployment=self._cache.deployment(key),
            pods=self._cache.pods(key),
            reading=self._observer.reading(key),
            address=self._observer.address(key),
        )
