"""The jobs that a settings object runs, and what a job calls in its turn."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from arqube_local.adoption.findings import Place
from arqube_local.adoption.names import (
    External,
    Found,
    Missing,
    Resolved,
    Scope,
    external_name,
    resolve,
    resolve_dotted,
)
from arqube_local.adoption.values import argument, known
from arqube_local.adoption.worker_settings import WorkerSettings

_FUNC: Final = {"arq.func", "arq.worker.func"}
_CRON: Final = {"arq.cron", "arq.cron.cron", "arq.cron.CronJob"}
_DEEPEST: Final = 20
_NESTED: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True, eq=False)
class Job:
    """One entry of ``functions`` or ``cron_jobs``.

    Attributes:
        name: By which it is enqueued.
        place: Of the entry.
        function: What the entry stands for, as far as that can be told.
        options: What ``func`` or ``cron`` is given besides.
        scope: In which the options' names count.
        cron: Whether it is a cron job.
    """

    name: str
    place: Place
    function: Resolved
    scope: Scope
    options: Mapping[str, ast.expr] = field(default_factory=dict)
    cron: bool = False

    @property
    def body(self) -> Found | None:
        """The function in the project, if it is there."""
        found = self.function
        if isinstance(found, Found) and isinstance(found.node, ast.FunctionDef | ast.AsyncFunctionDef):
            return found
        return None

    def option(self, name: str, default: Any = None) -> Any:
        """The value of one of its options, where it is known."""
        return known(self.scope, self.options.get(name), default)


@dataclass(frozen=True, eq=False)
class Jobs:
    """The jobs of a settings object.

    Attributes:
        all: Those that could be told, functions first.
        complete: Whether there are no others.
    """

    all: tuple[Job, ...]
    complete: bool


def jobs_of(settings: WorkerSettings) -> Jobs:
    """The jobs that ``settings`` runs."""
    entries = [
        job
        for name, cron in (("functions", False), ("cron_jobs", True))
        if (found := settings.get(name))
        for job in _entries(found.scope, found.node, cron, 0)
    ]
    return Jobs(tuple(filter(None, entries)), None not in entries)


def calls(function: Found) -> Iterator[ast.Call]:
    """The calls within a function itself: those of functions within it are made by others."""
    for node in inside(function):
        if isinstance(node, ast.Call):
            yield node


def inside(function: Found) -> Iterator[ast.AST]:
    """What stands in a function's body, in order, without the bodies of functions and classes within it."""
    body = getattr(function.node, "body", [])
    waiting: list[ast.AST] = list(reversed(body))
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _NESTED):
            waiting.extend(reversed(list(ast.iter_child_nodes(node))))


def reached(function: Found) -> tuple[Found, ...]:
    """The function and those of the project that it calls, directly or through others, each once."""
    seen: dict[int, Found] = {}
    waiting = [function]
    while waiting and len(seen) < 1000:
        each = waiting.pop()
        if id(each.node) in seen:
            continue
        seen[id(each.node)] = each
        for call in calls(each):
            called = resolve(each.scope, call.func)
            if isinstance(called, Found) and isinstance(called.node, ast.FunctionDef | ast.AsyncFunctionDef):
                waiting.append(called)
    return tuple(seen.values())


def _entries(scope: Scope, node: ast.AST, cron: bool, depth: int) -> Iterator[Job | None]:
    """The jobs of a list; None for what cannot be told."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        for item in node.elts:
            if isinstance(item, ast.Starred):
                yield from _entries(scope, item.value, cron, depth + 1)
            else:
                yield _entry(scope, item, cron)
        return
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _entries(scope, node.left, cron, depth + 1)
        yield from _entries(scope, node.right, cron, depth + 1)
        return
    if isinstance(node, ast.ListComp | ast.GeneratorExp):
        yield from _comprehended(scope, node, cron)
        return
    if isinstance(node, ast.Call) and external_name(scope, node.func) in {"list", "tuple"} and len(node.args) == 1:
        yield from _entries(scope, node.args[0], cron, depth + 1)
        return
    found = resolve(scope, node) if isinstance(node, ast.Name | ast.Attribute) else None
    if isinstance(found, Found) and found.node is not node and depth < _DEEPEST:
        yield from _entries(found.scope, found.node, cron, depth + 1)
    else:
        yield None


def _comprehended(scope: Scope, node: ast.ListComp | ast.GeneratorExp, cron: bool) -> Iterator[Job | None]:
    """The jobs of ``[func(each, ...) for each in functions]``."""
    (first, *others) = node.generators
    source = resolve(scope, first.iter)
    listed = source.node if isinstance(source, Found) else None
    plain = isinstance(first.target, ast.Name) and not others and not first.ifs
    if not plain or not isinstance(source, Found) or not isinstance(listed, ast.List | ast.Tuple | ast.Set):
        yield None
        return
    for item in listed.elts:
        local = {**scope.local, ast.unparse(first.target): Found(source.scope, item)}
        yield _entry(Scope(scope.project, scope.module, local), node.elt, cron)


def _entry(scope: Scope, node: ast.expr, cron: bool) -> Job | None:
    place = scope.at(node)
    found = resolve(scope, node) if isinstance(node, ast.Name | ast.Attribute) else Found(scope, node)
    if isinstance(found, Found) and isinstance(found.node, ast.Call):
        made_by = external_name(found.scope, found.node.func)
        inner = argument(found.node, 0, "coroutine")
        if made_by in _FUNC | _CRON and inner is not None:
            return _wrapped(found.scope, found.node, inner, place, made_by in _CRON)
        return None
    function = _function(scope, node)
    name = _name(node, function)
    return Job(name, place, function, scope, cron=cron) if name else None


def _wrapped(scope: Scope, call: ast.Call, inner: ast.expr, place: Place, cron: bool) -> Job | None:
    options = {each.arg: each.value for each in call.keywords if each.arg}
    function = _function(scope, inner)
    name = known(scope, options.get("name")) or _name(inner, function)
    if not isinstance(name, str):
        return None
    name = f"cron:{name}" if cron and "name" not in options else name
    return Job(name, place, function, scope, options, cron)


def _function(scope: Scope, node: ast.expr) -> Resolved:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):  # arq imports it by its dotted name
        return resolve_dotted(scope.project, scope.module, node.value) if "." in node.value else External(node.value)
    found = resolve(scope, node)
    if isinstance(found, External) and "." not in found.name and "*" not in scope.module.imports:
        return Missing(scope.module, found.name)  # nothing in the file has that name
    return found


def _name(node: ast.expr, function: Resolved) -> str:
    if isinstance(function, Found) and isinstance(function.node, ast.FunctionDef | ast.AsyncFunctionDef):
        if isinstance(node, ast.Constant):
            return str(node.value)  # arq's func keeps the dotted name
        return function.node.name
    if isinstance(node, ast.Constant):
        return str(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
