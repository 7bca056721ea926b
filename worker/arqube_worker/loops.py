"""The event loop a worker is made and run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from arqube_queue import environment as env
from arqube_worker.settings import SettingsError


def loop_maker(environ: Mapping[str, str]) -> Callable[[], asyncio.AbstractEventLoop]:
    """What makes the loop: asyncio's, as with arq, or uvloop's where the environment asks for it.

    Raises:
        SettingsError: The variable has another value than ``true`` and ``false``, or uvloop is missing.
    """
    wish = environ.get(env.UVLOOP) or "false"
    if wish == "false":
        return asyncio.new_event_loop
    if wish != "true":
        raise SettingsError(f"{env.UVLOOP} must be true or false, not {wish!r}")
    try:
        import uvloop
    except ImportError:
        raise SettingsError(
            f"{env.UVLOOP} is true, but there is no uvloop: install it in the image of the workers (the extra"
            " arqube[uvloop]), or remove the variable"
        ) from None
    return uvloop.new_event_loop


@contextmanager
def event_loop(
    make: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that is the current one before it runs, as arq's Worker takes that when it is made.

    ``asyncio.Runner`` does the same, from Python 3.11 on.
    """
    loop = make()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        try:
            if left := asyncio.all_tasks(loop):
                for task in left:
                    task.cancel()
                loop.run_until_complete(asyncio.wait(left))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
