"""The TaskQueues of a run: with different bounds, and one that keeps a worker."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from arqube_operator.kube.client import TASK_QUEUES
from arqube_queue import environment as env
from benchmarks.chaos.clocks import Clock

LEASE_S: Final = 5.0
"""Shorter than the default, as a run is short."""
UNKNOWN_FUNCTION_GRACE_S: Final = 3.0
SHUTDOWN_S: Final = 5.0
MANAGER: Final = "chaos"
NAMESPACE: Final = "default"


@dataclass(frozen=True, slots=True)
class Queue:
    """A TaskQueue.

    Attributes:
        name: The TaskQueue's.
        least, most: Bounds of the number of workers.
        concurrency: Jobs that a worker runs at once.
        share: Of all jobs.
        settings: The class of the app's settings.
    """

    name: str
    least: int
    most: int
    concurrency: int
    share: float
    settings: str = "WorkerSettings"

    @property
    def key(self) -> str:
        """Its queue in Redis."""
        return f"chaos:{self.name}"


QUEUES: Final = (
    Queue("bulk", 0, 3, 50, 0.75),
    Queue("steady", 1, 2, 50, 0.2, "WithCron"),
    Queue("narrow", 0, 2, 10, 0.05),
)


def manifest(queue: Queue, redis: dict[str, Any], ledger: Path, *, image: str = "chaos:1") -> dict[str, Any]:
    """Its TaskQueue on the Redis of ``spec.redis``, whose workers write into the folder ``ledger``."""
    variables = {
        env.LEASE: f"{LEASE_S:g}",
        env.UNKNOWN_FUNCTION_GRACE: f"{UNKNOWN_FUNCTION_GRACE_S:g}",
        env.UVLOOP: "true",
        "ARQUBE_LOG_LEVEL": "WARNING",
        # A URL: the kubelet gives pods a /tmp of their own, and finds such paths in variables.
        "CHAOS_LEDGER": ledger.as_uri(),
        **Clock(ledger.parent, queue.name).variables(),
    }
    container = {"name": "worker", "env": [{"name": name, "value": value} for name, value in variables.items()]}
    return {
        "apiVersion": TASK_QUEUES.api_version,
        "kind": TASK_QUEUES.kind,
        "metadata": {"name": queue.name, "namespace": NAMESPACE},
        "spec": {
            "redis": redis,
            "queueName": queue.key,
            "worker": {
                "image": image,
                "settings": f"chaos_app.{queue.settings}",
                "concurrency": queue.concurrency,
                "podTemplate": {"spec": {"containers": [container]}},
            },
            "scaling": {
                "minReplicas": queue.least,
                "maxReplicas": queue.most,
                "maxWait": "2s",
                "cooldown": "5s",
                "scaleDown": {"stabilization": "5s"},
            },
            "shutdown": {"timeout": f"{SHUTDOWN_S:g}s"},
        },
    }
