"""The Lua scripts beside this file, each run whole by Redis, and how to call one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script and the SHA-1 by which Redis knows it."""

    text: str
    sha: str

    async def __call__(self, redis: Redis, keys: list[str], args: Sequence[str | bytes | int]) -> Any:
        """Run the script, loading it first where the server does not know it yet."""
        try:
            return await redis.execute_command("EVALSHA", self.sha, len(keys), *keys, *args)  # type: ignore[no-untyped-call]
        except NoScriptError:
            return await redis.execute_command("EVAL", self.text, len(keys), *keys, *args)  # type: ignore[no-untyped-call]


def load(name: str) -> Script:
    """The script of ``name``.lua in this folder."""
    text = files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())
