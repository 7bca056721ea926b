"""Serves an application of aiohttp's. What is no HTTP is answered in our words, with our headers, and told in one line.

aiohttp would answer it before the application is asked, and log a traceback for whatever a port scanner sends.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

log = structlog.get_logger(__name__)


class Runner(web.AppRunner):
    """Runs ``app``; ``headers`` are those of answers that are not the application's own."""

    def __init__(self, app: web.Application, headers: Mapping[str, str], **options: Any) -> None:
        super().__init__(app, **options)
        self._headers = headers

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        return _Server(
            server.request_handler,
            request_factory=server.request_factory,
            handler_cancellation=server.handler_cancellation,
            loop=server._loop,
            headers=self._headers,
            **server._kwargs,
        )


class _Server(web.Server):
    """Makes the protocols of its connections."""

    def __init__(self, *arguments: Any, headers: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.headers = headers

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class _Protocol(web.RequestHandler):
    """One connection."""

    __slots__ = ("_error_headers",)

    def __init__(self, server: _Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._error_headers = server.headers

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what never reached the application, or broke it; the connection is closed after it."""
        if status < 500:
            log.info("http.malformed", peer=request.remote, error=type(exc).__name__)
        else:
            log.error("http.defect", peer=request.remote, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        response = web.Response(
            status=status, text="This is no request that can be answered.\n", headers=self._error_headers
        )
        response.force_close()
        return response
