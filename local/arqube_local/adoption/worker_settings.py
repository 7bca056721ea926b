"""The settings objects of a project: what a command such as ``arq app.worker.WorkerSettings`` would be given."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from arqube_local.adoption.findings import Place
from arqube_local.adoption.names import Found, Scope, lineage, members, resolve
from arqube_local.adoption.sources import Module, Project, defined_by
from arqube_local.adoption.values import Value, argument, evaluate, known
from arqube_worker.settings import OURS, PARAMETERS

_COMMAND: Final = re.compile(r"\b(?:arq|arqube-worker)\b[\"',\s]+(?P<target>[A-Za-z_][\w.]*[.:][A-Za-z_]\w*)")


@dataclass(frozen=True, eq=False)
class WorkerSettings:
    """One settings object.

    Attributes:
        target: Its dotted path, as ``arq`` and ``spec.worker.settings`` take it.
        named_at: Where a command of the project names it; None where none does.
        found: The class, dict or call.
        own: What plain arq sees of it, by name.
        inherited: What stands in base classes, and plain arq misses.
    """

    target: str
    named_at: Place | None
    found: Found
    own: Mapping[str, Found]
    inherited: Mapping[str, Found]

    @property
    def scope(self) -> Scope:
        """Of the file that it stands in."""
        return self.found.scope

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.found.place

    def get(self, name: str) -> Found | None:
        """What stands behind one setting; None where it is not set."""
        return self.own.get(name) or self.inherited.get(name)

    def expression(self, name: str) -> tuple[Scope, ast.expr] | None:
        """The expression behind one setting; None where it is not set, or is a function or class."""
        found = self.get(name)
        return (found.scope, found.node) if found is not None and isinstance(found.node, ast.expr) else None

    def value(self, name: str) -> Value:
        """What one setting comes to; None where it is not set or cannot be told."""
        expression = self.expression(name)
        return None if expression is None else evaluate(*expression)

    def known(self, name: str, default: Any = None) -> Any:
        """One setting's value, or its variable's default, where they are known; else ``default``."""
        expression = self.expression(name)
        return default if expression is None else known(*expression, default)


def find_worker_settings(project: Project) -> tuple[WorkerSettings, ...]:
    """All of them, in the order of their files. A base class of another one is none, unless a command names it."""
    found = [each for module in project.modules.values() for each in _within(project, module)]
    bases = {
        id(base.node)
        for each in found
        for base in lineage(each.found)
        if isinstance(base, Found) and base.node is not each.found.node
    }
    makers = {id(maker.node) for each in found if (maker := _maker(each.found))}
    return tuple(
        each
        for each in found
        if each.named_at or (id(each.found.node) not in bases and id(each.found.node) not in makers)
    )


def import_root(settings: WorkerSettings) -> PurePosixPath:
    """The folder, relative to the project, in which ``settings.target`` can be imported."""
    module = PurePosixPath(settings.scope.module.path).with_suffix("")
    parts = module.parts[:-1] if module.name == "__init__" else module.parts
    depth = settings.target.replace(":", ".").count(".")
    return PurePosixPath(*parts[: len(parts) - depth])


def _within(project: Project, module: Module) -> Iterator[WorkerSettings]:
    scope = Scope(project, module)
    for name, node in module.definitions.items():
        if isinstance(node, ast.Name | ast.Attribute):  # another name for what stands elsewhere
            continue
        if isinstance(node, ast.FunctionDef) and "settings" not in name.lower():
            continue
        found = Found(scope, node)
        own, inherited = _shape(found, 0) or ({}, {})
        names = {*own, *inherited}
        if not names & {"functions", "cron_jobs"}:
            continue
        others = (names & (PARAMETERS | OURS)) - {"functions", "cron_jobs"}
        uses_arq = any(each.partition(".")[0] == "arq" for each in module.imports.values())
        if others or uses_arq or name.endswith("WorkerSettings"):
            target, named_at = _target(project, module, name)
            yield WorkerSettings(target, named_at, found, own, inherited)


Shape = tuple[dict[str, Found], dict[str, Found]]
"""Own settings and inherited ones."""


def _shape(found: Found, depth: int) -> Shape | None:
    node = found.node
    if depth > 5:
        return None
    if isinstance(node, ast.ClassDef):
        own = members(found)
        inherited = {
            name: value
            for base in reversed([each for each in lineage(found) if isinstance(each, Found)][1:])
            for name, value in members(base).items()
            if name not in own and name in PARAMETERS | OURS
        }
        return own, inherited
    if isinstance(node, ast.Dict):
        return _entries(found.scope, node, depth), {}
    if isinstance(node, ast.FunctionDef):
        return _made(found, ast.Call(ast.Name(node.name), [], []), found.scope, depth)
    if isinstance(node, ast.Call):
        return _called(found.scope, node, depth)
    return None


def _entries(scope: Scope, node: ast.Dict, depth: int) -> dict[str, Found]:
    entries: dict[str, Found] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:  # {**base, ...}
            inner = resolve(scope, value)
            entries |= (_shape(inner, depth + 1) or ({}, {}))[0] if isinstance(inner, Found) else {}
        elif isinstance(key, ast.Constant) and isinstance(key.value, str):
            entries[key.value] = Found(scope, value)
    return entries


def _called(scope: Scope, node: ast.Call, depth: int) -> Shape | None:
    if isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {each.arg: Found(scope, each.value) for each in node.keywords if each.arg}, {}
    if isinstance(node.func, ast.Name) and node.func.id == "type" and len(node.args) == 3:
        namespace = resolve(scope, node.args[2])
        return _shape(namespace, depth + 1) if isinstance(namespace, Found) else None
    maker = resolve(scope, node.func)
    if not isinstance(maker, Found):
        return None
    if isinstance(maker.node, ast.ClassDef):  # an object of a class of the project
        own, inherited = _shape(maker, depth + 1) or ({}, {})
        return {}, {**inherited, **own}
    return _made(maker, node, scope, depth) if isinstance(maker.node, ast.FunctionDef) else None


def _made(maker: Found, call: ast.Call, caller: Scope, depth: int) -> Shape | None:
    """What a function of the project returns, with the arguments of one call in it."""
    function = maker.node
    assert isinstance(function, ast.FunctionDef)  # noqa: S101 - its callers looked
    parameters = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    defaults = dict(
        zip([each.arg for each in function.args.args][::-1], function.args.defaults[::-1], strict=False)
    ) | {
        each.arg: value
        for each, value in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
        if value
    }
    local: dict[str, Found] = {name: Found(maker.scope, value) for name, value in defaults.items()}
    for position, parameter in enumerate(parameters):
        if given := argument(call, position, parameter.arg):
            local[parameter.arg] = Found(caller, given)
    scope = Scope(maker.scope.project, maker.scope.module, local)
    for statement in function.body:
        local |= {name: Found(scope, node) for name, node in defined_by(statement).items()}
    for node in ast.walk(function):
        if isinstance(node, ast.Return) and node.value is not None:
            returned = resolve(scope, node.value)
            if isinstance(returned, Found) and (shape := _shape(returned, depth + 1)):
                return shape
    return None


def _maker(found: Found) -> Found | None:
    """The function or class of the project that made it."""
    if not isinstance(found.node, ast.Call):
        return None
    maker = resolve(found.scope, found.node.func)
    return maker if isinstance(maker, Found) else None


def _target(project: Project, module: Module, name: str) -> tuple[str, Place | None]:
    """The dotted path, and the command that names it so."""
    own = PurePosixPath(module.path).with_suffix("").parts
    own = own[:-1] if own[-1] == "__init__" else own
    for target, place in commands(project):
        holder, _, last = re.sub(":", ".", target).rpartition(".")
        if last == name and f".{'.'.join(own)}".endswith(f".{holder}"):
            return target, place
    return ".".join((*own[len(_root(project, module).parts) :], name)), None


def commands(project: Project) -> Iterator[tuple[str, Place]]:
    """The settings that commands in the project's files are given, and where."""
    for path, text in project.texts.items():
        for found in _COMMAND.finditer(text):
            yield found["target"], Place(path, text.count("\n", 0, found.start()) + 1)


def _root(project: Project, module: Module) -> PurePosixPath:
    """The folder that must be on ``sys.path`` for the module to be imported."""
    path = PurePosixPath(module.path)
    for name in module.imports.values():
        first = name.partition(".")[0]
        if not first or first in sys.stdlib_module_names:
            continue
        for parent in reversed(path.parents):  # the outermost first
            if any(f"{each}/".startswith(f"{(parent / first).as_posix()}/") for each in _without_suffix(project)):
                return parent
    folder = path.parent
    if (folder / "__init__.py").as_posix() in project.modules:
        while (folder / "__init__.py").as_posix() in project.modules and folder.name:
            folder = folder.parent
        return folder
    return PurePosixPath("src" if path.parts[0] == "src" else "")


def _without_suffix(project: Project) -> Iterator[str]:
    return (path.removesuffix(".py") for path in project.modules)
