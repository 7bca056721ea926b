"""A container's environment, command and arguments out of its pod, Secrets and ConfigMaps."""

from __future__ import annotations

import base64
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")


class ConfigError(Exception):
    """The container cannot be made from what its pod refers to; the kubelet's CreateContainerConfigError."""


@dataclass(frozen=True)
class Sources:
    """What a pod's references resolve to; data already decoded, None for objects that do not exist."""

    secrets: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict, repr=False)
    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)


def data_of(resource: dict[str, Any] | None, *, secret: bool) -> dict[str, str] | None:
    """A ConfigMap's data, or a Secret's decoded (bytes beyond UTF-8 as ``os.environ`` has them); None for no object."""
    if resource is None:
        return None
    data: dict[str, str] = resource.get("data") or {}
    return (
        {key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in data.items()}
        if secret
        else dict(data)
    )


def references(container: dict[str, Any]) -> tuple[set[str], set[str]]:
    """Names of the Secrets and of the ConfigMaps that the container's environment refers to."""
    secrets, config_maps = set(), set()
    for source in container.get("envFrom", []):
        secrets |= {source["secretRef"]["name"]} if "secretRef" in source else set()
        config_maps |= {source["configMapRef"]["name"]} if "configMapRef" in source else set()
    for variable in container.get("env", []):
        origin = variable.get("valueFrom") or {}
        secrets |= {origin["secretKeyRef"]["name"]} if "secretKeyRef" in origin else set()
        config_maps |= {origin["configMapKeyRef"]["name"]} if "configMapKeyRef" in origin else set()
    return secrets, config_maps


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value; unknown names stay as they are, and ``$$`` is an escaped ``$``."""

    def value(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return variables.get(match[1], match[0])

    return _REFERENCE.sub(value, text)


def environment(pod: dict[str, Any], container: dict[str, Any], sources: Sources) -> dict[str, str]:
    """The variables that ``envFrom`` and ``env`` give the container, later ones over earlier ones.

    Raises:
        ConfigError: A Secret, ConfigMap or key that is not optional does not exist, or a reference is of another kind.
    """
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        prefix = source.get("prefix", "")
        values = _object(source, "secretRef", sources.secrets) or _object(source, "configMapRef", sources.config_maps)
        variables |= {f"{prefix}{key}": value for key, value in values.items()}
    for variable in container.get("env", []):
        name = variable["name"]
        if "valueFrom" not in variable:
            variables[name] = expand(variable.get("value", ""), variables)
        elif (resolved := _resolve(pod, name, variable["valueFrom"], sources)) is not None:
            variables[name] = resolved
    return variables


def _object(source: dict[str, Any], kind: str, known: Mapping[str, Mapping[str, str] | None]) -> Mapping[str, str]:
    if kind not in source:
        return {}
    name = source[kind]["name"]
    data = known.get(name)
    if data is None and not source[kind].get("optional"):
        raise ConfigError(f'{_noun(kind)} "{name}" not found')
    return data or {}


def _noun(kind: str) -> str:
    return "secret" if kind.startswith("secret") else "configmap"


def _resolve(pod: dict[str, Any], name: str, origin: dict[str, Any], sources: Sources) -> str | None:
    if "fieldRef" in origin:
        return pod_field(pod, origin["fieldRef"]["fieldPath"])
    if "secretKeyRef" in origin:
        return _key(origin["secretKeyRef"], "secret", sources.secrets)
    if "configMapKeyRef" in origin:
        return _key(origin["configMapKeyRef"], "configmap", sources.config_maps)
    raise ConfigError(f"env {name}: the process kubelet does not support valueFrom.{next(iter(origin), '')}")


def _key(reference: dict[str, Any], noun: str, known: Mapping[str, Mapping[str, str] | None]) -> str | None:
    name, key = reference["name"], reference["key"]
    data = known.get(name)
    if data is not None and key in data:
        return data[key]
    if reference.get("optional"):
        return None
    raise ConfigError(f'{noun} "{name}" not found' if data is None else f"couldn't find key {key} in {noun} {name}")


def pod_field(pod: dict[str, Any], path: str) -> str:
    """The value of a ``fieldPath`` of the downward API.

    Raises:
        ConfigError: The downward API has no such field.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if match := _SUBSCRIPT.fullmatch(path):
        return str(metadata.get(match[1], {}).get(match[2], ""))
    plain = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": "127.0.0.1",
        "status.podIPs": "127.0.0.1",
        "status.hostIP": "127.0.0.1",
        "status.hostIPs": "127.0.0.1",
    }
    if path not in plain:
        raise ConfigError(f"fieldPath {path!r} is not supported; it can be one of {', '.join(sorted(plain))}")
    return str(plain[path])


def with_host_ports(variables: Mapping[str, str], ports: Mapping[int, int]) -> dict[str, str]:
    """Variables named ``..._PORT`` that hold a declared container port, changed to its port on this machine."""
    hosts = {str(declared): str(host) for declared, host in ports.items()}
    return {name: hosts.get(value, value) if name.endswith("_PORT") else value for name, value in variables.items()}


def with_folders(variables: Mapping[str, str], folders: Mapping[str, str]) -> dict[str, str]:
    """Variables that hold a mount path, or a path below one, changed to the folder that stands in for the mount."""
    return {name: in_folder(value, folders) for name, value in variables.items()}


def program_in_folder(word: str, folders: Mapping[str, str]) -> str:
    """The first word of a command, as ``in_folder``; but a program of this machine stays, as in a venv below /tmp."""
    return word if shutil.which(word) else in_folder(word, folders)


def in_folder(value: str, folders: Mapping[str, str]) -> str:
    """``value``; where it is a mount path, or a path below one, the path in the folder that stands in for the mount."""
    for mount, folder in sorted(folders.items(), key=lambda each: -len(each[0])):
        if value == mount or value.startswith(f"{mount}/"):
            return folder + value[len(mount) :]
    return value
