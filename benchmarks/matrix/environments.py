"""A Python environment for each cell that needs one, kept in build/matrix and made anew when what it holds changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.commands import run
from benchmarks.matrix.cells import ROOT

FOLDER: Final = ROOT / "build/matrix"
INSTALL_TIMEOUT_S: Final = 1800
_SHOW: Final = """
import platform, sys
from importlib.metadata import PackageNotFoundError, version
print("Python", platform.python_version())
for name in sys.argv[1:]:
    try:
        print(name, version(name))
    except PackageNotFoundError:
        pass
"""
_making: Final = threading.Lock()


def interpreter(version: str) -> str | None:
    """A Python of this version that can make environments: one on PATH, or one of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python")))]
    for candidate in filter(None, candidates):
        command = [
            candidate,
            "-c",
            "import venv, sys; sys.exit('%d.%d' % sys.version_info[:2] != sys.argv[1])",
            version,
        ]
        if subprocess.run(command, capture_output=True).returncode == 0:  # noqa: S603
            return candidate
    return None


def environment(python: str, name: str, packages: Sequence[str]) -> Path:
    """The Python of an environment that holds ``packages``, which are arguments of ``pip install``.

    uv installs them where it is on PATH, as it is faster; else pip does.

    Raises:
        SystemExit: They cannot be installed; with the installer's error.
    """
    folder = FOLDER / name
    inner = folder / "bin/python"
    marker = folder / "holds.txt"
    files = [ROOT / "pyproject.toml", *(Path(word) for word in packages if Path(word).is_file())]
    holds = "\n".join([python, *packages, *(file.read_text() for file in files)])
    if marker.exists() and marker.read_text() == holds:
        return inner
    shutil.rmtree(folder, ignore_errors=True)
    with _making:  # two at once would only take longer, both
        uv = shutil.which("uv")
        make = [uv, "venv", "--quiet", "--python", python] if uv else [python, "-m", "venv"]
        run(*make, str(folder), timeout_s=INSTALL_TIMEOUT_S)
        install = [uv, "pip", "install", "--python", str(inner)] if uv else [str(inner), "-m", "pip", "install"]
        run(*install, "--quiet", *packages, timeout_s=INSTALL_TIMEOUT_S)
        if "--requirement" in packages:  # a lock holds all but the project itself
            run(*install, "--quiet", "--no-deps", "--editable", str(ROOT), timeout_s=INSTALL_TIMEOUT_S)
    marker.write_text(holds)
    return inner


def shown(python: Path) -> str:
    """What an environment holds of what matters here, in words."""
    lines = run(str(python), "-c", _SHOW, "arq", "redis", "kopf").splitlines()
    return ", ".join(line.replace("redis ", "redis-py ") for line in lines)
