"""What a name in a project's Python stands for: followed through assignments and imports, without running any of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from arqube_local.adoption.findings import Place
from arqube_local.adoption.sources import Definition, Module, Project, defined_by

_DEEPEST: Final = 20
"""Steps after which a name is given up: modules may import each other in a circle."""


@dataclass(frozen=True, eq=False)
class Scope:
    """Where an expression stands.

    Attributes:
        project: Whose names count.
        module: The file.
        local: What names stand for within a function, before those of the module.
    """

    project: Project
    module: Module
    local: Mapping[str, Found] = field(default_factory=dict)

    def at(self, node: ast.AST) -> Place:
        """Where ``node`` stands."""
        return self.module.at(node)


@dataclass(frozen=True, eq=False)
class Found:
    """A definition, and the scope in which its own names count."""

    scope: Scope
    node: Definition

    @property
    def place(self) -> Place:
        """Where it stands."""
        return self.scope.at(self.node)


@dataclass(frozen=True)
class External:
    """Something that no file of the project defines; ``name`` is dotted, as in ``arq.connections.RedisSettings``."""

    name: str


@dataclass(frozen=True, eq=False)
class Missing:
    """A name that a module of the project is asked for and does not have."""

    module: Module
    name: str


Resolved = Found | External | Missing | None
"""What a name stands for; None where it cannot be told."""


def dotted(node: ast.expr) -> tuple[str, ...] | None:
    """The parts of ``a.b.c``; None for anything else."""
    if isinstance(node, ast.Name):
        return (node.id,)
    if isinstance(node, ast.Attribute) and (parts := dotted(node.value)):
        return (*parts, node.attr)
    return None


def resolve(scope: Scope, node: ast.expr, *, depth: int = 0) -> Resolved:
    """What a name stands for in the end; an expression that is no name stands for itself."""
    if depth > _DEEPEST:
        return None
    if isinstance(node, ast.Attribute) and dotted(node) is None:  # as in get_settings().redis_host
        return _member(resolve(scope, node.value, depth=depth + 1), (node.attr,), depth)
    parts = dotted(node)
    if parts is None:
        return Found(scope, node)
    first, *rest = parts
    if first in scope.local:
        return _member(_settled(scope.local[first], depth), tuple(rest), depth)
    if first in scope.module.definitions:
        found = Found(Scope(scope.project, scope.module), scope.module.definitions[first])
        return _member(_settled(found, depth), tuple(rest), depth)
    if first in scope.module.imports:
        return _imported(scope, scope.module.imports[first], tuple(rest), depth)
    return External(".".join(parts))


def external_name(scope: Scope, node: ast.expr) -> str:
    """The dotted name of something from outside the project; empty where it is none.

    A method is told by what it is called on as it stands: ``session.commit``.
    """
    found = resolve(scope, node)
    if isinstance(found, External):
        return found.name
    return ".".join(dotted(node) or ()) if found is None else ""


def resolve_dotted(project: Project, module: Module, name: str) -> Resolved:
    """What ``package.module.name`` stands for, as seen from ``module``."""
    return _imported(Scope(project, module), name, (), 0)


def lineage(found: Found) -> Iterator[Found | External]:
    """A class and its base classes, the nearest first; those from outside the project by name."""
    seen: set[int] = set()
    waiting: list[Found | External] = [found]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, Found):
            if not isinstance(each.node, ast.ClassDef) or id(each.node) in seen:
                continue
            seen.add(id(each.node))
            bases = (resolve(each.scope, base) for base in each.node.bases)
            waiting += [base for base in bases if isinstance(base, Found | External)]
        yield each


def members(found: Found) -> dict[str, Found]:
    """What a class's own body defines."""
    body = found.node.body if isinstance(found.node, ast.ClassDef) else []
    return {name: Found(found.scope, node) for statement in body for name, node in defined_by(statement).items()}


def member(found: Found, name: str) -> Found | None:
    """What an instance of the class, or the class itself, calls ``name``."""
    for each in lineage(found):
        if isinstance(each, Found) and name in (own := members(each)):
            return own[name]
    return None


def class_of(found: Resolved, *, depth: int = 0) -> Resolved:
    """The class of what an expression makes, where a class of the project or an annotated function is called."""
    if not isinstance(found, Found) or not isinstance(found.node, ast.Call) or depth > _DEEPEST:
        return None
    made_by = resolve(found.scope, found.node.func, depth=depth + 1)
    if isinstance(made_by, Found) and isinstance(made_by.node, ast.FunctionDef) and made_by.node.returns is not None:
        return resolve(made_by.scope, made_by.node.returns, depth=depth + 1)
    return made_by


def _settled(found: Found, depth: int) -> Resolved:
    """What an assigned name stands for: ``b`` after ``b = a`` is ``a``."""
    if isinstance(found.node, ast.Name | ast.Attribute):
        return resolve(found.scope, found.node, depth=depth + 1)
    return found


def _member(found: Resolved, parts: tuple[str, ...], depth: int) -> Resolved:
    if not parts or found is None or isinstance(found, Missing):
        return found
    if isinstance(found, External):
        return External(".".join((found.name, *parts)))
    holder = found if isinstance(found.node, ast.ClassDef) else class_of(found, depth=depth)
    if isinstance(holder, External):
        return External(".".join((holder.name, *parts)))
    if not isinstance(holder, Found) or not isinstance(holder.node, ast.ClassDef):
        return None
    inner = member(holder, parts[0])
    return None if inner is None else _member(_settled(inner, depth), parts[1:], depth + 1)


def _imported(scope: Scope, name: str, rest: tuple[str, ...], depth: int) -> Resolved:
    parts = (*(part for part in name.split(".") if part), *rest)
    dots = len(name) - len(name.lstrip("."))
    if not parts and not dots:
        return None  # an empty name, as where a TaskQueue names no settings
    for folder in _folders(scope.module, parts, dots):
        for length in range(len(parts), -1 if dots else 0, -1):
            module = _module(scope.project, folder, parts[:length])
            if module is None:
                continue
            if length == len(parts):
                return None  # the module itself
            if parts[length] in {*module.definitions, *module.imports}:
                inner = ast.parse(".".join(parts[length:]), mode="eval").body
                return resolve(Scope(scope.project, module), inner, depth=depth + 1)
            return None if "*" in module.imports else Missing(module, parts[length])
    return None if dots else External(".".join(parts))


def _folders(module: Module, parts: tuple[str, ...], dots: int) -> list[PurePosixPath]:
    """Where a module may import from: one folder for relative imports, any above it for others but Python's own."""
    parents = list(PurePosixPath(module.path).parents)
    if dots:
        return parents[dots - 1 : dots]
    if parts[0] in sys.stdlib_module_names:
        return []
    return [PurePosixPath(), PurePosixPath("src"), *reversed(parents)]


def _module(project: Project, folder: PurePosixPath, parts: tuple[str, ...]) -> Module | None:
    path = folder.joinpath(*parts)
    if not parts:
        return project.modules.get((path / "__init__.py").as_posix())
    return project.modules.get(f"{path.as_posix()}.py") or project.modules.get((path / "__init__.py").as_posix())
