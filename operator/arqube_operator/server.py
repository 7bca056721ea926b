"""The operator's HTTP endpoints: /metrics, /healthz and /readyz."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

HEADERS: Final = {"X-Content-Type-Options": "nosniff"}


def application(
    registry: CollectorRegistry, healthy: Callable[[], str | None], ready: Callable[[], str | None]
) -> web.Application:
    """The endpoints. ``healthy`` and ``ready`` give None while all is well, else what is wrong, in words."""

    async def metrics(request: web.Request) -> web.Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = choose_encoder("")
        # Prometheus' own parameter: who wants a few series of the process need not wait for those of all TaskQueues.
        names = request.query.getall("name[]", [])
        chosen = registry.restricted_registry(names) if names else registry
        # Tens of thousands of series take a second: the loop must go on meanwhile.
        body = await asyncio.to_thread(encode, chosen)
        return web.Response(body=body, headers={"Content-Type": content_type})

    def check(probe: Callable[[], str | None]) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            problem = probe()
            return web.Response(text=problem or "ok", status=503 if problem else 200)

        return answer

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/healthz", check(healthy))  # type: ignore[arg-type]
    app.router.add_get("/readyz", check(ready))  # type: ignore[arg-type]
    return app
