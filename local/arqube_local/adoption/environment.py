"""The variables of the environment that an app reads while its settings are imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from arqube_local.adoption.names import Found, Scope, lineage, resolve
from arqube_local.adoption.sources import Module
from arqube_local.adoption.values import Variable, evaluate, field_value, is_settings_class
from arqube_local.adoption.worker_settings import WorkerSettings


def variables_of(settings: WorkerSettings) -> tuple[Variable, ...]:
    """Those that the module of ``settings``, and the modules of the project that it imports, read at their top."""
    found: dict[str, Variable] = {}
    for module in _imported(settings.scope):
        scope = Scope(settings.scope.project, module)
        for variable in (*_fields(scope), *_reads(scope)):
            found.setdefault(variable.name, variable)
    return tuple(found.values())


def _imported(scope: Scope) -> tuple[Module, ...]:
    """The module itself, and those it imports directly or through others."""
    seen: dict[str, Module] = {}
    waiting = [scope.module]
    while waiting:
        module = waiting.pop()
        if module.path in seen:
            continue
        seen[module.path] = module
        here = Scope(scope.project, module)
        for name in module.imports:
            target = resolve(here, ast.Name(name))
            if isinstance(target, Found):
                waiting.append(target.scope.module)
    return tuple(seen.values())


def _reads(scope: Scope) -> Iterator[Variable]:
    """Direct reads outside of functions; those in fields of settings classes are theirs."""
    waiting: list[ast.AST] = list(scope.module.tree.body)
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.Call | ast.Subscript):
            value = evaluate(scope, node)
            if isinstance(value, Variable):
                yield value
                continue
        waiting += ast.iter_child_nodes(node)


def _fields(scope: Scope) -> Iterator[Variable]:
    """The fields of settings classes of which the module makes an object."""
    for node in ast.walk(scope.module.tree):
        holder = resolve(scope, node.func) if isinstance(node, ast.Call) else None
        if not isinstance(holder, Found) or not isinstance(holder.node, ast.ClassDef) or not is_settings_class(holder):
            continue
        for each in lineage(holder):
            for name, required in _annotated(each) if isinstance(each, Found) else ():
                value = field_value(holder, name, required=required)
                if isinstance(value, Variable):
                    yield value


def _annotated(holder: Found) -> Iterator[tuple[str, bool]]:
    """Fields, and whether nothing but their annotation is there."""
    for statement in getattr(holder.node, "body", []):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, statement.value is None
