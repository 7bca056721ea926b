"""A custom kind's structural schema: filling in defaults, pruning what is unknown, and checking the rest.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/ says what each does.
CEL rules (``x-kubernetes-validations``) are not run.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from jsonschema import Draft4Validator, FormatChecker
from jsonschema.exceptions import ValidationError

from arqube_local.apiserver.errors import Cause

_OBJECT_FIELDS: Final = frozenset({"apiVersion", "kind", "metadata"})
_FORMATS: Final = FormatChecker(formats=())
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})")


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(_RFC3339.fullmatch(value) and datetime.fromisoformat(value.upper()))


class Schema:
    """One version's schema; ``document`` is as the CustomResourceDefinition states it."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self._validated = _for_jsonschema(document)
        self._validators: dict[frozenset[str], Draft4Validator] = {}

    def pruned(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """``body`` without the fields that the schema does not know, and the paths of those."""
        unknown: list[str] = []
        known = {name: body[name] for name in _OBJECT_FIELDS & body.keys()}
        rest = {name: value for name, value in body.items() if name not in _OBJECT_FIELDS}
        return {**known, **_pruned(rest, self.document, "", unknown)}, unknown

    def defaulted(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """``body`` with the schema's defaults where it says nothing."""
        filled: dict[str, Any] = _defaulted(body, self.document)
        return filled

    def problems(self, body: Mapping[str, Any], old: Mapping[str, Any] | None = None) -> list[Cause]:
        """What is wrong with ``body``, field by field, in the API server's words.

        Args:
            old: What it is made of, which had no problem: its fields are not looked into where they are unchanged.
        """
        rest = {name: value for name, value in body.items() if name != "metadata"}
        same = frozenset(name for name, value in rest.items() if old is not None and old.get(name) == value)
        errors = self._validator_but_of(same).iter_errors(rest)
        ordered = sorted(errors, key=lambda error: list(map(str, error.absolute_path)))
        changed = {name: value for name, value in rest.items() if name not in same}
        return [*map(_cause, ordered), *_repeated(changed, self.document, "")]

    def _validator_but_of(self, fields: frozenset[str]) -> Draft4Validator:
        if fields not in self._validators:
            properties = {k: v for k, v in self._validated.get("properties", {}).items() if k not in fields}
            schema = {**self._validated, "properties": properties}
            self._validators[fields] = Draft4Validator(schema, format_checker=_FORMATS)
        return self._validators[fields]


def _pruned(value: Any, schema: Mapping[str, Any], path: str, unknown: list[str]) -> Any:
    if isinstance(value, Mapping):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        free = bool(additional) or bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        embedded = _OBJECT_FIELDS if schema.get("x-kubernetes-embedded-resource") else frozenset()
        kept = {}
        for name, child in value.items():
            below = f"{path}.{name}" if path else name
            if name in properties:
                kept[name] = _pruned(child, properties[name], below, unknown)
            elif free or name in embedded:
                kept[name] = _pruned(child, additional, below, unknown) if isinstance(additional, Mapping) else child
            else:
                unknown.append(below)
        return kept
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_pruned(child, schema["items"], f"{path}[{n}]", unknown) for n, child in enumerate(value)]
    return value


def _defaulted(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        filled = dict(value)
        for name, below in (schema.get("properties") or {}).items():
            missing = name not in filled or (filled[name] is None and not below.get("nullable"))
            if missing and "default" in below:
                filled[name] = copy.deepcopy(below["default"])
            if name in filled:
                filled[name] = _defaulted(filled[name], below)
        if isinstance(additional := schema.get("additionalProperties"), Mapping):
            free = filled.keys() - (schema.get("properties") or {}).keys()
            filled.update({name: _defaulted(filled[name], additional) for name in free})
        return filled
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        return [_defaulted(child, schema["items"]) for child in value]
    return value


def _for_jsonschema(schema: Any) -> Any:
    """The schema in JSON Schema's own terms: ``nullable`` and int-or-string are OpenAPI's and Kubernetes'."""
    if isinstance(schema, list):
        return [_for_jsonschema(each) for each in schema]
    if not isinstance(schema, Mapping):
        return schema
    nested = ("properties", "patternProperties", "definitions")
    plain: dict[str, Any] = {
        name: {key: _for_jsonschema(below) for key, below in part.items()} if name in nested else _for_jsonschema(part)
        for name, part in schema.items()
        if name not in ("default", "enum", "example")
    }
    if "enum" in schema:
        plain["enum"] = list(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        plain["type"] = ["integer", "string"]
    if schema.get("nullable") and "type" in plain:
        declared = plain["type"]
        plain["type"] = [*(declared if isinstance(declared, list) else [declared]), "null"]
    return plain


def _cause(error: ValidationError) -> Cause:
    path = _path(error)
    value: Any = error.instance
    limit: Any = error.validator_value
    shown = json.dumps(value)
    match error.validator:
        case "required":
            missing = error.message.split("'")[1]
            return Cause(f"{path}.{missing}" if path else missing, "Required value", "FieldValueRequired")
        case "enum":
            supported = ", ".join(json.dumps(each) for each in limit)
            told = f"Unsupported value: {shown}: supported values: {supported}"
            return Cause(path, told, "FieldValueNotSupported")
        case "type":
            actual, wanted = _type(value), limit if isinstance(limit, str) else ",".join(limit)
            told = f'{path} in body must be of type {wanted}: "{actual}"'
            return Cause(path, f'Invalid value: "{actual}": {told}', "FieldValueTypeInvalid")
        case "maxLength":
            return Cause(path, f"Too long: may not be more than {limit} bytes", "FieldValueTooLong")
        case "maxItems":
            told = f"Too many: {len(value)}: must have at most {limit} items"
            return Cause(path, told, "FieldValueTooMany")
        case _:
            return Cause(path, f"Invalid value: {shown}: {path} in body {_must(error)}", "FieldValueInvalid")


def _must(error: ValidationError) -> str:
    limit = error.validator_value
    match error.validator:
        case "minimum":
            return f"should be greater than or equal to {limit}"
        case "maximum":
            return f"should be less than or equal to {limit}"
        case "minLength":
            return f"should be at least {limit} chars long"
        case "minItems":
            return f"should have at least {limit} items"
        case "pattern":
            return f"should match '{limit}'"
        case "format":
            return f"must be of type {limit}: {json.dumps(error.instance)}"
        case _:
            return f"is wrong: {error.message}"


def _path(error: ValidationError) -> str:
    text = ""
    for element in error.absolute_path:
        text += f"[{element}]" if isinstance(element, int) else f".{element}" if text else str(element)
    return text


def _type(value: Any) -> str:
    if value is None:
        return "null"
    names = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return names.get(type(value), "object")


def _repeated(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    """Items that stand twice in a list whose items are told apart by key or value."""
    if isinstance(value, Mapping):
        for name, below in (schema.get("properties") or {}).items():
            if name in value:
                yield from _repeated(value[name], below, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        relation, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys") or ()
        seen: list[Any] = []
        for number, item in enumerate(value):
            place = f"{path}[{number}]"
            yield from _repeated(item, schema["items"], place)
            if relation not in ("map", "set") or (relation == "map" and not isinstance(item, Mapping)):
                continue
            identity = {key: item.get(key) for key in keys} if relation == "map" else item
            if identity in seen:
                yield Cause(place, f"Duplicate value: {json.dumps(identity)}", "FieldValueDuplicate")
            seen.append(identity)
