"""What the API server fills in on built-in kinds, as far as workloads and those who read them rely on it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any, Final

from arqube_local.apiserver.kinds import (
    DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICES,
    Kind,
)

_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_POD: Final = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_CONTAINER: Final = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_PROBE: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_VOLUMES_WITH_MODE: Final = ("secret", "configMap", "projected", "downwardAPI")


def defaulted(kind: Kind, body: Mapping[str, Any]) -> dict[str, Any]:
    """``body`` of a built-in ``kind`` with the defaults of its fields."""
    spec = body.get("spec") or {}
    match kind.key:
        case DEPLOYMENTS.key:
            return {**body, "spec": _deployment(spec)}
        case REPLICA_SETS.key:
            return {**body, "spec": {"replicas": 1, **_with_template(spec)}}
        case PODS.key:
            pod = _pod(spec)
            # Admission gives every pod its namespace's account.
            return {**body, "spec": {"serviceAccountName": "default", "serviceAccount": "default", **pod}}
        case SERVICES.key:
            return {**body, "spec": _service(spec)}
        case SECRETS.key:
            return _secret(body)
        case NAMESPACES.key:
            return _namespace(body)
        case DEFINITIONS.key:
            return {**body, "spec": _definition(spec)}
        case _:
            return dict(body)


def first_status(kind: Kind) -> dict[str, Any]:
    """The status of a new object; whoever creates one has no say in it."""
    match kind.key:
        case PODS.key:
            return {"phase": "Pending", "qosClass": "BestEffort"}
        case NAMESPACES.key:
            return {"phase": "Active"}
        case SERVICES.key:
            return {"loadBalancer": {}}
        case REPLICA_SETS.key:
            return {"replicas": 0}
        case _:
            return {}


def _deployment(spec: Mapping[str, Any]) -> dict[str, Any]:
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    strategy = spec.get("strategy") or {}
    if strategy.get("type", "RollingUpdate") == "RollingUpdate":
        limits = {**rolling["rollingUpdate"], **(strategy.get("rollingUpdate") or {})}  # type: ignore[dict-item]
        strategy = {"type": "RollingUpdate", "rollingUpdate": limits}
    filled = {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600, **_with_template(spec)}
    return {**filled, "strategy": strategy}


def _with_template(spec: Mapping[str, Any]) -> dict[str, Any]:
    template = spec.get("template") or {}
    return {**spec, "template": {**template, "spec": _pod(template.get("spec") or {})}}


def _pod(spec: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**_POD, **spec, "containers": [*map(_container, _items(spec, "containers"))]}
    if "initContainers" in spec:
        filled["initContainers"] = [*map(_container, _items(spec, "initContainers"))]
    if "volumes" in spec:
        filled["volumes"] = [*map(_volume, _items(spec, "volumes"))]
    return filled


def _container(container: Mapping[str, Any]) -> dict[str, Any]:
    tag = container.get("image", "").rpartition("/")[2].partition("@")[0].partition(":")[2]
    policy = "Always" if tag in ("", "latest") and "@" not in container.get("image", "") else "IfNotPresent"
    filled = {"imagePullPolicy": policy, **_CONTAINER, **container}
    if "ports" in container:
        filled["ports"] = [{"protocol": "TCP", **port} for port in _items(container, "ports")]
    if "env" in container:
        filled["env"] = [*map(_variable, _items(container, "env"))]
    filled.update({name: _probe(container[name]) for name in _PROBES if container.get(name)})
    return filled


def _variable(variable: Mapping[str, Any]) -> dict[str, Any]:
    source = variable.get("valueFrom") or {}
    if "fieldRef" not in source:
        return dict(variable)
    return {**variable, "valueFrom": {**source, "fieldRef": {"apiVersion": "v1", **source["fieldRef"]}}}


def _probe(probe: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**_PROBE, **probe}
    if "httpGet" in probe:
        filled["httpGet"] = {"path": "/", "scheme": "HTTP", **probe["httpGet"]}
    return filled


def _volume(volume: Mapping[str, Any]) -> dict[str, Any]:
    modes = {name: {"defaultMode": 0o644, **volume[name]} for name in _VOLUMES_WITH_MODE if volume.get(name)}
    return {**volume, **modes} if volume.keys() - {"name"} else {**volume, "emptyDir": {}}


def _service(spec: Mapping[str, Any]) -> dict[str, Any]:
    ports = [{"protocol": "TCP", "targetPort": port.get("port"), **port} for port in _items(spec, "ports")]
    # Every service of this machine is on loopback: there is no network of pods behind it.
    address = "127.0.0.1" if spec.get("type", "ClusterIP") != "ExternalName" else None
    addresses = {"clusterIP": address, "clusterIPs": [address]} if address else {}
    return {"type": "ClusterIP", "sessionAffinity": "None", **addresses, **spec, "ports": ports}


def _secret(body: Mapping[str, Any]) -> dict[str, Any]:
    plain = body.get("stringData") or {}
    encoded = {name: base64.b64encode(str(value).encode()).decode() for name, value in plain.items()}
    filled = {"type": "Opaque", **body}
    filled.pop("stringData", None)
    if data := {**(body.get("data") or {}), **encoded}:
        filled["data"] = data
    return filled


def _namespace(body: Mapping[str, Any]) -> dict[str, Any]:
    metadata = body["metadata"]
    labels = {**(metadata.get("labels") or {}), "kubernetes.io/metadata.name": metadata["name"]}
    spec = {"finalizers": ["kubernetes"], **(body.get("spec") or {})}
    return {**body, "metadata": {**metadata, "labels": labels}, "spec": spec}


def _definition(spec: Mapping[str, Any]) -> dict[str, Any]:
    names = spec.get("names") or {}
    kind = str(names.get("kind", ""))
    names = {"singular": kind.lower(), "listKind": f"{kind}List", **names}
    return {"conversion": {"strategy": "None"}, **spec, "names": names}


def _items(parent: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    return [each for each in parent.get(name) or () if isinstance(each, Mapping)]
