"""What the API server refuses: bad names, bad bodies of built-in kinds, and changes of what cannot change."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from arqube_local.apiserver.errors import Cause
from arqube_local.apiserver.kinds import DEFINITIONS, DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS, SERVICES, Kind

Body = Mapping[str, Any]

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_RULE: Final = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_RULE: Final = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_IMMUTABLE: Final = "field is immutable"


def problems(kind: Kind, body: Body, old: Body | None = None) -> list[Cause]:
    """What is wrong with ``body`` on its own; ``old`` is what it is made of, if anything."""
    checks = [*_name(kind, body["metadata"]["name"]), *_finalizers(body)]
    if kind.schema is not None:
        return [*checks, *kind.schema.problems(body, old)]
    spec = body.get("spec")
    match kind.key:
        case DEPLOYMENTS.key | REPLICA_SETS.key:
            checks += _workload(spec or {})
        case PODS.key:
            checks += _pod(spec or {}, "spec")
        case DEFINITIONS.key:
            checks += _definition(body)
    return checks


def problems_of_change(kind: Kind, old: Body, new: Body) -> list[Cause]:
    """What ``new`` changes of ``old`` that cannot change."""
    before, after = old.get("spec") or {}, new.get("spec") or {}
    if kind.key in (DEPLOYMENTS.key, REPLICA_SETS.key) and before.get("selector") != after.get("selector"):
        return [Cause("spec.selector", f"Invalid value: {json.dumps(after.get('selector'))}: {_IMMUTABLE}")]
    if kind.key == PODS.key and _fixed(before) != _fixed(after):
        told = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
            "negative)"
        )
        return [Cause("spec", told, "FieldValueForbidden")]
    return []


def _name(kind: Kind, name: Any) -> Iterator[Cause]:
    # Both become DNS labels; everything else may hold dots.
    label = kind.key in (NAMESPACES.key, SERVICES.key)
    text = str(name)
    if len(text) > (63 if label else 253):
        yield Cause("metadata.name", f"Invalid value: {json.dumps(text)}: must be no more than 253 characters")
    elif not (_LABEL if label else _SUBDOMAIN).fullmatch(text):
        rule = _LABEL_RULE if label else _SUBDOMAIN_RULE
        yield Cause("metadata.name", f"Invalid value: {json.dumps(text)}: {rule}")


def _finalizers(body: Body) -> Iterator[Cause]:
    for name in body["metadata"].get("finalizers") or ():
        if "/" not in name and name not in ("orphan", "foregroundDeletion", "kubernetes"):
            told = "name is neither a standard finalizer name nor is it fully qualified"
            yield Cause("metadata.finalizers", f"Invalid value: {json.dumps(name)}: {told}")


def _workload(spec: Mapping[str, Any]) -> Iterator[Cause]:
    replicas = spec.get("replicas")
    if isinstance(replicas, int) and replicas < 0:
        yield Cause("spec.replicas", f"Invalid value: {replicas}: must be greater than or equal to 0")
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    selector = spec.get("selector") or {}
    if not selector:
        yield Cause("spec.selector", "Required value", "FieldValueRequired")
    if not (selector.get("matchLabels") or {}).items() <= labels.items():
        told = "`selector` does not match template `labels`"
        yield Cause("spec.template.metadata.labels", f"Invalid value: {json.dumps(labels)}: {told}")
    yield from _pod(template.get("spec") or {}, "spec.template.spec")


def _pod(spec: Mapping[str, Any], path: str) -> Iterator[Cause]:
    containers = spec.get("containers") or ()
    if not containers:
        yield Cause(f"{path}.containers", "Required value", "FieldValueRequired")
    seen: set[str] = set()
    for number, container in enumerate(containers):
        place = f"{path}.containers[{number}]"
        for field in ("name", "image"):
            if not container.get(field):
                yield Cause(f"{place}.{field}", "Required value", "FieldValueRequired")
        if container.get("name") in seen:
            yield Cause(f"{place}.name", f"Duplicate value: {json.dumps(container['name'])}", "FieldValueDuplicate")
        seen.add(container.get("name"))


def _definition(body: Body) -> Iterator[Cause]:
    spec = body.get("spec") or {}
    names = spec.get("names") or {}
    for field in ("group", "scope"):
        if not spec.get(field):
            yield Cause(f"spec.{field}", "Required value", "FieldValueRequired")
    for field in ("plural", "kind"):
        if not names.get(field):
            yield Cause(f"spec.names.{field}", "Required value", "FieldValueRequired")
    if not spec.get("versions"):
        yield Cause("spec.versions", "Required value", "FieldValueRequired")
    for number, version in enumerate(spec.get("versions") or ()):
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            path = f"spec.versions[{number}].schema.openAPIV3Schema"
            yield Cause(path, "Required value: schemas are required", "FieldValueRequired")
    expected = f"{names.get('plural')}.{spec.get('group')}"
    if (name := body["metadata"]["name"]) != expected:
        told = f'must be spec.names.plural+"."+spec.group, {json.dumps(expected)}'
        yield Cause("metadata.name", f"Invalid value: {json.dumps(name)}: {told}")


def _fixed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a pod's spec cannot change."""
    loose = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
    fixed = {name: value for name, value in spec.items() if name not in loose}
    for name in ("containers", "initContainers"):
        if name in fixed:
            fixed[name] = [{**each, "image": None} for each in fixed[name]]
    return fixed
