"""Guarded processes: stopped in time, with all they started, and never left behind."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from arqube_local.processes.guard import GuardedProcess, ProcessGuard

Eventually = Callable[..., Awaitable[Any]]

IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
print("up", flush=True)
while True: time.sleep(0.1)
"""
STARTS_ANOTHER = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""
OWNER = """
import asyncio, sys
from pathlib import Path
from arqube_local.processes.guard import ProcessGuard

async def main():
    folder = Path(sys.argv[1])
    with ProcessGuard() as guard:
        for name, program in (("stubborn", sys.argv[2]), ("parent", sys.argv[3])):
            command = [sys.executable, "-c", program]
            process = await guard.start(command, environment={}, folder=folder, log=folder / f"{name}.log")
            (folder / f"{name}.pid").write_text(str(process.pid))
        await asyncio.sleep(600)

asyncio.run(main())
"""


def alive(pid: int) -> bool:
    """``pid`` exists and is no zombie waiting for its parent."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.startswith("Z")


async def run(guard: ProcessGuard, folder: Path, program: str) -> GuardedProcess:
    command = [sys.executable, "-c", program]
    return await guard.start(command, environment={"A": "1"}, folder=folder, log=folder / "log")


async def test_a_process_gets_exactly_its_environment_folder_and_log(tmp_path: Path) -> None:
    with ProcessGuard() as guard:
        process = await run(
            guard, tmp_path, "import os; print(sorted(k for k in os.environ if k != 'LC_CTYPE'), os.getcwd())"
        )
        assert await process.wait() == 0
    assert (tmp_path / "log").read_text() == f"['A'] {tmp_path}\n"


async def test_a_program_that_does_not_exist_ends_as_in_a_shell(tmp_path: Path) -> None:
    with ProcessGuard() as guard:
        process = await guard.start(["/no/such"], environment={}, folder=tmp_path, log=tmp_path / "log")
        assert await process.wait() == 127


async def test_sigkill_follows_when_sigterm_is_ignored(tmp_path: Path, eventually: Eventually) -> None:
    log = tmp_path / "log"
    with ProcessGuard() as guard:
        process = await run(guard, tmp_path, IGNORES_SIGTERM)
        await eventually(lambda: log.exists() and "up" in log.read_text())
        process.stop(60.0)
        await eventually(lambda: "asked" in log.read_text())
        assert process.running
        process.stop(0.1)
        assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGKILL
        assert log.read_text().count("asked") == 1


async def test_what_a_process_started_ends_with_it(tmp_path: Path, eventually: Eventually) -> None:
    log = tmp_path / "log"
    with ProcessGuard() as guard:
        process = await run(guard, tmp_path, STARTS_ANOTHER)
        child = int(await eventually(lambda: log.exists() and log.read_text()))
        assert alive(child)
        process.stop(5.0)
        await process.wait()
        await eventually(lambda: not alive(child))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_is_left_when_the_owner_is_killed(tmp_path: Path, eventually: Eventually, number: int) -> None:
    command = [sys.executable, "-c", OWNER, str(tmp_path), IGNORES_SIGTERM, STARTS_ANOTHER]
    owner = await asyncio.create_subprocess_exec(*command)
    logs = [tmp_path / "stubborn.log", tmp_path / "parent.log"]
    await eventually(lambda: all(log.exists() and log.read_text() for log in logs), within_s=20)
    await eventually((tmp_path / "parent.pid").exists)
    pids = [int((tmp_path / f"{name}.pid").read_text()) for name in ("stubborn", "parent")]
    pids.append(int(logs[1].read_text()))
    assert all(alive(pid) for pid in pids)
    owner.send_signal(number)
    await owner.wait()
    await eventually(lambda: not any(alive(pid) for pid in pids), within_s=20)
