"""Objects, their versions, and the log of changes that watches read. Knows nothing of what objects mean."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

LOG_LENGTH: Final = 2000
"""Changes kept for each kind; a watch from before them is told 410."""
FIRST_REVISION: Final = 1000

KindKey = tuple[str, str]
Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One write: ``old`` is None for a creation, ``new`` for a removal, which still has a version of its own."""

    revision: int
    old: Body | None
    new: Body | None
    last: Body
    """The object as it is, or as it was when it went."""


@dataclass(slots=True)
class _Shelf:
    began: int
    objects: dict[tuple[str, str], Body] = field(default_factory=dict)
    log: deque[Change] = field(default_factory=deque)


class Store:
    """Stored bodies are never changed in place: every write stores a new one."""

    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self._shelves: dict[KindKey, _Shelf] = {}
        self._changed = asyncio.Event()

    def get(self, kind: KindKey, namespace: str, name: str) -> Body | None:
        """The object, if there is one; ``namespace`` is empty for kinds that have none."""
        return self._shelf(kind).objects.get((namespace, name))

    def objects(self, kind: KindKey, namespace: str | None) -> list[Body]:
        """The objects of a namespace, or of all, by namespace and name."""
        objects = self._shelf(kind).objects
        return [body for key, body in sorted(objects.items()) if namespace is None or key[0] == namespace]

    def everything(self) -> Iterator[tuple[KindKey, Body]]:
        """Every object there is."""
        for kind, shelf in self._shelves.items():
            for body in tuple(shelf.objects.values()):
                yield kind, body

    def put(self, kind: KindKey, namespace: str, name: str, body: Body) -> Body:
        """Store ``body`` under a new version and return it with that."""
        shelf = self._shelf(kind)
        stored = self._versioned(body)
        old = shelf.objects.get((namespace, name))
        shelf.objects[namespace, name] = stored
        self._log(shelf, Change(self.revision, old, stored, stored))
        return stored

    def remove(self, kind: KindKey, namespace: str, name: str) -> Body:
        """Take the object away; what it was, under the version of its removal."""
        shelf = self._shelf(kind)
        old = shelf.objects.pop((namespace, name))
        last = self._versioned(old)
        self._log(shelf, Change(self.revision, old, None, last))
        return last

    def changes(self, kind: KindKey, since: int) -> list[Change]:
        """The changes after version ``since``.

        Raises:
            LookupError: They are no longer all known; the argument is the oldest version that is.
        """
        shelf = self._shelf(kind)
        if since < shelf.began:
            raise LookupError(shelf.began)
        recent: list[Change] = []
        for change in reversed(shelf.log):
            if change.revision <= since:
                break
            recent.append(change)
        return recent[::-1]

    def compact(self) -> None:
        """Forget all changes so far, as etcd does every few minutes: who has not seen them is told 410."""
        for shelf in self._shelves.values():
            shelf.log.clear()
            shelf.began = self.revision

    def changed(self) -> Awaitable[Any]:
        """What to await for the next write of any kind; counted from this call and not from the await."""
        return self._changed.wait()

    def stir(self) -> None:
        """Wake whoever waits for a change, to look about."""
        self._changed.set()
        self._changed = asyncio.Event()

    def _versioned(self, body: Body) -> Body:
        self.revision += 1
        return {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.revision)}}

    def _log(self, shelf: _Shelf, change: Change) -> None:
        shelf.log.append(change)
        if len(shelf.log) > LOG_LENGTH:
            shelf.began = shelf.log.popleft().revision
        self.stir()

    def _shelf(self, kind: KindKey) -> _Shelf:
        if kind not in self._shelves:
            self._shelves[kind] = _Shelf(began=self.revision)
        return self._shelves[kind]
