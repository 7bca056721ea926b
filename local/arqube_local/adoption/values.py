"""What an expression in a project comes to: a value, or a variable of the environment with its default."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from arqube_local.adoption.findings import Place
from arqube_local.adoption.names import (
    External,
    Found,
    Scope,
    class_of,
    dotted,
    external_name,
    lineage,
    member,
    resolve,
)

NAMED: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_DEEPEST: Final = 20
_CONVERSIONS: Final = {"int", "str", "float", "bool"}
_READERS: Final = {"os.getenv", "os.environ.get", "environ.get", "getenv", "config", "decouple.config", "env.str"}
"""Calls that read a variable: its name, then its default."""
_CONFIG_CLASSES: Final = {"starlette.config.Config", "environs.Env", "environ.Env"}
"""Classes whose instances read a variable when they are called."""
_SETTINGS_CLASSES: Final = {"pydantic_settings.BaseSettings", "pydantic.BaseSettings", "pydantic.v1.BaseSettings"}
_TIMEDELTA: Final = {
    "weeks": 604_800,
    "days": 86_400,
    "hours": 3600,
    "minutes": 60,
    "seconds": 1,
    "milliseconds": 0.001,
}
_OPERATORS: Final[Mapping[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(frozen=True, slots=True)
class Known:
    """A value that stands in the source: a string, number, boolean, None, or a container of these."""

    value: Any


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment.

    Attributes:
        name: Of the variable.
        default: What counts where it is absent, if it is known; None where there is none.
        required: Whether the app fails without it.
        place: Where it is read.
    """

    name: str
    default: Any
    required: bool
    place: Place


Value = Known | Variable | None
"""None where it cannot be told."""


def evaluate(scope: Scope, node: ast.expr, *, depth: int = 0) -> Value:
    """What ``node`` comes to; a ``timedelta`` comes to its seconds."""
    if depth > _DEEPEST:
        return None
    if isinstance(node, ast.Constant):
        return Known(node.value)
    if isinstance(node, ast.Name | ast.Attribute):
        return _named(scope, node, depth)
    if isinstance(node, ast.Call):
        return _called(scope, node, depth)
    if (
        isinstance(node, ast.Subscript)
        and isinstance(node.ctx, ast.Load)
        and external_name(scope, node.value).endswith("environ")
    ):
        name = evaluate(scope, node.slice, depth=depth + 1)
        return Variable(str(name.value), None, True, scope.at(node)) if isinstance(name, Known) else None
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return _first_of(scope, node, depth)
    return _computed(scope, node, depth)


def known(scope: Scope, node: ast.expr | None, default: Any = None) -> Any:
    """The value where it is known, or is the default of a variable; else ``default``."""
    value = None if node is None else evaluate(scope, node)
    if isinstance(value, Variable):
        return default if value.default is None else value.default
    return value.value if isinstance(value, Known) else default


def argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    """What is given for one parameter; None where nothing is, or it cannot be told."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value
    plain = call.args[: position + 1]
    if len(plain) <= position or any(isinstance(each, ast.Starred) for each in plain):
        return None
    return plain[position]


def is_settings_class(found: Found) -> bool:
    """Whether the fields of the class come from the environment, as pydantic's ``BaseSettings`` has it."""
    return any(isinstance(each, External) and each.name in _SETTINGS_CLASSES for each in lineage(found))


def field_value(holder: Found, name: str, *, required: bool = False) -> Value:
    """What a field of a settings class comes to.

    Args:
        holder: The class; ``is_settings_class`` holds.
        name: Of the field.
        required: Whether nothing stands behind its annotation.
    """
    place, default, variable = holder.place, None, _prefix(holder) + name.upper()
    found = member(holder, name)
    if found is not None:
        place = found.place
        node = found.node
        if isinstance(node, ast.Call) and external_name(found.scope, node.func).endswith("Field"):
            alias = argument(node, 99, "validation_alias") or argument(node, 99, "alias")
            variable = known(found.scope, alias) or variable
            inner = argument(node, 0, "default")
            if inner is None:
                return Variable(variable, None, argument(node, 99, "default_factory") is None, place)
            node = inner
        if isinstance(node, ast.expr):
            value = evaluate(found.scope, node)
            if isinstance(value, Variable):
                return value
            default = value.value if isinstance(value, Known) else None
            required = default is Ellipsis
            default = None if required else default
    return Variable(variable, default, required, place)


