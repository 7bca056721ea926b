"""What a definition of a kind no longer takes that an older one took: what is not additive breaks upgrades."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

_AT_LEAST: Final = ("minimum", "minLength", "minItems", "minProperties")
_AT_MOST: Final = ("maximum", "maxLength", "maxItems", "maxProperties")
_SAME: Final = (
    "type",
    "format",
    "pattern",
    "default",
    "nullable",
    "uniqueItems",
    "multipleOf",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-preserve-unknown-fields",
)
"""What must neither come, nor go, nor change: each way something valid may get invalid or mean something else."""
_LOGIC: Final = ("allOf", "anyOf", "oneOf", "not")
_NOTHING: Final = object()


def breaking_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Each change of a CustomResourceDefinition that is not additive, as a sentence that begins with its place."""
    changes = [
        f"{name}: {old['spec'][name]!r} became {new['spec'][name]!r}"
        for name in ("group", "scope")
        if old["spec"][name] != new["spec"][name]
    ]
    for name, value in old["spec"]["names"].items():
        changed = new["spec"]["names"].get(name)
        if (set(value) - set(changed or ())) if isinstance(value, list) else value != changed:
            changes.append(f"names.{name}: {value!r} became {changed!r}")
    versions = {version["name"]: version for version in new["spec"]["versions"]}
    for before in old["spec"]["versions"]:
        after = versions.get(before["name"])
        if after is None or (before["served"] and not after["served"]):
            changes.append(f"{before['name']}: is no longer served")
        else:
            changes += [f"{before['name']}: {change}" for change in _of_version(before, after)]
    return changes


def _of_version(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old["storage"] != new["storage"]:
        yield f"storage: {old['storage']} became {new['storage']}"
    for name, value in old.get("subresources", {}).items():
        if new.get("subresources", {}).get(name) != value:
            yield f"subresources.{name}: {value} became {new.get('subresources', {}).get(name)}"
    yield from _of_schema("", old["schema"]["openAPIV3Schema"], new["schema"]["openAPIV3Schema"])


def _of_schema(path: str, old: Schema, new: Schema) -> Iterator[str]:
    place = path or "the object"
    for name in _SAME:
        before, after = old.get(name, _NOTHING), new.get(name, _NOTHING)
        if before != after:
            yield f"{place}: {name} {_told(before)} became {_told(after)}"
    for names, tighter in ((_AT_LEAST, operator.gt), (_AT_MOST, operator.lt)):
        yield from _of_bounds(place, old, new, names, tighter)
    if "enum" in new and (gone := [value for value in old.get("enum", [_NOTHING]) if value not in new["enum"]]):
        yield f"{place}: enum no longer allows {', '.join(map(_told, gone))}"
    for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
        yield f"{place}: {name} became required"
    known = {rule["rule"] for rule in old.get("x-kubernetes-validations", ())}
    for rule in new.get("x-kubernetes-validations", ()):
        if rule["rule"] not in known:
            yield f"{place}: the rule {rule['rule']!r} is new"
    for name in _LOGIC:
        if name in new and new[name] != old.get(name):
            yield f"{place}: {name} changed"
    yield from _of_parts(path, old, new)


def _of_bounds(
    place: str, old: Schema, new: Schema, names: tuple[str, ...], tighter: Callable[[float, float], bool]
) -> Iterator[str]:
    for name in names:
        if name in new and (name not in old or tighter(new[name], old[name])):
            yield f"{place}: {name} {_told(old.get(name, _NOTHING))} became {new[name]}"


def _of_parts(path: str, old: Schema, new: Schema) -> Iterator[str]:
    """What fields, items and values of a map became."""
    for name, schema in old.get("properties", {}).items():
        inner = f"{path}.{name}" if path else name
        if name not in new.get("properties", {}):
            yield f"{inner}: is gone"
        else:
            yield from _of_schema(inner, schema, new["properties"][name])
    for part, suffix in (("items", "[]"), ("additionalProperties", "{}")):
        before, after = old.get(part), new.get(part)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            yield from _of_schema(path + suffix, before, after)
        elif before != after:
            yield f"{path}{suffix}: {part} {_told(before)} became {_told(after)}"


def _told(value: object) -> str:
    return "nothing" if value is _NOTHING or value is None else repr(value)
