"""CustomResourceDefinitions at work: each serves its kinds while it exists, and takes their objects with it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from arqube_local.apiserver.kinds import Kinds, kinds_of
from arqube_local.apiserver.store import Store

Body = Mapping[str, Any]


class Definitions:
    """Keeps ``kinds`` in line with the definitions that are stored."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self._store = store
        self._kinds = kinds

    def serve(self, definition: Body) -> dict[str, Any]:
        """Serve the kinds of ``definition``; it, with the status that it then has."""
        spec = definition["spec"]
        self._kinds.remove(spec["group"], spec["names"]["plural"])
        for kind in kinds_of(definition):
            self._kinds.add(kind)
        stored = [version["name"] for version in spec["versions"] if version.get("storage")]
        conditions = (definition.get("status") or {}).get("conditions") or [
            _condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            _condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ]
        status = {"acceptedNames": spec["names"], "storedVersions": stored, "conditions": conditions}
        return {**definition, "status": status}

    def drop(self, definition: Body) -> None:
        """Serve the kinds of ``definition`` no more; their objects are gone."""
        group, plural = definition["spec"]["group"], definition["spec"]["names"]["plural"]
        self._kinds.remove(group, plural)
        for body in self._store.objects((group, plural), None):
            self._store.remove((group, plural), body["metadata"].get("namespace", ""), body["metadata"]["name"])


def _condition(kind: str, reason: str, message: str) -> dict[str, str]:
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": kind, "status": "True", "lastTransitionTime": since, "reason": reason, "message": message}