def _named(scope: Scope, node: ast.Name | ast.Attribute, depth: int) -> Value:
    if isinstance(node, ast.Attribute):
        held = resolve(scope, node.value, depth=depth)
        if node.attr == "__name__" and isinstance(held, Found):
            return Known(held.node.name) if isinstance(held.node, NAMED) else None
        holder = held if isinstance(held, Found) and isinstance(held.node, ast.ClassDef) else class_of(held)
        if isinstance(holder, Found) and is_settings_class(holder):
            return field_value(holder, node.attr, required=member(holder, node.attr) is None)
    found = resolve(scope, node, depth=depth)
    if isinstance(found, Found) and isinstance(found.node, ast.expr) and found.node is not node:
        return evaluate(found.scope, found.node, depth=depth + 1)
    return None


def _called(scope: Scope, node: ast.Call, depth: int) -> Value:
    name = external_name(scope, node.func) or ".".join(dotted(node.func) or ())
    if name in _CONVERSIONS and node.args:
        return evaluate(scope, node.args[0], depth=depth + 1)
    if name in {"datetime.timedelta", "timedelta"} and not node.args:
        parts = [(_TIMEDELTA.get(each.arg or ""), known(scope, each.value)) for each in node.keywords]
        if all(size is not None and isinstance(count, int | float) for size, count in parts):
            return Known(sum(size * count for size, count in parts if size is not None))
        return None
    if name in _READERS or _makes_readers(scope, node.func):
        variable = known(scope, argument(node, 0, "key"))
        if isinstance(variable, str):
            default = argument(node, 1, "default")
            required = default is None and not name.endswith(("getenv", "environ.get"))
            return Variable(variable, known(scope, default), required, scope.at(node))
    return None


def _makes_readers(scope: Scope, node: ast.expr) -> bool:
    reader = resolve(scope, node)
    if not isinstance(reader, Found) or not isinstance(reader.node, ast.Call):
        return False
    return external_name(reader.scope, reader.node.func) in _CONFIG_CLASSES


def _first_of(scope: Scope, node: ast.BoolOp, depth: int) -> Value:
    first, *others = [evaluate(scope, each, depth=depth + 1) for each in node.values]
    if isinstance(first, Variable):
        default = next((each.value for each in others if isinstance(each, Known) and each.value), first.default)
        return Variable(first.name, default, first.required, first.place)
    return first


def _computed(scope: Scope, node: ast.expr, depth: int) -> Value:
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        items = [evaluate(scope, each, depth=depth + 1) for each in node.elts]
        return Known(tuple(item.value for item in items if isinstance(item, Known))) if _all_known(items) else None
    if isinstance(node, ast.JoinedStr):
        parts = [evaluate(scope, each, depth=depth + 1) for each in node.values]
        return (
            Known("".join(str(part.value) for part in parts if isinstance(part, Known))) if _all_known(parts) else None
        )
    if isinstance(node, ast.FormattedValue) and node.format_spec is None:
        return evaluate(scope, node.value, depth=depth + 1)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = evaluate(scope, node.operand, depth=depth + 1)
        return Known(-value.value) if isinstance(value, Known) and isinstance(value.value, int | float) else None
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = (evaluate(scope, each, depth=depth + 1) for each in (node.left, node.right))
        try:
            if isinstance(left, Known) and isinstance(right, Known):
                return Known(_OPERATORS[type(node.op)](left.value, right.value))
        except (ArithmeticError, TypeError):
            return None
    return None


def _all_known(items: list[Value]) -> bool:
    return all(isinstance(item, Known) for item in items)


def _prefix(holder: Found) -> str:
    """``env_prefix`` of a settings class."""
    inner = member(holder, "model_config") or member(holder, "Config")
    if inner is not None and isinstance(inner.node, ast.Call):
        return str(known(inner.scope, argument(inner.node, 99, "env_prefix"), ""))
    if inner is not None and isinstance(inner.node, ast.ClassDef) and (prefix := member(inner, "env_prefix")):
        return str(known(prefix.scope, prefix.node if isinstance(prefix.node, ast.expr) else None, ""))
    return ""
