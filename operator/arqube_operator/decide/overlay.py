"""Lays a user's partial pod template over ours, as Kubernetes' strategic merge does for the lists a pod has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

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
        elif name in _MERGE_KEYS and isinstance(value, list) and isinstance(present, list):
            merged[name] = _merge_list(present, value, _MERGE_KEYS[name])
        else:
            merged[name] = value
    return merged


def _merge_list(base: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]], key: str) -> list[Any]:
    """Items of ``over`` laid over those of ``base`` with the same key; new ones follow."""
    merged: dict[Any, Any] = {item.get(key): item for item in base}
    for item in over:
        present = merged.get(item.get(key))
        merged[item.get(key)] = overlay(present, item) if present is not None else dict(item)
    return list(merged.values())
