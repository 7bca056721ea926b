"""A watch: what changes after a version, as a stream of events, until the client goes or its time is over."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from arqube_local.apiserver.errors import expired
from arqube_local.apiserver.faults import Faults
from arqube_local.apiserver.kinds import Kind
from arqube_local.apiserver.selectors import Matcher
from arqube_local.apiserver.store import Change, Store

BOOKMARK_S: Final = 10.0
"""Seconds between bookmarks of a quiet watch that asked for them; a real server sends one about a minute."""
INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"

Body = Mapping[str, Any]
Render = Callable[[Body], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class WatchRequest:
    """What is watched: of ``kind`` what ``matches`` in ``namespace``, or in all.

    ``since`` is the version to begin after; None begins with what there is. ``initial_events`` asks for that, and for
    a bookmark at its end (KEP-3157).
    """

    kind: Kind
    namespace: str | None
    matches: Matcher
    since: int | None
    initial_events: bool
    bookmarks: bool
    timeout_s: float


async def events(store: Store, request: WatchRequest, render: Render, faults: Faults) -> AsyncIterator[bytes]:
    """The lines of the answer."""
    seen = store.revision if request.since is None else request.since
    if request.since is None or request.initial_events:
        seen = store.revision
        for body in store.objects(request.kind.key, request.namespace):
            if request.matches(body):
                yield _line("ADDED", render(_typed(request.kind, body)))
        if request.initial_events:
            yield _bookmark(request.kind, seen, {INITIAL_EVENTS_END: "true"})
    endings = faults.endings
    deadline = asyncio.get_running_loop().time() + request.timeout_s
    while (left_s := deadline - asyncio.get_running_loop().time()) > 0:
        await faults.while_watches_are_silent()
        if faults.endings != endings:
            yield _line("ERROR", faults.ending().to_object())
            return
        try:
            changes = store.changes(request.kind.key, seen)
        except LookupError as error:
            yield _line("ERROR", expired(seen, error.args[0]).to_object())
            return
        seen = store.revision
        for change in changes:
            for kind, body in _told(change, request):
                yield _line(kind, render(_typed(request.kind, body)))
        if store.revision > seen:
            continue
        try:
            # Not wait_for: before Python 3.12 it swallows a cancellation that meets the change.
            async with asyncio.timeout(min(left_s, BOOKMARK_S)):
                await store.changed()
        except TimeoutError:
            if request.bookmarks:
                yield _bookmark(request.kind, seen, {})


def _told(change: Change, request: WatchRequest) -> Iterator[tuple[str, Body]]:
    """The event of a change for one watcher: an object that comes to match was added to what it sees."""
    if request.namespace is not None and change.last["metadata"].get("namespace") != request.namespace:
        return
    before = change.old is not None and request.matches(change.old)
    after = change.new is not None and request.matches(change.new)
    if after:
        yield ("MODIFIED" if before else "ADDED"), change.last
    elif before:
        yield "DELETED", change.last


def _typed(kind: Kind, body: Body) -> Body:
    return {**body, "apiVersion": kind.api_version, "kind": kind.kind}


def _bookmark(kind: Kind, revision: int, annotations: Mapping[str, str]) -> bytes:
    metadata = {"resourceVersion": str(revision), "creationTimestamp": None, "annotations": dict(annotations)}
    return _line("BOOKMARK", {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata})


def _line(kind: str, body: Body) -> bytes:
    return json.dumps({"type": kind, "object": body}, separators=(",", ":")).encode() + b"\n"
