"""``python -m arqube_worker.inject FOLDER``: lay the runtime of this environment out in a folder."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackagePath, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Final

OWN: Final = ("arqube_queue", "arqube_worker")
MISSING: Final = ("prometheus-client", "structlog", "typing-extensions")
"""Distributions; structlog needs the last one below Python 3.11."""

_OF_ONE_MACHINE: Final = {"RECORD", "INSTALLER", "REQUESTED", "direct_url.json"}


def lay_out(folder: Path) -> None:
    """Write ``run.py``, ``own`` and ``missing`` into ``folder``, over what is there."""
    for name in OWN:
        shutil.copytree(
            _package(name),
            folder / "own" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
            dirs_exist_ok=True,
        )
    # Its metadata holds the version, its licence and nothing of the packages that are left out.
    _copy_distribution("arqube", folder / "own", only_metadata=True)
    for name in MISSING:
        _copy_distribution(name, folder / "missing")
    shutil.copyfile(Path(__file__).with_name("run.py"), folder / "run.py")


def _package(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None, name  # noqa: S101 - this one is running
    assert spec.origin is not None, name  # noqa: S101 - it has an __init__.py
    return Path(spec.origin).parent


def _copy_distribution(name: str, folder: Path, *, only_metadata: bool = False) -> None:
    found = distribution(name)
    for file in found.files or ():
        if _is_wanted(file) and (not only_metadata or ".dist-info" in file.parts[0]):
            target = folder / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(found.locate_file(file)), target)


def _is_wanted(file: PackagePath) -> bool:
    """No command of the environment, no bytecode of its Python, no record of how it was installed."""
    return ".." not in file.parts and "__pycache__" not in file.parts and file.name not in _OF_ONE_MACHINE


def main() -> None:
    """Run the command."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m arqube_worker.inject FOLDER")
    lay_out(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
