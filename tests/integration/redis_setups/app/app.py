"""The app whose jobs run on each set-up."""

from typing import Any


async def add(ctx: dict[str, Any], one: int, other: int) -> int:
    return one + other


class WorkerSettings:
    functions = (add,)
