"""Kubernetes objects in YAML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


class ManifestError(Exception):
    """A file holds something that cannot be used; the message names the file and the remedy."""


def read_manifests(path: Path) -> list[dict[str, Any]]:
    """The objects in ``path``, each of which has a kind and a name.

    Raises:
        ManifestError: No YAML, or no Kubernetes objects.
    """
    try:
        documents = [each for each in yaml.safe_load_all(path.read_text()) if each is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ManifestError(f"{path}: {error}") from error
    for document in documents:
        is_object = isinstance(document, dict) and isinstance(document.get("metadata"), dict)
        if not is_object or not document.get("apiVersion") or not document.get("kind"):
            raise ManifestError(f"{path}: not a Kubernetes object: it needs apiVersion, kind and metadata")
        if not document["metadata"].get("name"):
            raise ManifestError(f"{path}: metadata.name is missing: give the {document['kind']} a name")
    return documents
