"""The TaskQueues among a project's files, with the lines of their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from arqube_local.adoption.findings import Place

KIND: Final = "TaskQueue"
_GROUP: Final = "arqube.dev/"


@dataclass(frozen=True, eq=False)
class Manifest:
    """One TaskQueue as it stands in a file.

    Attributes:
        file: Its path.
        body: The object, as ``kubectl apply`` would send it.
        node: The same with lines.
    """

    file: str
    body: Mapping[str, Any]
    node: yaml.Node

    @property
    def name(self) -> str:
        """``metadata.name``; empty where there is none."""
        metadata = self.body.get("metadata")
        return str(metadata.get("name") or "") if isinstance(metadata, Mapping) else ""

    def get(self, *path: str) -> Any:
        """The value of a field below ``spec``; None where it is not set."""
        value: Any = self.body.get("spec")
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    def at(self, *path: str) -> Place:
        """Where a field below ``spec`` stands, or the nearest one above it."""
        node, line = self.node, self.node.start_mark.line
        for name in ("spec", *path):
            pairs = node.value if isinstance(node, yaml.MappingNode) else []
            found = next(((key, value) for key, value in pairs if key.value == name), None)
            if found is None:
                break
            line, node = found[0].start_mark.line, found[1]
        return Place(self.file, line + 1)

    def container(self) -> Mapping[str, Any]:
        """What ``podTemplate`` says of the container named worker."""
        containers = self.get("worker", "podTemplate", "spec", "containers")
        for each in containers if isinstance(containers, list) else []:
            if isinstance(each, Mapping) and each.get("name") == "worker":
                return each
        return {}


def task_queues(files: Mapping[str, str]) -> tuple[Manifest, ...]:
    """The TaskQueues in ``files``: text by path. Files that are no YAML, such as a chart's templates, hold none."""
    found = []
    for path, text in files.items():
        if not path.endswith((".yaml", ".yml")) or _GROUP not in text:
            continue
        try:
            nodes, bodies = list(yaml.compose_all(text, yaml.SafeLoader)), list(yaml.safe_load_all(text))
        except (yaml.YAMLError, ValueError):  # a date that is none is a ValueError
            continue
        for node, body in zip(nodes, bodies, strict=True):
            if isinstance(body, dict) and body.get("kind") == KIND and str(body.get("apiVersion")).startswith(_GROUP):
                found.append(Manifest(path, body, node))
    return tuple(found)
