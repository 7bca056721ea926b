"""Follow a kind of object: list it, watch it from there, and begin again whenever the watch ends or fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import structlog

from arqube_operator.kube.client import ApiError, KubeClient, Resource

RETRY_S: Final = 1.0

log = structlog.get_logger(__name__)


async def follow(
    client: KubeClient,
    resource: Resource,
    on_list: Callable[[list[dict[str, Any]]], None],
    on_event: Callable[[str, dict[str, Any]], None],
) -> None:
    """Report all objects of ``resource`` in every namespace until cancelled.

    Args:
        client: Of the API server.
        resource: What to follow.
        on_list: Gets everything there is, at the start and after each gap; what it misses was deleted meanwhile.
        on_event: Gets ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object.
    """
    while True:
        try:
            objects, version = await client.list(resource, None)
            on_list(objects)
            async for kind, each in client.watch(resource, None, resource_version=version):
                on_event(kind, each)
        except ApiError as error:
            log.warning("watch_failed", resource=resource.plural, error=str(error))
            await asyncio.sleep(RETRY_S)
