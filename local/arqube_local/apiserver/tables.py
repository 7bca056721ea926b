"""What ``kubectl get`` prints: objects as rows of a ``meta.k8s.io/v1.Table``."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from arqube_local.apiserver import jsonpath
from arqube_local.apiserver.kinds import (
    CONFIG_MAPS,
    DEFINITIONS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    Kind,
)

Body = Mapping[str, Any]
Cell = Callable[[Body], Any]

_NONE: Final = "<none>"
_UNKNOWN: Final = "<unknown>"


def table(kind: Kind, bodies: Sequence[Body], *, metadata: Body, include: str, headed: bool = True) -> dict[str, Any]:
    """The Table of ``bodies``; ``include`` says what of each object its row repeats: Metadata, Object or None."""
    columns = _columns(kind)
    rows = [{"cells": [cell(body) for _, _, _, cell in columns], **_repeated(kind, body, include)} for body in bodies]
    definitions = [
        {
            "name": name,
            "type": form,
            "format": "name" if name == "Name" else "",
            "description": "",
            "priority": priority,
        }
        for name, form, priority, _ in columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions if headed else [],
        "rows": rows,
    }


def human_duration(passed: timedelta) -> str:
    """A duration as kubectl shows an age: two units at most, such as ``3m5s``, ``5h``, ``12d``."""
    seconds = max(0, int(passed.total_seconds()))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def _repeated(kind: Kind, body: Body, include: str) -> dict[str, Any]:
    whole = {"kind": kind.kind, "apiVersion": kind.api_version}
    match include:
        case "None":
            return {}
        case "Object":
            return {"object": {**body, **whole}}
        case _:
            partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            return {"object": {**partial, "metadata": body["metadata"]}}


_Column = tuple[str, str, int, Cell]


def _columns(kind: Kind) -> list[_Column]:
    name: _Column = ("Name", "string", 0, lambda body: body["metadata"]["name"])
    age: _Column = ("Age", "string", 0, _age)
    if kind.columns:
        return [name, *(_custom(column) for column in kind.columns)]
    return [name, *_BUILT_IN.get(kind.key, (age,))]


def _custom(column: Mapping[str, Any]) -> _Column:
    path, is_date = column["jsonPath"], column["type"] == "date"

    def cell(body: Body) -> Any:
        values = [value for value in jsonpath.find(body, path) if value is not None]
        if not values:
            return _UNKNOWN if is_date else None
        if is_date:
            return _since(values[0])
        scalars = [value if isinstance(value, str | int | float) else json.dumps(value) for value in values]
        return scalars[0] if len(scalars) == 1 else ",".join(map(str, scalars))

    return column["name"], "string" if is_date else column["type"], column.get("priority", 0), cell


def _since(timestamp: Any) -> str:
    try:
        return human_duration(datetime.now(UTC) - datetime.fromisoformat(str(timestamp)))
    except (ValueError, TypeError):
        return _UNKNOWN


def _age(body: Body) -> str:
    return _since(body["metadata"].get("creationTimestamp"))


def _at(path: str, missing: Any = _NONE) -> Cell:
    def cell(body: Body) -> Any:
        found = jsonpath.find(body, path)
        return found[0] if found and found[0] not in (None, "") else missing

    return cell


def _count(path: str) -> Cell:
    return lambda body: len((jsonpath.find(body, path) or [()])[0] or ())


def _statuses(body: Body) -> list[Mapping[str, Any]]:
    return (body.get("status") or {}).get("containerStatuses") or []


def _pod_ready(body: Body) -> str:
    ready = sum(bool(status.get("ready")) for status in _statuses(body))
    return f"{ready}/{len((body.get('spec') or {}).get('containers') or ())}"


def _pod_status(body: Body) -> str:
    """The word for a pod's state; after ``printPod`` of Kubernetes' pkg/printers/internalversion."""
    if "deletionTimestamp" in body["metadata"]:
        return "Terminating"
    status = body.get("status") or {}
    reason = str(status.get("reason") or status.get("phase") or _UNKNOWN)
    for each in _statuses(body):
        state = each.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        reason = waiting.get("reason") or ended.get("reason") or reason
    return reason


def _restarts(body: Body) -> str:
    return str(sum(status.get("restartCount", 0) for status in _statuses(body)))


def _node_status(body: Body) -> str:
    conditions = (body.get("status") or {}).get("conditions") or ()
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return "Ready" if ready else "NotReady"


def _ports(body: Body) -> str:
    ports = (body.get("spec") or {}).get("ports") or ()
    return ",".join(f"{port.get('port')}/{port.get('protocol', 'TCP')}" for port in ports) or _NONE


def _last_seen(body: Body) -> str:
    stamp = body.get("lastTimestamp") or body.get("eventTime") or body["metadata"].get("creationTimestamp")
    return _since(stamp)


def _involved(body: Body) -> str:
    involved = body.get("involvedObject") or {}
    return f"{str(involved.get('kind', '')).lower()}/{involved.get('name', '')}"


def _ready_of_wanted(body: Body) -> str:
    return f"{_at('.status.readyReplicas', 0)(body)}/{_at('.spec.replicas', 0)(body)}"


def _images(body: Body) -> str:
    return ",".join(jsonpath.find(body, ".spec.template.spec.containers[*].image"))


_AGE: Final[_Column] = ("Age", "string", 0, _age)
_BUILT_IN: Final[Mapping[tuple[str, str], Sequence[_Column]]] = {
    PODS.key: (
        ("Ready", "string", 0, _pod_ready),
        ("Status", "string", 0, _pod_status),
        ("Restarts", "string", 0, _restarts),
        _AGE,
        ("IP", "string", 1, _at(".status.podIP")),
        ("Node", "string", 1, _at(".spec.nodeName")),
    ),
    DEPLOYMENTS.key: (
        ("Ready", "string", 0, _ready_of_wanted),
        ("Up-to-date", "integer", 0, _at(".status.updatedReplicas", 0)),
        ("Available", "integer", 0, _at(".status.availableReplicas", 0)),
        _AGE,
        ("Images", "string", 1, _images),
    ),
    REPLICA_SETS.key: (
        ("Desired", "integer", 0, _at(".spec.replicas", 0)),
        ("Current", "integer", 0, _at(".status.replicas", 0)),
        ("Ready", "integer", 0, _at(".status.readyReplicas", 0)),
        _AGE,
        ("Images", "string", 1, _images),
    ),
    SERVICES.key: (
        ("Type", "string", 0, _at(".spec.type")),
        ("Cluster-IP", "string", 0, _at(".spec.clusterIP")),
        ("External-IP", "string", 0, _at(".spec.externalName")),
        ("Port(s)", "string", 0, _ports),
        _AGE,
    ),
    SECRETS.key: (("Type", "string", 0, _at(".type")), ("Data", "integer", 0, _count(".data")), _AGE),
    CONFIG_MAPS.key: (("Data", "integer", 0, _count(".data")), _AGE),
    NAMESPACES.key: (("Status", "string", 0, _at(".status.phase")), _AGE),
    NODES.key: (
        ("Status", "string", 0, _node_status),
        ("Roles", "string", 0, lambda body: _NONE),
        _AGE,
        ("Version", "string", 0, _at(".status.nodeInfo.kubeletVersion", "")),
    ),
    EVENTS.key: (
        ("Last Seen", "string", 0, _last_seen),
        ("Type", "string", 0, _at(".type")),
        ("Reason", "string", 0, _at(".reason")),
        ("Object", "string", 0, _involved),
        ("Message", "string", 0, _at(".message", "")),
    ),
    LEASES.key: (("Holder", "string", 0, _at(".spec.holderIdentity", "")), _AGE),
    DEFINITIONS.key: (("Created At", "date", 0, _at(".metadata.creationTimestamp")),),
}
