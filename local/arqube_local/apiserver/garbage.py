"""The garbage collector: what lost its owners goes, and so does what is left in a namespace that is being deleted."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import structlog

from arqube_local.apiserver.errors import StatusError
from arqube_local.apiserver.kinds import NAMESPACES, Kind
from arqube_local.apiserver.registry import FOREGROUND, Deletion, Registry, Writer

SETTLE_S: Final = 0.02
"""Changes come in bunches: one round serves all those of so many seconds."""
SHARE: Final = 0.1
"""Most of the server's time that rounds may take: each looks at everything there is."""

Body = Mapping[str, Any]
log = structlog.get_logger(__name__)
_WRITER: Final = Writer("garbage-collector", validation="Ignore")


async def collect_garbage(registry: Registry) -> None:
    """Collect after every change, until cancelled."""
    while True:
        changed = registry.store.changed()  # asked for first: what this round deletes is a change too
        began = time.monotonic()
        try:
            collect(registry)
        except Exception:
            # One object that cannot be collected must not end collecting for good.
            log.exception("garbage_collection_failed")
        took_s = time.monotonic() - began
        await changed
        await asyncio.sleep(max(SETTLE_S, took_s / SHARE))


def collect(registry: Registry) -> None:
    """One round: delete what is to go now. What it deletes may set others free, for the next round."""
    served = {kind.key: kind for kind in registry.kinds}
    bodies = [(served[key], body) for key, body in registry.store.everything() if key in served]
    alive = {body["metadata"]["uid"] for _, body in bodies}
    owned: dict[str, list[tuple[Kind, Body]]] = {}
    for kind, body in bodies:
        for owner in body["metadata"].get("ownerReferences") or ():
            owned.setdefault(owner["uid"], []).append((kind, body))
    doomed = [*_orphans(bodies, alive), *_in_ending_namespaces(bodies)]
    for kind, body in bodies:
        if "deletionTimestamp" in body["metadata"] and FOREGROUND in (body["metadata"].get("finalizers") or ()):
            dependents = owned.get(body["metadata"]["uid"], [])
            doomed += dependents
            if not dependents:
                _finish_foreground(registry, kind, body)
    for kind, body in doomed:
        _delete(registry, kind, body)
    for kind, body in bodies:
        if kind == NAMESPACES and "deletionTimestamp" in body["metadata"]:
            _delete(registry, kind, body)


def orphan_dependents(registry: Registry, uid: str) -> None:
    """Take the owner ``uid`` off all that it owns, so that nothing of it goes with it."""
    served = {kind.key: kind for kind in registry.kinds}
    for key, body in list(registry.store.everything()):
        owners = body["metadata"].get("ownerReferences") or ()
        if key in served and any(owner["uid"] == uid for owner in owners):
            left = [owner for owner in owners if owner["uid"] != uid]
            place = (body["metadata"].get("namespace", ""), body["metadata"]["name"])
            registry.update(served[key], *place, _with_metadata("ownerReferences", left), _WRITER)


def _orphans(bodies: list[tuple[Kind, Body]], alive: set[str]) -> Iterator[tuple[Kind, Body]]:
    for kind, body in bodies:
        owners = body["metadata"].get("ownerReferences") or ()
        if owners and not any(owner["uid"] in alive for owner in owners):
            yield kind, body


def _in_ending_namespaces(bodies: list[tuple[Kind, Body]]) -> Iterator[tuple[Kind, Body]]:
    ending = {
        body["metadata"]["name"]
        for kind, body in bodies
        if kind == NAMESPACES and "deletionTimestamp" in body["metadata"]
    }
    return (each for each in bodies if each[1]["metadata"].get("namespace") in ending)


def _finish_foreground(registry: Registry, kind: Kind, body: Body) -> None:
    left = [name for name in body["metadata"]["finalizers"] if name != FOREGROUND]
    place = (body["metadata"].get("namespace", ""), body["metadata"]["name"])
    registry.update(kind, *place, _with_metadata("finalizers", left), _WRITER)


def _delete(registry: Registry, kind: Kind, body: Body) -> None:
    metadata = body["metadata"]
    if "deletionTimestamp" in metadata and kind != NAMESPACES:
        return
    try:
        registry.delete(kind, metadata.get("namespace", ""), metadata["name"], Deletion(uid=metadata["uid"]))
    except StatusError as error:
        if error.code not in (404, 409):  # It went, or another took its name, while this round ran.
            raise


def _with_metadata(field: str, value: Any) -> Any:
    return lambda live: {**live, "metadata": {**live["metadata"], field: value}}
