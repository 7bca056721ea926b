from typing import Any

from pipeline.making import make_settings


async def resize(ctx: dict[str, Any], width: int) -> int:
    return width // 2


WorkerSettings = make_settings([resize], queue="resize", slots=3, timeout=90)
