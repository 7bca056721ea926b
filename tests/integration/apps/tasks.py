"""Job functions for the worker's tests. What they did is told in Redis lists, which plain clients can read."""

import asyncio
import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from arq.worker import Retry

logger = logging.getLogger("app")


async def note(ctx: dict[str, Any], text: str) -> str:
    """Say who ran what, and which try it was."""
    await ctx["redis"].rpush("notes", f"{text}:{ctx['job_try']}:{os.getpid()}")
    return text


async def nap(ctx: dict[str, Any], seconds: float) -> int:
    """Hold a slot; the list tells starts and ends."""
    await ctx["redis"].rpush("started", ctx["job_id"])
    await asyncio.sleep(seconds)
    await ctx["redis"].rpush("ended", ctx["job_id"])
    return int(ctx["job_try"])


async def block(ctx: dict[str, Any], seconds: float) -> None:
    """Block the event loop, as many apps do."""
    await ctx["redis"].rpush("started", ctx["job_id"])
    time.sleep(seconds)  # noqa: ASYNC251


async def stop_process(ctx: dict[str, Any]) -> None:
    """Stand still with all jobs that have not begun, the first time."""
    if ctx["job_try"] == 1:
        os.kill(os.getpid(), signal.SIGSTOP)


async def kill_process(_ctx: dict[str, Any]) -> None:
    """End the process at once, as a fault in native code or a limit of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


async def hold_until(ctx: dict[str, Any], key: str) -> int:
    """Run until a test sets ``key``."""
    await ctx["redis"].rpush("started", ctx["job_id"])
    while not await ctx["redis"].exists(key):  # noqa: ASYNC110 - the event is in Redis
        await asyncio.sleep(0.01)
    await ctx["redis"].rpush("ended", ctx["job_id"])
    return int(ctx["job_try"])


async def ignore_cancellation(ctx: dict[str, Any], key: str) -> int:
    """Swallow each cancellation until a test sets ``key``, wherever in the waiting it comes."""
    waiting = asyncio.ensure_future(hold_until(ctx, key))
    while not waiting.done():
        try:
            await asyncio.wait([waiting])
        except asyncio.CancelledError:
            continue
    return waiting.result()


async def wrap_cancellation(ctx: dict[str, Any], key: str) -> int:
    """Turn a cancellation into another error, as some database drivers do."""
    try:
        return await hold_until(ctx, key)
    except asyncio.CancelledError:
        raise RuntimeError("connection lost") from None


async def fail(ctx: dict[str, Any], message: str) -> None:
    """Fail for good."""
    raise ValueError(message)


async def retry_once(ctx: dict[str, Any], defer_s: float) -> int:
    """Ask for one more try."""
    if ctx["job_try"] == 1:
        raise Retry(defer=defer_s)
    return int(ctx["job_try"])


async def retry_always(ctx: dict[str, Any]) -> None:
    """Ask for another try each time."""
    raise Retry


async def talk(ctx: dict[str, Any], secret: str) -> str:
    """Log as the app's own code does."""
    logger.info("working on it", extra={"step": 3})
    return secret


async def tick(ctx: dict[str, Any]) -> None:
    """Cron job."""
    await ctx["redis"].rpush("ticks", ctx["job_id"])


async def sleep_in_thread(ctx: dict[str, Any], seconds: float) -> None:
    """Leave a thread behind when cancelled."""
    await ctx["redis"].rpush("started", ctx["job_id"])
    await asyncio.to_thread(time.sleep, seconds)


async def hold_until_file(ctx: dict[str, Any], path: str) -> str:
    """Run until a test makes the file; needs no Redis meanwhile."""
    while not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - the event is a file
        await asyncio.sleep(0.01)
    return "done"


async def sign_off(ctx: dict[str, Any], path: str, seconds: float, tries: int = 1, message: str = "") -> int:
    """Come to the end of each of some tries without Redis, maybe a bad one; the file tells of each."""
    await asyncio.sleep(seconds)
    with Path(path).open("a") as file:  # noqa: ASYNC230 - one short line
        file.write(f"{ctx['job_id']}:{ctx['job_try']}\n")
    if ctx["job_try"] < tries:
        raise Retry(defer=seconds)
    if message:
        raise ValueError(message)
    return int(ctx["job_try"])
