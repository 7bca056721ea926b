"""The wire format of a watch: a stream of JSON objects, one a line, each an event."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from arqube_operator.kube.errors import error_of_status


async def events_of(stream: aiohttp.StreamReader) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The events of ``stream`` as ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object, until it ends.

    Raises:
        ApiError: The server reports that the watch failed, such as 410 for a resourceVersion that is too old.
        ValueError: A line is no event.
    """
    async for line in stream:
        event = json.loads(line)
        if not isinstance(event, dict) or not isinstance(event.get("object"), dict):
            raise ValueError("a line of the watch is no event")
        kind, subject = str(event.get("type")), event["object"]
        if kind == "ERROR":
            raise error_of_status(subject)
        if kind != "BOOKMARK":
            yield kind, subject
