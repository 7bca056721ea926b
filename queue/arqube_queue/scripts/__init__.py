"""The Lua scripts beside this file, each run whole by Redis, and how to call one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from redis.exceptions import NoScriptError

from arqube_queue.answers import invalid_if_odd


class Executor(Protocol):
    """What scripts are called through: a redis-py client, or a held connection."""

    async def execute_command(self, *command: str | bytes | int) -> Any:
        """Send a command and return its answer."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which Redis knows it."""

    text: str
    sha: str

    async def __call__(self, redis: Executor, keys: list[str], args: Sequence[str | bytes | int]) -> Any:
        """Run the script, loading it first where the server does not know it yet.

        Raises:
            redis.exceptions.RedisError, OSError: No answer, or none that Redis gives.
        """
        with invalid_if_odd():
            try:
                return await redis.execute_command("EVALSHA", self.sha, len(keys), *keys, *args)
            except NoScriptError:
                return await redis.execute_command("EVAL", self.text, len(keys), *keys, *args)


def load(name: str) -> Script:
    """The script of ``name``.lua in this folder."""
    text = files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
