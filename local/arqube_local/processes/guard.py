"""Start processes in groups of their own, and have them stopped whatever becomes of this process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from arqube_local.processes import launch, reaper

_PYTHON: Final = (sys.executable, "-I", "-S")
_CLOSED: Final = -1
_REAPER_TIMEOUT_S: Final = reaper.GRACE_S + 5.0


class GuardedProcess:
    """A process and its group; what it leaves behind in the group ends with it, as in a container."""

    def __init__(self, process: asyncio.subprocess.Process, guard: ProcessGuard) -> None:
        self.pid = process.pid
        self._process = process
        self._guard = guard
        self._kill: asyncio.TimerHandle | None = None
        self._ended = asyncio.create_task(self._wait())

    @property
    def running(self) -> bool:
        """It has not ended."""
        return not self._ended.done()

    async def wait(self) -> int:
        """Its exit code once it has ended; minus the signal's number where a signal ended it."""
        return await asyncio.shield(self._ended)

    def stop(self, grace_s: float) -> None:
        """SIGTERM to the process at once, as a container runtime does; SIGKILL to its group after ``grace_s``.

        A second call can only bring the SIGKILL forward. Without any grace there is no SIGTERM before it.
        """
        if not self.running:
            return
        if grace_s <= 0:
            self._kill_group()
            return
        loop = asyncio.get_running_loop()
        if self._kill is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
        if self._kill is None or loop.time() + grace_s < self._kill.when():
            if self._kill is not None:
                self._kill.cancel()
            self._kill = loop.call_later(grace_s, self._kill_group)

    async def _wait(self) -> int:
        code = await self._process.wait()
        if self._kill is not None:
            self._kill.cancel()
        self._kill_group()
        self._guard.forget(self.pid)
        return code

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class ProcessGuard:
    """Starts processes and holds the pipe whose end tells the reaper to stop them. A context manager."""

    def __init__(self) -> None:
        read, self._pipe = os.pipe()
        # A session of its own: a Ctrl-C in the terminal must not end the reaper before those it watches over.
        self._reaper = subprocess.Popen(  # noqa: S603
            [*_PYTHON, reaper.__file__], stdin=read, start_new_session=True, cwd="/"
        )
        os.close(read)

    def __enter__(self) -> ProcessGuard:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._pipe)
        self._pipe = _CLOSED
        self._reaper.wait(_REAPER_TIMEOUT_S)

    async def start(
        self, program: Sequence[str], *, environment: Mapping[str, str], folder: Path, log: Path
    ) -> GuardedProcess:
        """Run ``program`` in ``folder`` with exactly ``environment``; its output is appended to ``log``.

        A program that does not exist ends with :data:`launch.NOT_FOUND`.

        Raises:
            OSError: ``folder`` does not exist or ``log`` cannot be written.
        """
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                *_PYTHON,
                launch.__file__,
                str(self._pipe),
                *program,
                env=environment,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(self._pipe,),
            )
        return GuardedProcess(process, self)

    def watch(self, pid: int) -> None:
        """Stop the process group ``pid``, started elsewhere, along with the others."""
        self._tell(f"+{pid}")

    def forget(self, pid: int) -> None:
        """The process group ``pid`` has ended; its number may come to mean another."""
        self._tell(f"-{pid}")

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # the reaper has done its work, or somebody killed it
            os.write(self._pipe, f"{line}\n".encode())
