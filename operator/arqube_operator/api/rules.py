"""What every model of the API stands on: a frozen base, and rules that are written once for both readers.

The API server reads a rule as CEL in the CRD (``x-kubernetes-validations``), the operator as a predicate when it reads
an object; the message is the same. A rule stands on a field (``Annotated[str, Rule(...)]``) or, where it compares
fields, in the ``rules`` of their model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from arqube_operator.api.duration import DURATION_PATTERN, parse_duration

VALIDATIONS: Final = "x-kubernetes-validations"
RULE_ERROR: Final = "rule"
"""The type of a broken rule among pydantic's errors; its context has the path of the field below the model."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Something a value must satisfy.

    Attributes:
        cel: The rule in CEL, where ``self`` is the value.
        message: What a person reads after the field's path: what it must be, and the remedy where that is elsewhere.
        holds: The same as ``cel``, for the value as the models hold it. It answers True where only the API server can
            tell, as it sees the object before the change.
        path: Of the field below a model that the message is about, by its name in manifests.
        schema: Keywords of OpenAPI that say part of the rule to readers without CEL.
    """

    cel: str
    message: str
    holds: Callable[[Any], object]
    path: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def validation(self) -> dict[str, str]:
        """The entry of ``x-kubernetes-validations``."""
        field_path = {"fieldPath": f".{self.path}"} if self.path else {}
        return {"rule": self.cel, "message": self.message, **field_path}

    def check(self, value: Any) -> Any:
        """``value`` itself.

        Raises:
            PydanticCustomError: The rule does not hold.
        """
        if not self.holds(value):
            raise PydanticCustomError(RULE_ERROR, self.message, {"path": self.path})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        validations = [*described.get(VALIDATIONS, ()), self.validation()]
        return {**described, **self.schema, VALIDATIONS: validations}


def matching(pattern: str, message: str) -> Rule:
    """A rule that the whole text matches ``pattern``: RE2 syntax, anchored, without a single quote.

    The API server's own message for a pattern shows the expression alone, hence the rule beside the keyword.
    """
    return Rule(
        cel=f"self.matches(r'{pattern}')",
        message=message,
        holds=re.compile(pattern, re.ASCII).fullmatch,
        schema={"pattern": pattern},
    )


def duration_between(shortest: str, longest: str) -> Rule:
    """A rule that the text is a duration within bounds, both included."""
    least, most = parse_duration(shortest), parse_duration(longest)
    return Rule(
        cel=(
            f"self.matches('{DURATION_PATTERN}') && duration(self) >= duration('{shortest}')"
            f" && duration(self) <= duration('{longest}')"
        ),
        message=f"must be a duration from {shortest} to {longest}, such as 30s, 5m or 1h30m",
        holds=lambda text: re.fullmatch(DURATION_PATTERN, text) and least <= parse_duration(text) <= most,
        schema={"pattern": DURATION_PATTERN},
    )


class ApiModel(BaseModel):
    """A part of an object: frozen, camelCase in manifests, types as strict as the API server's, no unknown fields.

    The docstring of a field is its description in the CRD.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    rules: ClassVar[tuple[Rule, ...]] = ()

    def to_object(self) -> dict[str, Any]:
        """The part as Kubernetes' JSON, without the fields that were not set."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True)

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        described = handler(schema)
        if cls.rules:
            handler.resolve_ref_schema(described)[VALIDATIONS] = [rule.validation() for rule in cls.rules]
        return described
