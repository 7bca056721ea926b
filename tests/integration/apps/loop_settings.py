"""An app that asks which event loop runs it."""

import asyncio
from typing import Any

import worker_settings


async def which_loop(ctx: dict[str, Any]) -> str:
    return type(asyncio.get_running_loop()).__module__


class Settings(worker_settings.Base):
    functions = (*worker_settings.FUNCTIONS, which_loop)
