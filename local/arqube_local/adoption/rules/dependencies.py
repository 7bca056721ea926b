"""Rules about the versions of Python and arq that a project asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from arqube_local.adoption.dependencies import dependencies
from arqube_local.adoption.findings import Finding, Level
from arqube_local.adoption.look import Look

_ARQ: Final = ("0.25.0", "0.26.0", "0.26.3", "0.27.0", "0.28.0")
"""Releases that the worker runs with."""
_PYTHON: Final = tuple(f"3.{minor}.{patch}" for minor in range(10, 16) for patch in (0, 9, 99))


def versions(look: Look) -> Iterator[Finding]:
    """Requirements that no release the worker runs with can meet, and arq that nobody asks for."""
    asked = dependencies(look.project)
    for each in asked:
        if each.name == "arq" and not any(each.versions.contains(version) for version in _ARQ):
            yield Finding(
                "arq-version",
                Level.ERROR,
                each.place,
                f"{each.text!r} allows no release of arq from 0.25 to 0.28, which the worker runs with",
                "ask for arq>=0.25",
            )
        if each.name == "python" and not any(each.versions.contains(version) for version in _PYTHON):
            yield Finding(
                "python-version",
                Level.ERROR,
                each.place,
                f"{each.text!r} allows no Python from 3.10 on, which the worker needs",
                "move to Python 3.10 or newer",
            )
    packages = [each for each in asked if each.name != "python"]
    if packages and not any(each.name in {"arq", "arqube"} for each in packages):
        yield Finding(
            "arq-unasked",
            Level.WARNING,
            packages[0].place,
            "nothing here asks for arq, and the worker takes the image's own",
            "add arq>=0.25 to the project's dependencies",
        )


RULES: Final = (versions,)
