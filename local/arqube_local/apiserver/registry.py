"""What creating, changing and deleting an object means: metadata, generations, subresources, finalizers, grace."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from arqube_local.apiserver import defaults, errors, validation
from arqube_local.apiserver.definitions import Definitions
from arqube_local.apiserver.kinds import DEFINITIONS, NAMESPACES, Kind, Kinds
from arqube_local.apiserver.ownership import Manager, tracked
from arqube_local.apiserver.store import Store

Body = Mapping[str, Any]
Change = Callable[[Body], dict[str, Any]]

_SET_BY_US: Final = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "selfLink",
    "uid",
)
_ENDED: Final = ("Succeeded", "Failed")
_NAME_LETTERS: Final = "bcdfghjklmnpqrstvwxz2456789"
FOREGROUND: Final = "foregroundDeletion"


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, and what becomes of fields that nobody knows: ``Strict``, ``Warn`` or ``Ignore``.

    With ``dry_run`` everything is done but the storing.
    """

    manager: str
    validation: str = "Warn"
    applies: bool = False
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list, compare=False)


@dataclass(frozen=True, slots=True)
class Deletion:
    """``DeleteOptions``."""

    grace_period_s: int | None = None
    propagation: str = "Background"
    uid: str | None = None
    resource_version: str | None = None


