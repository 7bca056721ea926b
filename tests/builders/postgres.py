"""A real PostgreSQL of the tests' own, from the binaries that Debian installs, on loopback, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from arqube_local.loopback import free_port

START_TIMEOUT_S = 60.0


def find_binaries() -> Path | None:
    """The folder with initdb and postgres, of the newest version; None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


class PostgresServer:
    """One server; it refuses to run as root, so root runs it as nobody. A context manager."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="arqube-postgres-", dir="/tmp"))
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(self._folder, "nobody", "nogroup")
            self._who = {"user": "nobody", "group": "nogroup", "extra_groups": ()}
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        command = [str(binaries / "initdb"), "--pgdata", self._data, "--username", "arqube", "--auth", "trust"]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd="/", timeout=START_TIMEOUT_S, **self._who)

    @property
    def url(self) -> str:
        return f"postgresql+asyncpg://arqube@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [str(self._binaries / "postgres"), "-D", self._data, "-p", str(self.port), "-h", "127.0.0.1"]
        command += ["-k", str(self._folder), "-c", "fsync=off", "-c", "max_connections=100"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd="/", start_new_session=True, **self._who
            )
        ready = [str(self._binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        deadline = time.monotonic() + START_TIMEOUT_S
        while subprocess.run(ready, check=False).returncode != 0:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"postgres did not start:\n{(self._folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash does: no transaction is finished, no client is told."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        while self._listens():  # its children go a moment later
            time.sleep(0.05)

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            self._process.wait(START_TIMEOUT_S)
            self._process = None

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def __enter__(self) -> PostgresServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self._folder)
