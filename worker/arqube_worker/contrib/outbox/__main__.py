"""Runs a relay as a process of its own: ``python -m arqube_worker.contrib.outbox app.relay:relay``."""

from __future__ import annotations

import argparse
import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from arqube_queue import exit_codes
from arqube_worker.contrib.outbox.relay import Relay
from arqube_worker.settings import told


class _TargetError(Exception):
    """The argument names no relay; the message says what to write."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Move jobs until SIGTERM or SIGINT.

    Returns:
        The exit code: 0 after a signal, 2 when there is something to fix first.
    """
    parser = argparse.ArgumentParser(
        prog="python -m arqube_worker.contrib.outbox",
        description="Move the jobs of an outbox into Redis until told to stop.",
    )
    parser.add_argument("relay", metavar="RELAY", help="module:name of a Relay, or of a function that makes one")
    target = parser.parse_args(arguments).relay
    logging.basicConfig(level=logging.INFO)
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path holds strings
    try:
        relay = _load(target)
    except _TargetError as error:
        parser.exit(exit_codes.SETTINGS, f"{parser.prog}: {error}\n")
    asyncio.run(_run(relay))
    return 0


def _load(target: str) -> Relay:
    module_name, _, name = target.partition(":")
    if not module_name or not name or not target.isprintable():
        raise _TargetError(f"{target!a} names no relay: write module:name")
    try:
        found: Any = getattr(importlib.import_module(module_name), name)
    except (Exception, SystemExit) as error:
        raise _TargetError(f"{target!r} cannot be imported: {told(error)}") from None
    try:
        relay = found if isinstance(found, Relay) or not callable(found) else found()
    except (Exception, SystemExit) as error:
        raise _TargetError(f"{target!r} makes no relay: {told(error)}") from None
    if not isinstance(relay, Relay):
        raise _TargetError(f"{target!r} is no Relay but {type(relay).__name__}, nor a function that makes one")
    return relay


async def _run(relay: Relay) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    async with relay:
        logging.getLogger(__name__).info("moving the outbox")
        await stop.wait()
    await relay.close()


if __name__ == "__main__":
    sys.exit(main())
