"""A project's files as they are read: Python modules, and the texts that say how it is built and run."""

from __future__ import annotations

import ast
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from arqube_local.adoption.findings import Place

_SKIPPED: Final = {"node_modules", "__pycache__", "build", "dist", "site-packages", "tests", "test", "venv", "env"}
_LARGEST_BYTES: Final = 1_000_000
_WANTED: Final = re.compile(
    r".*\.(py|ya?ml|sh)|(.*\.)?Dockerfile(\..*)?|Containerfile|Procfile|Makefile|pyproject\.toml|requirements.*\.(txt|in)"
    r"|\.env(\.example|\.sample)?",
    re.IGNORECASE,
)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr
"""What a name may stand for in a module: a function, a class, or the expression it was given."""


class ProjectError(Exception):
    """The project cannot be looked at; the message says why."""


@dataclass(frozen=True, eq=False)
class Module:
    """One file of Python.

    Attributes:
        path: Relative to the project, with slashes.
        tree: What it holds.
    """

    path: str
    tree: ast.Module

    @cached_property
    def definitions(self) -> Mapping[str, Definition]:
        """What stands at its top level, by name; the last one counts, as it does in Python."""
        found: dict[str, Definition] = {}
        for statement in _top_level(self.tree.body):
            found |= defined_by(statement)
        return found

    @cached_property
    def imports(self) -> Mapping[str, str]:
        """Dotted names of what it imports anywhere, by local name; relative ones begin with their dots."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.name if alias.asname else alias.name.partition(".")[0]
                    found[alias.asname or name] = name
            elif isinstance(node, ast.ImportFrom):
                dots, base = "." * node.level, node.module or ""
                for alias in node.names:
                    found[alias.asname or alias.name] = dots + ".".join(filter(None, (base, alias.name)))
        return found

    @property
    def deepest_relative_import(self) -> int:
        """The most dots that one of its imports begins with."""
        return max((len(name) - len(name.lstrip(".")) for name in self.imports.values()), default=0)

    def at(self, node: ast.AST) -> Place:
        """Where ``node`` stands."""
        return Place(self.path, getattr(node, "lineno", None))


@dataclass(frozen=True, eq=False)
class Project:
    """All that is looked at.

    Attributes:
        name: Of its folder.
        modules: By path.
        texts: Dockerfiles, requirements and so on, by path.
        broken: Where a module is no Python, and why.
    """

    name: str
    modules: Mapping[str, Module]
    texts: Mapping[str, str]
    broken: Mapping[Place, str] = field(default_factory=dict)

    @classmethod
    def of_texts(cls, texts: Mapping[str, str], *, name: str = "project") -> Project:
        """A project of these files, by path."""
        modules, others, broken = {}, {}, {}
        for path, text in sorted(texts.items()):
            if path.endswith(".py"):
                try:
                    with warnings.catch_warnings():  # Python warns of strange strings; those are not ours to tell.
                        warnings.simplefilter("ignore")
                        modules[path] = Module(path, ast.parse(text))
                except (SyntaxError, ValueError) as error:
                    line = getattr(error, "lineno", None)
                    broken[Place(path, line)] = getattr(error, "msg", None) or str(error)
            else:
                others[path] = text
        return cls(name, modules, others, broken)

    def texts_named(self, pattern: str) -> Iterator[tuple[str, str]]:
        """Path and text of the files, apart from modules, whose names match."""
        for path, text in self.texts.items():
            if re.fullmatch(pattern, PurePosixPath(path).name, re.IGNORECASE):
                yield path, text


def read_project(folder: Path) -> Project:
    """Read what ``folder`` holds, its tests, environments and hidden folders apart.

    Raises:
        ProjectError: It is no folder, or it holds no Python.
    """
    if not folder.is_dir():
        raise ProjectError(f"{folder} is no folder: name the one that holds the app")
    texts = {}
    for path in _files(folder):
        try:
            if path.stat().st_size <= _LARGEST_BYTES:
                texts[path.relative_to(folder).as_posix()] = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # what cannot be read as text holds no settings
            continue
    project = Project.of_texts(texts, name=folder.resolve().name)
    if not project.modules and not project.broken:
        raise ProjectError(f"{folder} holds no Python: name the folder that holds the app")
    return project


def defined_by(statement: ast.stmt) -> dict[str, Definition]:
    """The names that a statement gives a meaning to."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name: statement}
    if isinstance(statement, ast.Assign):
        return {target.id: statement.value for target in statement.targets if isinstance(target, ast.Name)}
    if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value is not None:
        return {statement.target.id: statement.value}
    return {}


def _top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when the module is imported, those within if, try and with too."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            for name in ("body", "orelse", "finalbody"):
                yield from _top_level(getattr(statement, name, []))
            for handler in getattr(statement, "handlers", []):
                yield from _top_level(handler.body)


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(
            name
            for name in folders
            if name not in _SKIPPED and not name.startswith(".") and not (here / name / "pyvenv.cfg").exists()
        )
        for name in sorted(names):
            if _WANTED.fullmatch(name):
                yield here / name
