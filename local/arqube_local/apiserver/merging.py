"""Patches as functions of the object and the patch: JSON, merge, strategic merge, and the merge of an apply.

RFC 6902, RFC 7396, and Kubernetes' strategic merge patch with ``$patch: replace|delete``, ``$retainKeys``,
``$setElementOrder`` and ``$deleteFromPrimitiveList``, of which the order is taken as it comes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jsonpatch

from arqube_local.apiserver.errors import StatusError
from arqube_local.apiserver.shape import Shape, item_key


def json_patched(body: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> Any:
    """``body`` after a JSON patch (RFC 6902).

    Raises:
        StatusError: 422, the patch cannot be applied.
    """
    try:
        return jsonpatch.apply_patch(body, list(operations))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException, TypeError, KeyError) as error:
        raise StatusError(422, "Invalid", f"the JSON patch cannot be applied: {error}") from error


def merge_patched(value: Any, patch: Any) -> Any:
    """``value`` after a merge patch (RFC 7396): None takes a field away, lists are replaced."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(value) if isinstance(value, Mapping) else {}
    for name, part in patch.items():
        if part is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patched(merged.get(name), part)
    return merged


def strategic_patched(value: Any, patch: Any, shape: Shape) -> Any:
    """``value`` after a strategic merge patch."""
    if not isinstance(patch, Mapping):
        return patch
    if patch.get("$patch") == "replace" or not isinstance(value, Mapping):
        return _undirected(patch)
    merged = dict(value)
    if (retained := patch.get("$retainKeys")) is not None:
        merged = {name: part for name, part in merged.items() if name in retained}
    for name, part in patch.items():
        if name.startswith("$deleteFromPrimitiveList/"):
            field = name.partition("/")[2]
            merged[field] = [each for each in merged.get(field) or () if each not in part]
        elif name.startswith("$"):
            continue
        elif part is None or (isinstance(part, Mapping) and part.get("$patch") == "delete"):
            merged.pop(name, None)
        elif isinstance(part, list):
            merged[name] = _strategic_list(merged.get(name) or [], part, shape.field(name))
        else:
            merged[name] = strategic_patched(merged.get(name), part, shape.field(name))
    return merged


def applied(value: Any, config: Any, shape: Shape) -> Any:
    """``value`` with everything of ``config`` merged into it, as server-side apply does."""
    if isinstance(config, Mapping) and isinstance(value, Mapping) and not shape.atomic:
        fields = {name: applied(value.get(name), part, shape.field(name)) for name, part in config.items()}
        return {**value, **fields}
    if isinstance(config, list) and isinstance(value, list) and (keys := shape.list_keys) is not None:
        return _by_key(value, config, shape.item(), keys, applied)
    return config


def _strategic_list(old: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    keys = shape.list_keys
    if keys is None or any(isinstance(each, Mapping) and each.get("$patch") == "replace" for each in patch):
        return [_undirected(each) for each in patch if not (isinstance(each, Mapping) and "$patch" in each)]
    # A strategic merge patch knows one key a list, the first: a port goes by its number alone.
    key = keys[:1]
    deleted = {
        item_key(each, shape.item(), key)
        for each in patch
        if isinstance(each, Mapping) and each.get("$patch") == "delete"
    }
    kept = [each for each in old if item_key(each, shape.item(), key) not in deleted]
    put = [each for each in patch if not (isinstance(each, Mapping) and each.get("$patch") == "delete")]
    return _by_key(kept, put, shape.item(), key, strategic_patched)


def _by_key(old: list[Any], new: list[Any], shape: Shape, keys: tuple[str, ...], merge: Any) -> list[Any]:
    """``new``'s items merged into ``old``'s of the same key; new ones come last."""
    merged = {item_key(each, shape, keys): each for each in old}
    for each in new:
        key = item_key(each, shape, keys)
        merged[key] = merge(merged.get(key), each, shape)
    return list(merged.values())


def _undirected(value: Any) -> Any:
    """``value`` without the patch's directives."""
    if isinstance(value, Mapping):
        fields = ((name, part) for name, part in value.items() if not name.startswith("$") and part is not None)
        return {name: _undirected(part) for name, part in fields}
    return [_undirected(part) for part in value] if isinstance(value, list) else value
