"""How long a command of ``arqube`` takes, as a person waits for it."""

from __future__ import annotations

import asyncio
import sys
import time

from benchmarks.operator.processes import REPOSITORY


async def arqube(*words: str) -> float:
    """Seconds until ``arqube`` with these arguments has ended.

    Raises:
        RuntimeError: It failed.
    """
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from arqube_local.cli import main; main()", *words),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"arqube {' '.join(words)} ended with {process.returncode}: {said.decode()[-500:]}")
    return round(time.monotonic() - began, 2)
