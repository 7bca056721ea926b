"""Kubernetes Events about pods; equal ones are counted on one object, as client-go's recorder does."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Final

import structlog

from arqube_local.timestamps import to_timestamp
from arqube_operator.kube.client import EVENTS, ApiError, KubeClient

FIELD_MANAGER: Final = "arqube-kubelet"
_REMEMBERED: Final = 4096
"""Distinct Events whose counts are kept."""

log = structlog.get_logger(__name__)


class EventRecorder:
    """Writes Events; one that cannot be written is logged and dropped, for nothing depends on it."""

    def __init__(self, client: KubeClient, node: str) -> None:
        self._client = client
        self._node = node
        self._counts: dict[str, tuple[int, float]] = {}

    async def record(self, pod: dict[str, Any], reason: str, message: str, *, warning: bool = False) -> None:
        """Post an Event about ``pod``, or count it once more."""
        metadata = pod["metadata"]
        digest = hashlib.sha256(f"{metadata['uid']}/{reason}/{message}".encode()).hexdigest()[:16]
        now = time.time()
        count, first = self._counts.pop(digest, (0, now))
        self._counts[digest] = (count + 1, first)
        if len(self._counts) > _REMEMBERED:
            del self._counts[next(iter(self._counts))]
        name = f"{metadata['name']}.{digest}"
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message,
            "count": count + 1,
            "firstTimestamp": to_timestamp(first),
            "lastTimestamp": to_timestamp(now),
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "reportingInstance": self._node,
        }
        try:
            await self._client.apply(EVENTS, metadata["namespace"], name, body, field_manager=FIELD_MANAGER)
        except ApiError as error:
            log.warning("event_not_recorded", pod=metadata["name"], reason=reason, error=str(error))
