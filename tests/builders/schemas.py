"""Values of a schema of the CRD, at its bounds and beyond what anybody would write; and objects that are nearly so."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from hypothesis import strategies as st

TIMES: Final = (
    "2026-01-31T12:00:00Z",
    "1970-01-01T00:00:00Z",
    "0001-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-23:59",
    "2026-02-30T12:00:00Z",
    "2026-12-31T23:59:60Z",
    "2026-01-31t12:00:00z",
    "2026-01-31T12:00:00.123456789+14:00",
)
LARGEST: Final = 2**63 - 1
JUNK: Final[st.SearchStrategy[Any]] = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**31, LARGEST, 1e300, 0.5, "", " ", "\0", "\u202e", "a" * 300, "..", "{{x}}", [], {}]),
    st.dictionaries(st.sampled_from(["name", "a.b", "$ref"]), st.integers(0, 1), max_size=2),
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What ``schema`` lets pass; of rules and lengths of patterns it knows nothing."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case "object":
            return _objects(schema)
        case "array":
            most = min(3, schema.get("maxItems", 3))
            return st.lists(
                values(schema["items"]), min_size=schema.get("minItems", 0), max_size=most, unique_by=_identity(schema)
            )
        case "boolean":
            return st.booleans()
        case "integer":
            least, most = schema.get("minimum", -LARGEST), schema.get("maximum", LARGEST)
            return st.one_of(st.sampled_from([least, most]), st.integers(least, most))
        case "number":
            least, most = schema.get("minimum", -1e308), schema.get("maximum", 1e308)
            return st.one_of(st.sampled_from([least, most]), st.floats(least, most))
    return _texts(schema)


def _identity(schema: dict[str, Any]) -> Callable[[Any], Any] | None:
    """What no two items of a list may share, as the API server has it; None where anything may come again."""
    match schema.get("x-kubernetes-list-type"):
        case "set":
            return repr
        case "map":
            keys = schema["x-kubernetes-list-map-keys"]
            return lambda item: tuple(repr(item.get(key)) for key in keys)
    return None


def _texts(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.sampled_from(TIMES)
    least, most = schema.get("minLength", 0), schema.get("maxLength", 100)
    if "pattern" in schema:
        matching = st.from_regex(schema["pattern"].replace("$", r"\Z"))
        return matching.filter(lambda text: least <= len(text) <= most)
    return st.text(min_size=least, max_size=min(most, 30))


def _objects(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    parts = {name: values(part) for name, part in schema.get("properties", {}).items()}
    required = {name: parts.pop(name) for name in schema.get("required", ())}
    known = st.fixed_dictionaries(required, optional=parts)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        others = st.dictionaries(st.sampled_from(["containers", "volumes", "hostNetwork", "x y"]), JUNK, max_size=2)
        return st.builds(lambda one, other: {**other, **one}, known, others)
    if isinstance(schema.get("additionalProperties"), dict):
        names = st.sampled_from(["team", "arqube.dev/taskqueue", "app.kubernetes.io/name", "a" * 63])
        return st.dictionaries(names, values(schema["additionalProperties"]), max_size=3)
    return known


@st.composite
def mutated(draw: st.DrawFn, objects: st.SearchStrategy[dict[str, Any]]) -> dict[str, Any]:
    """One of ``objects`` with up to two of its values replaced, taken away, or joined by others."""
    changed = copy.deepcopy(draw(objects))
    for _ in range(draw(st.integers(0, 2))):
        holder: Any = changed
        while True:
            names = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if not names:
                break
            name = draw(st.sampled_from(names))
            if isinstance(holder[name], (dict, list)) and holder[name] and draw(st.booleans()):
                holder = holder[name]
                continue
            match draw(st.integers(0, 3)):
                case 0:
                    del holder[name]
                case 1 if isinstance(holder, dict):
                    holder[f"{name}x"] = draw(JUNK)
                case _:
                    holder[name] = draw(JUNK)
            break
    return changed
