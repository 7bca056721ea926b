"""Apply manifests to the laptop cluster, as ``kubectl apply -f --server-side`` would."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from arqube_local.kubelet.volumes import CONFIG_MAPS
from arqube_local.manifests import ManifestError, read_manifests
from arqube_operator.kube.client import DEPLOYMENTS, SECRETS, TASK_QUEUES, KubeClient, Resource

KINDS: Final = {
    (resource.api_version, resource.kind): resource for resource in (TASK_QUEUES, SECRETS, CONFIG_MAPS, DEPLOYMENTS)
}


def read_applicable(path: Path) -> list[tuple[Resource, dict[str, Any]]]:
    """The objects in ``path``, with where each belongs.

    Raises:
        ManifestError: No Kubernetes objects, or of a kind that is not applied from here.
    """
    found = []
    for document in read_manifests(path):
        kind = (document["apiVersion"], document["kind"])
        if kind not in KINDS:
            known = ", ".join(sorted(name for _, name in KINDS))
            raise ManifestError(f"{path}: {kind[1]} ({kind[0]}) is none of {known}: use kubectl apply for it")
        found.append((KINDS[kind], document))
    return found


async def apply_manifests(client: KubeClient, manifests: list[tuple[Resource, dict[str, Any]]], manager: str) -> None:
    """Apply them in order.

    Raises:
        ApiError: The API server refuses one.
    """
    for resource, document in manifests:
        metadata = document["metadata"]
        namespace = metadata.get("namespace", "default")
        await client.apply(resource, namespace, metadata["name"], document, field_manager=manager)