class Registry:
    """The objects of all kinds, by the rules of the API."""

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self.store = store
        self.kinds = kinds
        self._definitions = Definitions(store, kinds)

    def get(self, kind: Kind, namespace: str, name: str) -> Body:
        """The object.

        Raises:
            StatusError: 404.
        """
        body = self.store.get(kind.key, namespace, name)
        if body is None:
            raise errors.not_found(kind, name)
        return {**body, "apiVersion": kind.api_version}

    def create(self, kind: Kind, namespace: str, body: Body, writer: Writer) -> Body:
        """Store a new object.

        Raises:
            StatusError: 400, 403, 404 for the namespace, 409 or 422.
        """
        body = self._addressed(kind, namespace, body)
        metadata = {key: value for key, value in body["metadata"].items() if key not in _SET_BY_US}
        if not metadata.get("name"):
            if not metadata.get("generateName"):
                raise errors.invalid(
                    kind,
                    "",
                    [errors.Cause("metadata.name", "Required value: name or generateName is required")],
                )
            metadata["name"] = metadata["generateName"] + "".join(secrets.choice(_NAME_LETTERS) for _ in range(5))
        name = str(metadata["name"])
        self._check_namespace(kind, namespace, name)
        metadata |= {
            "uid": str(uuid.uuid4()),
            "creationTimestamp": now(),
            **({"generation": 1} if kind.generation else {}),
        }
        new = self._completed(kind, {**body, "metadata": metadata}, writer)
        if kind.has_status:
            new.pop("status", None)
            if kind.schema is None:
                new["status"] = defaults.first_status(kind)
        self._check(kind, new)
        if self.store.get(kind.key, namespace, name) is not None:
            raise errors.already_exists(kind, name)
        if writer.applies:
            new["metadata"]["managedFields"] = body["metadata"].get("managedFields", [])
        else:
            new = tracked(None, new, kind, _manager(kind, writer, ""), now())
        return new if writer.dry_run else self._stored(kind, namespace, new)

    def update(
        self, kind: Kind, namespace: str, name: str, change: Change, writer: Writer, subresource: str = ""
    ) -> Body:
        """Store what ``change`` makes of the object; only its part of it where there is a ``subresource``.

        Raises:
            StatusError: 400, 404, 409 or 422.
        """
        live = self.get(kind, namespace, name)
        proposed = self._addressed(kind, namespace, change(live))
        if proposed["metadata"].get("name", name) != name:
            raise errors.bad_request(
                f"the name of the object ({proposed['metadata']['name']}) does not match the URL ({name})"
            )
        self._check_preconditions(kind, name, live, proposed["metadata"])
        new = self._completed(kind, _merged_parts(kind, live, proposed, subresource), writer)
        metadata = dict(new["metadata"])  # ``proposed`` may share it, and tells below who owns what.
        new = {**new, "metadata": metadata}
        metadata |= {key: live["metadata"][key] for key in _SET_BY_US if key in live["metadata"]}
        for key in set(_SET_BY_US) - live["metadata"].keys():
            metadata.pop(key, None)
        metadata |= {"name": name, "resourceVersion": live["metadata"]["resourceVersion"]}
        self._check(kind, new, live)
        if kind.generation and subresource != "status" and _spec(kind, new) != _spec(kind, live):
            metadata["generation"] = live["metadata"].get("generation", 0) + 1
        if writer.applies:
            new = {**new, "metadata": {**metadata, "managedFields": proposed["metadata"].get("managedFields", [])}}
        else:
            new = tracked(live, new, kind, _manager(kind, writer, subresource), now())
        if new == live or writer.dry_run:
            return new
        if "deletionTimestamp" in metadata and not metadata.get("finalizers") and not _waits_for_kubelet(new):
            return self._removed(kind, namespace, name)
        return self._stored(kind, namespace, new)

    def delete(self, kind: Kind, namespace: str, name: str, options: Deletion) -> tuple[Body, bool]:
        """Begin to delete the object; what it is now, and whether it has gone.

        Raises:
            StatusError: 404, or 409 where a precondition does not hold.
        """
        live = self.get(kind, namespace, name)
        expected = {"uid": options.uid, "resourceVersion": options.resource_version}
        for key, value in expected.items():
            if value and live["metadata"][key] != value:
                actual = live["metadata"][key]
                why = f"Precondition failed: {key} in precondition: {value}, {key} in object meta: {actual}"
                raise errors.conflict(kind, name, why)
        grace_s = _grace_s(kind, live, options)
        metadata = dict(live["metadata"])
        if options.propagation == "Foreground":
            metadata["finalizers"] = sorted({*(metadata.get("finalizers") or ()), FOREGROUND})
        waits = grace_s > 0 or bool(metadata.get("finalizers")) or (kind == NAMESPACES and not _is_empty(self, name))
        if not waits:
            return self._removed(kind, namespace, name), True
        previous = metadata.get("deletionGracePeriodSeconds")
        if "deletionTimestamp" not in metadata or (previous is not None and grace_s < previous):
            if "deletionTimestamp" not in metadata and "generation" in metadata:
                metadata["generation"] += 1
            metadata |= {"deletionTimestamp": now(grace_s), "deletionGracePeriodSeconds": grace_s}
        status = {"status": {**live.get("status", {}), "phase": "Terminating"}} if kind == NAMESPACES else {}
        marked = {**live, "metadata": metadata, **status}
        return (live if marked == live else self._stored(kind, namespace, marked)), False

    def _stored(self, kind: Kind, namespace: str, body: Body) -> Body:
        name = body["metadata"]["name"]
        if kind == DEFINITIONS:
            body = self._definitions.serve(body)
        return self.store.put(kind.key, namespace, name, {**body, "kind": kind.kind, "apiVersion": kind.api_version})

    def _removed(self, kind: Kind, namespace: str, name: str) -> Body:
        last = self.store.remove(kind.key, namespace, name)
        if kind == DEFINITIONS:
            self._definitions.drop(last)
        return last

    def _addressed(self, kind: Kind, namespace: str, body: Any) -> dict[str, Any]:
        """``body``, once it is for this kind and namespace."""
        if not isinstance(body, Mapping):
            raise errors.bad_request("the body of the request is no object")
        told = (body.get("apiVersion"), body.get("kind"))
        if told != (kind.api_version, kind.kind):
            raise errors.bad_request(
                f"the object provided is {told[0]}, Kind={told[1]}, this is {kind.api_version}, Kind={kind.kind}"
            )
        metadata = body.get("metadata")
        metadata = dict(metadata) if isinstance(metadata, Mapping) else {}
        if kind.namespaced:
            if metadata.setdefault("namespace", namespace) != namespace:
                raise errors.bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request"
                )
        else:
            metadata.pop("namespace", None)
        return {**body, "metadata": metadata}

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.namespaced:
            return
        home = self.get(NAMESPACES, "", namespace)
        if "deletionTimestamp" in home["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise errors.StatusError(403, "Forbidden", f'{kind.qualified} "{name}" is forbidden: {why}')

    def _check_preconditions(self, kind: Kind, name: str, live: Body, metadata: Body) -> None:
        if not (version := metadata.get("resourceVersion")):
            if not kind.unconditional_update:
                told = "Invalid value: 0: must be specified for an update"
                raise errors.invalid(kind, name, [errors.Cause("metadata.resourceVersion", told)])
        elif version != live["metadata"]["resourceVersion"]:
            raise errors.modified_meanwhile(kind, name)
        if (uid := metadata.get("uid")) and uid != live["metadata"]["uid"]:
            why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {live['metadata']['uid']}"
            raise errors.conflict(kind, name, why)

    def _completed(self, kind: Kind, body: Body, writer: Writer) -> dict[str, Any]:
        """``body`` pruned and with its defaults."""
        if kind.schema is None:
            return defaults.defaulted(kind, body)
        pruned, unknown = kind.schema.pruned(body)
        told = [f'unknown field "{path}"' for path in unknown]
        if told and writer.validation == "Strict":
            raise errors.bad_request(f"strict decoding error: {', '.join(told)}")
        if writer.validation == "Warn":
            writer.warnings.extend(told)
        return kind.schema.defaulted(pruned)

    def _check(self, kind: Kind, new: Body, old: Body | None = None) -> None:
        causes = validation.problems(kind, new, old)
        if old is not None:
            causes += validation.problems_of_change(kind, old, new)
        if causes:
            raise errors.invalid(kind, new["metadata"]["name"], causes)


def now(later_s: int = 0) -> str:
    """The time as Kubernetes writes it, ``later_s`` seconds from now."""
    return (datetime.now(UTC) + timedelta(seconds=later_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _manager(kind: Kind, writer: Writer, subresource: str) -> Manager:
    return Manager(writer.manager, "Update", kind.api_version, subresource)


def _merged_parts(kind: Kind, live: Body, proposed: Body, subresource: str) -> dict[str, Any]:
    """What a write through the object or a subresource may change, over what it may not."""
    if not kind.has_status:
        return dict(proposed)
    source, rest = (proposed, {**live}) if subresource == "status" else (live, {**proposed})
    rest.pop("status", None)
    if subresource == "status":
        # The preconditions of a status write stand in its metadata, which is not otherwise taken.
        rest["metadata"] = dict(live["metadata"])
    return {**rest, **({"status": source["status"]} if "status" in source else {})}


def _spec(kind: Kind, body: Body) -> dict[str, Any]:
    """What a change of raises the generation: all but metadata and status."""
    ignored = ("metadata", "status", "apiVersion", "kind")
    return {name: value for name, value in body.items() if name not in ignored}


def _grace_s(kind: Kind, live: Body, options: Deletion) -> int:
    if not kind.graceful:
        return 0
    spec = live.get("spec") or {}
    # Nobody has to stop what no kubelet runs.
    if not spec.get("nodeName") or (live.get("status") or {}).get("phase") in _ENDED:
        return 0
    asked = options.grace_period_s
    return int(spec.get("terminationGracePeriodSeconds", 30)) if asked is None else max(0, asked)


def _waits_for_kubelet(body: Body) -> bool:
    return bool(body["metadata"].get("deletionGracePeriodSeconds"))


def _is_empty(registry: Registry, namespace: str) -> bool:
    return not any(body["metadata"].get("namespace") == namespace for _, body in registry.store.everything())
