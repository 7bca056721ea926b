"""What a project's metadata asks for: versions of Python and of packages."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from arqube_local.adoption.findings import Place
from arqube_local.adoption.sources import Project


@dataclass(frozen=True)
class Dependency:
    """One requirement.

    Attributes:
        name: Of the package, in its canonical form; ``python`` for Python itself.
        versions: Those that will do.
        text: As it stands.
        place: Where it stands.
    """

    name: str
    versions: SpecifierSet
    text: str
    place: Place


def dependencies(project: Project) -> tuple[Dependency, ...]:
    """All that pyproject.toml and requirements files ask for. What cannot be read is left out."""
    found: list[Dependency] = []
    for path, text in project.texts_named(r"requirements.*\.(txt|in)"):
        for number, line in enumerate(text.splitlines(), 1):
            found += _requirement(re.split(r"\s#|\s--hash|\s*\\$", line)[0].strip(), Place(path, number))
    for path, text in project.texts_named(r"pyproject\.toml"):
        found += _pyproject(path, text)
    return tuple(found)


def project_name(project: Project) -> tuple[str, str] | None:
    """Name and version that pyproject.toml gives the project."""
    for _, text in project.texts_named(r"pyproject\.toml"):
        document = _toml(text)
        for table in (document.get("project", {}), document.get("tool", {}).get("poetry", {})):
            if isinstance(table.get("name"), str):
                return table["name"], str(table.get("version", "latest"))
    return None


def _pyproject(path: str, text: str) -> Iterator[Dependency]:
    document = _toml(text)
    table = document.get("project", {})
    lists = [table.get("dependencies", []), *table.get("optional-dependencies", {}).values()]
    lists += document.get("dependency-groups", {}).values()
    for line in (line for each in lists for line in each if isinstance(line, str)):
        yield from _requirement(line, _line_of(path, text, line))
    if versions := table.get("requires-python"):
        yield from _dependency("python", str(versions), Place(path, _find(text, "requires-python")))
    poetry = document.get("tool", {}).get("poetry", {})
    tables = [poetry.get("dependencies", {})]
    tables += [group.get("dependencies", {}) for group in poetry.get("group", {}).values()]
    for each in tables:
        for name, value in each.items():
            constraint = value.get("version", "*") if isinstance(value, Mapping) else value
            place = Place(path, _find(text, rf"^\s*[\"']?{re.escape(name)}[\"']?\s*="))
            yield from _dependency(name, _from_poetry(str(constraint)), place, f"{name} {constraint}")


def _requirement(line: str, place: Place) -> Iterator[Dependency]:
    if not line or line.startswith(("#", "-")):
        return
    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return
    yield Dependency(canonicalize_name(requirement.name), requirement.specifier, line, place)


def _dependency(name: str, versions: str, place: Place, text: str = "") -> Iterator[Dependency]:
    try:
        yield Dependency(canonicalize_name(name), SpecifierSet(versions), text or f"{name} {versions}", place)
    except InvalidSpecifier:
        return


def _from_poetry(constraint: str) -> str:
    """A caret or tilde as the bounds that it stands for."""
    bounds = []
    for part in constraint.replace("*", "").split(","):
        mark, numbers = part.strip()[:1], re.findall(r"\d+", part)
        if mark not in {"^", "~"} or part.strip().startswith("~=") or not numbers:
            bounds.append(part.strip() if re.match(r"[<>=!~]", part.strip()) or not numbers else f"=={part.strip()}")
            continue
        # A caret holds the first number that is not 0, a tilde the second one.
        kept = next((i for i, each in enumerate(numbers) if int(each)), len(numbers) - 1) if mark == "^" else 1
        kept = min(kept, len(numbers) - 1)
        upper = [*numbers[:kept], str(int(numbers[kept]) + 1)]
        bounds += [f">={'.'.join(numbers)}", f"<{'.'.join(upper)}"]
    return ",".join(filter(None, bounds))


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _line_of(path: str, text: str, line: str) -> Place:
    return Place(path, _find(text, re.escape(line)))


def _find(text: str, pattern: str) -> int | None:
    found = re.search(pattern, text, re.MULTILINE)
    return None if found is None else text.count("\n", 0, found.start()) + 1
