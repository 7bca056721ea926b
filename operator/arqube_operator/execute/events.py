"""Posts Kubernetes Events beside the work, never in its way: one that cannot be posted is logged and let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from arqube_operator.decide.plan import Event
from arqube_operator.decide.state import Identity
from arqube_operator.decide.status import timestamp
from arqube_operator.kube.client import EVENTS, ApiError, KubeClient

MESSAGE_LIMIT: Final = 1024
"""Characters; the API server refuses longer ones."""
BACKLOG: Final = 1000
"""Events waiting to be posted; beyond that new ones are dropped, as the API server is then in trouble enough."""

log = structlog.get_logger(__name__)


class EventPoster:
    """A queue of Events and the task that posts them."""

    def __init__(self, client: KubeClient, component: str, instance: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._component = component
        self._instance = instance
        self._clock = clock
        self._waiting: asyncio.Queue[tuple[Identity, Event, float]] = asyncio.Queue(BACKLOG)

    def post(self, identity: Identity, *events: Event) -> None:
        """Have ``events`` posted about the TaskQueue."""
        task_queue = f"{identity.namespace}/{identity.name}"
        for event in events:
            level = log.warning if event.warning else log.info
            level("event", task_queue=task_queue, reason=event.reason, message=event.message)
            try:
                self._waiting.put_nowait((identity, event, self._clock()))
            except asyncio.QueueFull:
                log.warning("event.dropped", task_queue=task_queue, reason=event.reason)

    async def run(self) -> None:
        """Post until cancelled."""
        while True:
            identity, event, at = await self._waiting.get()
            try:
                body = self._body(identity, event, timestamp(at))
                await self._client.create(EVENTS, identity.namespace, body, field_manager=self._component)
            except ApiError as error:
                log.warning("event.not_posted", reason=event.reason, error=str(error))

    def _body(self, identity: Identity, event: Event, at: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{identity.name}.", "namespace": identity.namespace},
            "involvedObject": {
                "apiVersion": "arqube.dev/v1alpha1",
                "kind": "TaskQueue",
                "name": identity.name,
                "namespace": identity.namespace,
                "uid": identity.uid,
            },
            "type": "Warning" if event.warning else "Normal",
            "reason": event.reason,
            "message": event.message[:MESSAGE_LIMIT],
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
