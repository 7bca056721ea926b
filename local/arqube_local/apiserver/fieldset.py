"""Sets of fields as managedFields states them: what an object consists of, and the ``FieldsV1`` form of a set.

Follows sigs.k8s.io/structured-merge-diff (``typed/tofieldset.go``, ``typed/remove.go``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from arqube_local.apiserver.shape import Shape, item_key

Path = tuple[str, ...]
"""Such as ``("f:spec", "f:containers", 'k:{"name":"worker"}', "f:image")``."""

MEMBER: Final = object()
"""Stands for a map or an item that is a member of its parent, whatever it holds."""

_SYSTEM_METADATA: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generateName",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


class FieldsV1(dict[str, Any]):
    """The nested form of a set of fields; it remembers the set, as it is read at each write of its object."""

    __slots__ = ("paths",)

    def __init__(self, paths: frozenset[Path]) -> None:
        super().__init__()
        self.paths = paths


def leaves(body: Mapping[str, Any], shape: Shape) -> dict[Path, Any]:
    """The fields of an object that can be owned, each with its value."""
    found: dict[Path, Any] = {}
    _collect(_ownable(body), shape, (), found)
    return found


def differing_leaves(
    old: Mapping[str, Any], new: Mapping[str, Any], shape: Shape
) -> tuple[dict[Path, Any], dict[Path, Any]]:
    """``leaves`` of both, less parts that are the same in both: of most writes nearly all."""
    before, after = _differing(_ownable(old), _ownable(new), shape)
    found: tuple[dict[Path, Any], dict[Path, Any]] = ({}, {})
    _collect(before, shape, (), found[0])
    _collect(after, shape, (), found[1])
    return found


def to_fields_v1(paths: frozenset[Path]) -> FieldsV1:
    """The nested form: a ``.`` says that the place itself belongs to the set."""
    parents = {path[:length] for path in paths for length in range(1, len(path))}
    fields = FieldsV1(paths)
    for path in sorted(paths):
        place: dict[str, Any] = fields
        for element in path:
            place = place.setdefault(element, {})
        if path in parents:
            place["."] = {}
    return fields


def from_fields_v1(fields: Mapping[str, Any]) -> frozenset[Path]:
    """The set that the nested form states."""
    return fields.paths if isinstance(fields, FieldsV1) else frozenset(_paths(fields, ()))


def without(value: Any, shape: Shape, doomed: frozenset[Path], kept: frozenset[Path]) -> Any:
    """``value`` less the fields of ``doomed``, save what ``kept`` holds within them."""
    doomed = doomed | {
        path[:length] for path in doomed for length in range(1, len(path)) if path[length - 1].startswith("f:")
    }
    # Nobody owns an object's name or uid, so metadata as a whole is never dropped.
    kept = kept | {path[:length] for path in kept for length in range(1, len(path))} | {("f:metadata",)}
    return _without(value, shape, (), doomed, kept)


def dotted(path: Path) -> str:
    """``.spec.containers[name="worker"].image``, as conflicts are told."""
    text = ""
    for element in path:
        kind, _, name = element.partition(":")
        if kind == "f":
            text += f".{name}"
        elif kind == "k":
            text += "[" + name.strip("{}").replace('":', "=").replace('"', "", 1).replace(',"', ",") + "]"
        else:
            text += f"[={name}]"
    return text


def _ownable(body: Mapping[str, Any]) -> dict[str, Any]:
    bare = {name: value for name, value in body.items() if name not in ("apiVersion", "kind", "metadata")}
    metadata = {name: v for name, v in (body.get("metadata") or {}).items() if name not in _SYSTEM_METADATA}
    if metadata:
        bare["metadata"] = metadata
    return bare


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], shape: Shape) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both maps without the entries that are equal; a map below that is left with none is left out too."""
    before, after = dict(old), dict(new)
    for name in old.keys() & new.keys():
        one, other = old[name], new[name]
        if one == other:
            del before[name], after[name]
        elif one and other and isinstance(one, dict) and isinstance(other, dict) and shape.declares(name):
            below = shape.field(name)
            if below.atomic:
                continue
            for side, part in zip((before, after), _differing(one, other, below), strict=True):
                if part:
                    side[name] = part
                else:
                    del side[name]
    return before, after


def _collect(value: Any, shape: Shape, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and not shape.atomic:
        for name, child in value.items():
            below = (*path, f"f:{name}")
            if child is None or child == {}:
                found[below] = child
                continue
            if isinstance(child, dict) and not shape.declares(name):
                found[below] = MEMBER
            _collect(child, shape.field(name), below, found)
    elif isinstance(value, list) and (keys := shape.list_keys) is not None:
        of_item = shape.item()
        for child in value:
            below = (*path, item_key(child, of_item, keys))
            found[below] = MEMBER
            if keys:
                _collect(child, of_item, below, found)
    else:
        found[path] = value


def _paths(fields: Mapping[str, Any], path: Path) -> Iterator[Path]:
    if path and (not fields or "." in fields):
        yield path
    for element, below in fields.items():
        if element != ".":
            yield from _paths(below, (*path, element))


def _without(value: Any, shape: Shape, path: Path, doomed: frozenset[Path], kept: frozenset[Path]) -> Any:
    if isinstance(value, Mapping):
        remaining = {}
        for name, child in value.items():
            below = (*path, f"f:{name}")
            if below not in doomed:
                remaining[name] = child
            elif below in kept:
                remaining[name] = _without(child, shape.field(name), below, doomed, kept)
        return remaining
    if isinstance(value, list) and (keys := shape.list_keys) is not None:
        items = []
        for child in value:
            below = (*path, item_key(child, shape.item(), keys))
            if below not in doomed and not any(p[: len(below)] == below for p in doomed):
                items.append(child)
            elif below in kept or below not in doomed:
                items.append(_without(child, shape.item(), below, doomed, kept))
        return items
    return value
