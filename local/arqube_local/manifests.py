"""Apply manifests from YAML files to the laptop cluster, as ``kubectl apply -f --server-side`` would."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import yaml

from arqube_local.kubelet.volumes import CONFIG_MAPS
from arqube_operator.kube.client import DEPLOYMENTS, SECRETS, TASK_QUEUES, KubeClient, Resource

KINDS: Final = {
    (resource.api_version, resource.kind): resource for resource in (TASK_QUEUES, SECRETS, CONFIG_MAPS, DEPLOYMENTS)
}


class ManifestError(Exception):
    """A file holds something that cannot be applied; the message names the file and the remedy."""


def read_manifests(path: Path) -> list[tuple[Resource, dict[str, Any]]]:
    """The objects in ``path``, with where each belongs.

    Raises:
        ManifestError: No YAML, no Kubernetes objects, or of a kind that is not applied from here.
    """
    try:
        documents = [each for each in yaml.safe_load_all(path.read_text()) if each is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{path}: {error}") from error
    found = []
    for document in documents:
        if not isinstance(document, dict) or not isinstance(document.get("metadata"), dict):
            raise ManifestError(f"{path}: not a Kubernetes object: it needs apiVersion, kind and metadata")
        kind = (document.get("apiVersion"), document.get("kind"))
        if kind not in KINDS:
            known = ", ".join(sorted(name for _, name in KINDS))
            raise ManifestError(f"{path}: {kind[1]} ({kind[0]}) is none of {known}: use kubectl apply for it")
        if not document["metadata"].get("name"):
            raise ManifestError(f"{path}: metadata.name is missing: give the {kind[1]} a name")
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
