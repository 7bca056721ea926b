"""Label and field selectors: their grammar, and whether an object matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from arqube_local.apiserver.errors import bad_request
from arqube_local.apiserver.kinds import EVENTS, NAMESPACES, NODES, PODS, REPLICA_SETS, SECRETS, Kind

Matcher = Callable[[Mapping[str, Any]], bool]

_SET_BASED: Final = re.compile(r"\s*([\w./-]+)\s+(in|notin)\s*\(([^)]*)\)\s*")
_EQUALITY: Final = re.compile(r"\s*([\w./-]+)\s*(==|!=|=)\s*([\w.-]*)\s*")
_EXISTENCE: Final = re.compile(r"\s*(!?)\s*([\w./-]+)\s*")
_FIELD: Final = re.compile(r"\s*([\w.]+)\s*(==|!=|=)([^,]*)")

_FIELDS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    PODS.key: ("spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"),
    EVENTS.key: (
        *(f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")),
        "involvedObject.resourceVersion",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    SECRETS.key: ("type",),
    NAMESPACES.key: ("status.phase",),
    NODES.key: ("spec.unschedulable",),
    REPLICA_SETS.key: ("status.replicas",),
}
"""Beside ``metadata.name`` and ``metadata.namespace``, the only fields that may be selected by."""


def matcher(kind: Kind, label_selector: str, field_selector: str) -> Matcher:
    """A test for objects of ``kind``.

    Raises:
        StatusError: 400, a selector cannot be parsed or names a field that cannot be selected by.
    """
    tests = [*_label_tests(label_selector), *_field_tests(kind, field_selector)]
    return lambda body: all(test(body) for test in tests)


def _label_tests(text: str) -> list[Matcher]:
    tests: list[Matcher] = []
    for part in _split(text):
        if found := _SET_BASED.fullmatch(part):
            key, operator, listed = found.groups()
            tests.append(_label(key, frozenset(value.strip() for value in listed.split(",")), operator == "in"))
        elif found := _EQUALITY.fullmatch(part):
            key, operator, value = found.groups()
            tests.append(_label(key, frozenset({value}), operator != "!="))
        elif found := _EXISTENCE.fullmatch(part):
            tests.append(_has_label(found[2], wanted=not found[1]))
        else:
            raise bad_request(f"unable to parse requirement: {part!r} is no label selector")
    return tests


def _field_tests(kind: Kind, text: str) -> list[Matcher]:
    tests: list[Matcher] = []
    for part in filter(None, text.split(",")):
        found = _FIELD.fullmatch(part)
        if found is None:
            raise bad_request(f"invalid field selector: {part!r}")
        path, operator, value = found.groups()
        if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get(kind.key, ())):
            raise bad_request(f"field label not supported: {path}")
        tests.append(_field(path, value, operator != "!="))
    return tests


def _split(text: str) -> list[str]:
    """The requirements of a label selector; commas within parentheses do not part them."""
    return [part for part in re.split(r",(?![^(]*\))", text) if part.strip()]


def _label(key: str, values: frozenset[str], wanted: bool) -> Matcher:
    return lambda body: ((body["metadata"].get("labels") or {}).get(key) in values) == wanted


def _has_label(key: str, *, wanted: bool) -> Matcher:
    return lambda body: (key in (body["metadata"].get("labels") or {})) == wanted


def _field(path: str, value: str, wanted: bool) -> Matcher:
    names = path.split(".")

    def test(body: Mapping[str, Any]) -> bool:
        found: Any = body
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        if path == "source" and isinstance(found, Mapping):
            found = found.get("component")
        return (("" if found is None else str(found)) == value) is wanted

    return test
