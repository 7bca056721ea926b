"""Folders that stand in for a pod's volumes.

A process has no mounts of its own, so nothing appears at a ``mountPath``. Environment variables and arguments that
hold such a path are pointed to the folder instead (:func:`arqube_local.kubelet.environment.in_folder`), and an
``emptyDir`` at /tmp becomes ``TMPDIR``. That reaches what programs are told; paths in code stay the machine's.
"""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

from arqube_operator.kube.client import SECRETS, KubeClient, Resource

CONFIG_MAPS: Final = Resource("v1", "configmaps", "ConfigMap")


class MountError(Exception):
    """A volume cannot be provided; the kubelet's FailedMount."""


async def provide(client: KubeClient, pod: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Make a folder below ``folder`` for each volume of ``pod``; by volume name.

    Raises:
        MountError: A Secret, ConfigMap or key does not exist, or the kind of volume is not supported.
        ApiError: They cannot be read now.
    """
    folders = {}
    for volume in pod["spec"].get("volumes", []):
        target = folder / volume["name"]
        target.mkdir(parents=True, exist_ok=True, mode=0o700)
        folders[volume["name"]] = target
        if "secret" in volume:
            source = volume["secret"]
            await _write(client, pod, target, SECRETS, source["secretName"], source)
        elif "configMap" in volume:
            source = volume["configMap"]
            await _write(client, pod, target, CONFIG_MAPS, source["name"], source)
        elif "emptyDir" not in volume:
            kind = next((key for key in volume if key != "name"), "")
            raise MountError(f'volume "{volume["name"]}": the process kubelet does not support {kind}')
    return folders


async def _write(
    client: KubeClient, pod: dict[str, Any], target: Path, resource: Resource, name: str, source: dict[str, Any]
) -> None:
    held = await client.get(resource, pod["metadata"]["namespace"], name)
    if held is None:
        if source.get("optional"):
            return
        raise MountError(f'{resource.kind.lower()} "{name}" not found')
    data = {key: value.encode() for key, value in (held.get("data") or {}).items()}
    if resource is SECRETS:
        data = {key: base64.b64decode(value) for key, value in data.items()}
    items = source.get("items") or [{"key": key, "path": key} for key in data]
    for item in items:
        if item["key"] not in data:
            raise MountError(f"couldn't find key {item['key']} in {resource.kind.lower()} {name}")
        path = target / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[item["key"]])
        path.chmod(0o600)


def mounts(container: dict[str, Any], folders: dict[str, Path]) -> dict[str, str]:
    """The folder for each mount path of ``container``."""
    return {
        mount["mountPath"].rstrip("/"): str(folders[mount["name"]] / mount.get("subPath", ""))
        for mount in container.get("volumeMounts", [])
    }
