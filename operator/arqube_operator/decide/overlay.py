"""Lays a user's partial pod template over ours, as Kubernetes' strategic merge does for the lists a pod has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

_MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""Lists whose items are merged by a key; every other list is replaced whole.

Source: the ``patchMergeKey`` of ``PodSpec`` in Kubernetes' core/v1 API.
"""


_VARIANTS: Final = ({"value", "valueFrom"},)
"""Fields of one item that exclude each other: a user's ``valueFrom`` takes our ``value`` away."""


def overlay(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid on it; a null in ``over`` takes the field away. Neither is changed."""
    merged = dict(base)
    for variants in _VARIANTS:
        if variants & over.keys():
            merged = {name: value for name, value in merged.items() if name not in variants}
    for name, value in over.items():
        present = merged.get(name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(present, Mapping):
            merged[name] = overlay(present, value)
        elif (key := _MERGE_KEYS.get(name)) and _is_keyed(value, key) and _is_keyed(present, key):
            merged[name] = _merge_list(present, value, key)
        else:
            merged[name] = value
    return merged


def _is_keyed(value: Any, key: str) -> TypeGuard[list[Mapping[str, Any]]]:
    """Whether ``value`` is a list of objects that have ``key``; Kubernetes refuses others, with a better message."""
    return isinstance(value, list) and all(isinstance(item, Mapping) and key in item for item in value)


def _merge_list(base: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Items of ``over`` laid over those of ``base`` with the same key; new ones follow."""
    merged: dict[Any, Any] = {item[key]: item for item in base}
    for item in over:
        present = merged.get(item[key])
        merged[item[key]] = overlay(present, item) if present is not None else dict(item)
    return list(merged.values())
