"""How the parts of an object merge: which lists go by key, which maps and lists are replaced as a whole.

The source is ``x-kubernetes-list-type`` and its kin: a custom kind's schema states them, and for built-in kinds the
table below repeats those that matter to workloads, from Kubernetes' own OpenAPI document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol

from arqube_local.apiserver.kinds import Kind

_LIST_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "addresses": ("type",),
    "conditions": ("type",),
    "containers": ("name",),
    "env": ("name",),
    "ephemeralContainers": ("name",),
    "finalizers": (),
    "hostAliases": ("ip",),
    "hostIPs": ("ip",),
    "imagePullSecrets": ("name",),
    "initContainers": ("name",),
    "ownerReferences": ("uid",),
    "podIPs": ("ip",),
    "resourceClaims": ("name",),
    "schedulingGates": ("name",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "volumeDevices": ("devicePath",),
    "volumeMounts": ("mountPath",),
    "volumes": ("name",),
}
_POD_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
_ATOMIC_MAPS: Final = frozenset(
    {"configMapKeyRef", "fieldRef", "labelSelector", "nodeSelector", "resourceFieldRef", "secretKeyRef", "selector"}
)
_FREE_MAPS: Final = frozenset(
    {"allocatable", "annotations", "binaryData", "capacity", "data", "labels", "limits", "matchLabels", "requests"}
)


_encoded = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


class Shape(Protocol):
    """How one value within an object merges."""

    @property
    def list_keys(self) -> tuple[str, ...] | None:
        """Keys of the items of a list that goes by key; empty for a set; None for a list replaced as a whole."""

    @property
    def atomic(self) -> bool:
        """Whether a map here is replaced as a whole."""

    def declares(self, name: str) -> bool:
        """Whether ``name`` is a field of the kind and not just a key of a free map."""

    def field(self, name: str) -> Shape:
        """Of the field ``name`` of a map here."""

    def item(self) -> Shape:
        """Of an item of a list here."""

    def default(self, name: str) -> Any:
        """What the field ``name`` of an item holds when it is left out, where that is part of its key."""


def shape_of(kind: Kind) -> Shape:
    """Of an object of ``kind``."""
    return _CustomShape(kind.schema.document, top=True) if kind.schema else _BuiltInShape(())


def item_key(item: Any, shape: Shape, keys: tuple[str, ...]) -> str:
    """The path element that names an item of a list: ``k:{"name":"worker"}``, or ``v:"x"`` in a set.

    ``shape`` is the item's.
    """
    if not keys or not isinstance(item, Mapping):
        return "v:" + _encoded(item)
    named = {key: item.get(key, shape.default(key)) for key in keys}
    return "k:" + _encoded(named)


@dataclass(frozen=True, slots=True)
class _BuiltInShape:
    trail: tuple[str, ...]

    @property
    def list_keys(self) -> tuple[str, ...] | None:
        name = self.trail[-1] if self.trail else ""
        if name == "ports":
            in_container = len(self.trail) > 1 and self.trail[-2] in _POD_LISTS
            return ("containerPort" if in_container else "port", "protocol")
        return _LIST_KEYS.get(name)

    @property
    def atomic(self) -> bool:
        return bool(self.trail) and self.trail[-1] in _ATOMIC_MAPS

    def declares(self, name: str) -> bool:
        return not (self.trail and self.trail[-1] in _FREE_MAPS)

    def field(self, name: str) -> Shape:
        # No more of the way than is asked for: so there are few of them.
        return _built_in((*self.trail[-1:], name))

    def item(self) -> Shape:
        return self

    def default(self, name: str) -> Any:
        return "TCP" if name == "protocol" else None


_built_in = lru_cache(maxsize=None)(_BuiltInShape)
"""They are asked for again and again, and equal ones are as good as one."""


@dataclass(frozen=True, slots=True)
class _CustomShape:
    schema: Mapping[str, Any]
    top: bool = False

    @property
    def list_keys(self) -> tuple[str, ...] | None:
        match self.schema.get("x-kubernetes-list-type"):
            case "map":
                return tuple(self.schema.get("x-kubernetes-list-map-keys") or ())
            case "set":
                return ()
            case _:
                return None

    @property
    def atomic(self) -> bool:
        return self.schema.get("x-kubernetes-map-type") == "atomic"

    def declares(self, name: str) -> bool:
        return name in (self.schema.get("properties") or {})

    def field(self, name: str) -> Shape:
        if self.top and name == "metadata":
            return _BuiltInShape(("metadata",))
        found = (self.schema.get("properties") or {}).get(name) or self.schema.get("additionalProperties")
        return _CustomShape(found if isinstance(found, Mapping) else {})

    def item(self) -> Shape:
        return _CustomShape(self.schema.get("items") or {})

    def default(self, name: str) -> Any:
        properties = self.schema.get("properties") or {}
        return (properties.get(name) or {}).get("default")
