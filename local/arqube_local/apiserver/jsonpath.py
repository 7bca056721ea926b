"""The part of Kubernetes' JSONPath that printer columns use: fields, indices, ``[*]`` and ``[?(@.type=="Ready")]``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\.(?P<field>(?:[\w-]|\\\.)+)
      | \[(?P<index>-?\d+)\]
      | \[(?P<all>\*)\]
      | \[['"](?P<quoted>[^'"]+)['"]\]
      | \[\?\(@\.(?P<key>[\w.-]+)\s*==\s*['"](?P<value>[^'"]*)['"]\)\]
    """,
    re.VERBOSE,
)


def find(body: Mapping[str, Any], path: str) -> list[Any]:
    """All values at ``path``, such as ``.status.conditions[?(@.type=="Ready")].status``."""
    found: list[Any] = [body]
    for step in _STEP.finditer(path):
        found = [after for value in found for after in _taken(value, step)]
    return found


def _taken(value: Any, step: re.Match[str]) -> Iterable[Any]:
    if (name := step["quoted"] or step["field"]) is not None:
        name = name.replace("\\.", ".")
        return [value[name]] if isinstance(value, Mapping) and name in value else []
    if not isinstance(value, list):
        return []
    if step["all"]:
        return value
    if step["index"]:
        index = int(step["index"])
        return [value[index]] if -len(value) <= index < len(value) else []
    return [item for item in value if isinstance(item, Mapping) and item.get(step["key"]) == step["value"]]
