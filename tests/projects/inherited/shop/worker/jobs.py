from typing import Any


async def total(ctx: dict[str, Any], *articles: str) -> int:
    return sum(ctx["prices"][article] for article in articles)
