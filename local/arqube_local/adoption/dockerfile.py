"""What a Dockerfile says about the image that it builds: its last stage, with the stages that this one is built on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from arqube_local.adoption.findings import Place
from arqube_local.adoption.sources import Project

_FILES: Final = r"(.*\.)?Dockerfile(\..*)?|Containerfile"
_PYTHON: Final = re.compile(r"python|pip|\buv\b|\barq")
_VARIABLE: Final = re.compile(r"\$(?:\{(?P<braced>\w+)(?::?-(?P<default>[^}]*))?\}|(?P<plain>\w+))")


@dataclass(frozen=True)
class Instruction:
    """One instruction.

    Attributes:
        name: In capitals.
        text: Its arguments, with the file's own ARGs filled in.
        place: Of its first line.
    """

    name: str
    text: str
    place: Place

    @property
    def words(self) -> list[str] | None:
        """The words of an exec form; None where it is a shell's."""
        try:
            words = json.loads(self.text)
        except ValueError:
            return None
        return words if isinstance(words, list) and all(isinstance(each, str) for each in words) else None


@dataclass(frozen=True)
class Dockerfile:
    """One of them.

    Attributes:
        path: Of the file.
        base: The image of the registry below the last stage.
        base_at: Where it is named.
        instructions: Of the last stage and those it is built on, in the order in which they apply.
    """

    path: str
    base: str
    base_at: Place
    instructions: tuple[Instruction, ...] = field(default_factory=tuple)

    def last(self, name: str) -> Instruction | None:
        """The last instruction of a name: the one that counts."""
        return next((each for each in reversed(self.instructions) if each.name == name), None)

    @property
    def variables(self) -> set[str]:
        """The names that ENV sets."""
        texts = (each.text for each in self.instructions if each.name == "ENV")
        return {name for text in texts for name in re.findall(r"(?:^|\s)([A-Za-z_]\w*)(?:=|\s)", text)}


def dockerfiles(project: Project) -> tuple[Dockerfile, ...]:
    """Those of the project that build an image with Python in it."""
    found = (read_dockerfile(path, text) for path, text in project.texts_named(_FILES) if _PYTHON.search(text))
    return tuple(each for each in found if each is not None)


def read_dockerfile(path: str, text: str) -> Dockerfile | None:
    """What ``text`` says; None where it has no stage."""
    arguments: dict[str, str] = {}
    stages: list[tuple[str, str, Place, list[Instruction]]] = []
    for name, line, place in _lines(path, text):
        filled = _filled(line, arguments)
        if name == "ARG":
            variable, _, default = filled.partition("=")
            arguments.setdefault(variable.strip(), default.strip().strip("\"'"))
        elif name == "FROM":
            words = [word for word in filled.split() if not word.startswith("--")]
            alias = words[2] if len(words) > 2 else ""
            stages.append((words[0] if words else "", alias, place, []))
        elif stages:
            stages[-1][3].append(Instruction(name, filled, place))
    if not stages:
        return None
    base, _, place, instructions = stages[-1]
    for earlier, alias, earlier_place, earlier_instructions in reversed(stages[:-1]):
        if alias and alias.lower() == base.lower():
            base, place, instructions = earlier, earlier_place, [*earlier_instructions, *instructions]
    return Dockerfile(path, base, place, tuple(instructions))


def _lines(path: str, text: str) -> Iterator[tuple[str, str, Place]]:
    """Instructions with their arguments in one line."""
    parts: list[str] = []
    start = 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        start = start if parts else number
        parts.append(line.removesuffix("\\").strip())
        if not line.endswith("\\"):
            name, _, rest = " ".join(parts).partition(" ")
            yield name.upper(), rest.strip(), Place(path, start)
            parts = []


def _filled(text: str, arguments: dict[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        name = found["braced"] or found["plain"]
        return arguments.get(name) or found["default"] or found[0]

    return _VARIABLE.sub(value, text)
