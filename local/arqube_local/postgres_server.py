"""A real PostgreSQL for benchmarks and tests: the installed one, in a folder of its own, killed and started at will."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from arqube_local.loopback import free_port

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
USER: Final = "app"
DATABASE: Final = "postgres"


def find_binaries() -> Path | None:
    """The folder of ``initdb``, ``postgres`` and ``pg_isready``, which Debian keeps off the path; None without one."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name), reverse=True)
    if installed := shutil.which("postgres"):
        folders.append(Path(installed).resolve().parent)
    for folder in folders:
        if all((folder / name).exists() for name in ("initdb", "postgres", "pg_isready")):
            return folder
    return None


class PostgresServer:
    """A server on loopback that keeps what it commits: started, killed and started again. A context manager.

    It trusts who connects, and has one user, ``app``, and one database. PostgreSQL refuses to run as root, so root runs
    it as the user ``postgres``, or else as ``nobody``.

    Args:
        port: A free one if None.
        options: More settings, as ``name=value``.

    Raises:
        FileNotFoundError: No PostgreSQL server is installed.
    """

    def __init__(self, *, port: int | None = None, options: tuple[str, ...] = ()) -> None:
        binaries = find_binaries()
        if binaries is None:
            raise FileNotFoundError(
                "no PostgreSQL server: install Debian's postgresql, or another's initdb and postgres"
            )
        self._binaries = binaries
        self.port = port or free_port()
        # Not $TMPDIR, which may be root's alone.
        self.folder = Path(tempfile.mkdtemp(prefix="arqube-postgres-", dir="/tmp"))
        self.log = self.folder / "postgres.log"
        self._uid, self._gid = _user()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        if self._uid is not None and self._gid is not None:
            os.chown(self.folder, self._uid, self._gid)

    @property
    def url(self) -> str:
        """The server's URL, for SQLAlchemy with asyncpg."""
        return f"postgresql+asyncpg://{USER}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def version(self) -> str:
        """What the server calls itself."""
        told = subprocess.run([self._binaries / "postgres", "--version"], capture_output=True, text=True, check=True)  # noqa: S603
        return told.stdout.strip()

    @property
    def pid(self) -> int | None:
        """Process id of the server's first process while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> PostgresServer:
        """Start the server, or start it again, and wait until it takes connections.

        Raises:
            RuntimeError: It did not in time; the message holds the end of its log.
        """
        data = self.folder / "data"
        if not data.exists():
            access = (f"--username={USER}", "--auth=trust")
            self._run("initdb", f"--pgdata={data}", *access, "--encoding=UTF8", "--no-locale")
        settings = ("listen_addresses=127.0.0.1", "unix_socket_directories=", *self._options)
        command = [str(self._binaries / "postgres"), f"-p{self.port}", f"-D{data}"]
        command += [part for setting in settings for part in ("-c", setting)]
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._ready():
            if time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log.read_text()[-2000:]}")
            # A killed server's last processes hold its memory for a moment: it refuses to start until they are gone.
            if self._process is None or self._process.poll() is not None:
                with self.log.open("ab") as output:
                    self._process = subprocess.Popen(  # noqa: S603
                        command,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                        cwd=self.folder,
                        user=self._uid,
                        group=self._gid,
                    )
            time.sleep(0.1)
        return self

    def kill(self) -> None:
        """SIGKILL, as by a machine that dies; what was committed is there after ``start``."""
        self._end(signal.SIGKILL)

    def stop_immediately(self) -> None:
        """SIGQUIT: it drops its connections and ends without a checkpoint, so that ``start`` recovers from its log."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """Stop the server in order; harmless when it does not run."""
        self._end(signal.SIGINT)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _ready(self) -> bool:
        command = [
            str(self._binaries / "pg_isready"),
            "-q",
            "-h127.0.0.1",
            f"-p{self.port}",
            f"-U{USER}",
            f"-d{DATABASE}",
        ]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603

    def _run(self, program: str, *arguments: str) -> None:
        result = subprocess.run(  # noqa: S603
            [self._binaries / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            user=self._uid,
            group=self._gid,
        )
        if result.returncode != 0:
            raise RuntimeError(f"{program} failed:\n{result.stdout[-1000:]}{result.stderr[-1000:]}")

    def __enter__(self) -> PostgresServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        shutil.rmtree(self.folder)


def _user() -> tuple[int | None, int | None]:
    """The numbers of the user and the group that root runs the server as; None where this is not root."""
    if os.geteuid() != 0:
        return None, None
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid
