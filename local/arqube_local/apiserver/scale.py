"""The ``scale`` subresource: an ``autoscaling/v1.Scale`` read from an object, and written back to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from arqube_local.apiserver.errors import StatusError
from arqube_local.apiserver.kinds import Kind, ScalePaths

_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(kind: Kind, body: Mapping[str, Any], *, missing: int | None = None) -> dict[str, Any]:
    """The Scale of an object; ``missing`` stands for a number of replicas that is not set.

    Raises:
        StatusError: 500 as Kubernetes has it, the number is not set and ``missing`` is None.
    """
    paths = _paths(kind)
    replicas = _at(body, paths.spec, missing)
    if replicas is None:
        message = f'Internal error occurred: the spec replicas field "{paths.spec}" does not exist'
        raise StatusError(500, "InternalError", message)
    status: dict[str, Any] = {"replicas": _at(body, paths.status, 0)}
    if selector := _selector(body, paths):
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: body["metadata"][name] for name in _METADATA if name in body["metadata"]},
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def scaled(kind: Kind, body: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """``body`` with that many replicas asked for."""
    *parents, last = _names(_paths(kind).spec)
    changed = dict(body)
    place = changed
    for name in parents:
        place[name] = dict(place.get(name) or {})
        place = place[name]
    place[last] = replicas
    return changed


def _paths(kind: Kind) -> ScalePaths:
    if kind.scale is None:
        raise StatusError(404, "NotFound", "the server could not find the requested resource")
    return kind.scale


def _selector(body: Mapping[str, Any], paths: ScalePaths) -> str:
    if paths.selector is not None:
        return str(_at(body, paths.selector, ""))
    labels = ((body.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def _at(body: Mapping[str, Any], path: str, missing: Any) -> Any:
    found: Any = body
    for name in _names(path):
        found = found.get(name) if isinstance(found, Mapping) else None
    return missing if found is None else found


def _names(path: str) -> list[str]:
    return path.strip(".").split(".")
