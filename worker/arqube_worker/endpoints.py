"""The worker's HTTP server, in a thread of its own so that a job that blocks the event loop does not silence it.

``/metrics`` for Prometheus, ``/healthz`` and ``/readyz`` for the kubelet.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from arqube_worker.health import Health


class Endpoints:
    """Serves until ``close``; the socket is bound on creation, so that a port in use is told before anything starts.

    Raises:
        OSError: The port cannot be bound.
    """

    def __init__(self, port: int, registry: CollectorRegistry) -> None:
        self.health: Health | None = None
        endpoints = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 10  # a client that says nothing must not hold a thread for ever

            def do_GET(self) -> None:
                status, content_type, body = endpoints._answer(self.path, self.headers.get("Accept", ""), registry)
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Probes come each few seconds; their lines would bury the jobs'."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that hangs up is its own affair."""

        self._server = Server(("0.0.0.0", port), Handler)  # noqa: S104 - the kubelet and Prometheus call from outside the pod
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.2,), name="arqube-http", daemon=True).start()

    def close(self) -> None:
        """Stop serving and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, path: str, accept: str, registry: CollectorRegistry) -> tuple[int, str, bytes]:
        match path.partition("?")[0]:
            case "/metrics":
                try:
                    encode, content_type = choose_encoder(accept)
                except (TypeError, ValueError):  # a version that is none
                    encode, content_type = choose_encoder("")
                return HTTPStatus.OK, content_type, encode(registry)
            case "/healthz":
                return self._verdict(Health.not_alive, absent=None)
            case "/readyz":
                return self._verdict(Health.not_ready, absent="starting")
        return HTTPStatus.NOT_FOUND, "text/plain", b"try /metrics, /healthz or /readyz\n"

    def _verdict(self, ask: Callable[[Health, float], str | None], *, absent: str | None) -> tuple[int, str, bytes]:
        """``absent`` is the verdict before the worker exists, while the user's modules are imported."""
        reason = ask(self.health, time.monotonic()) if self.health else absent
        if reason is None:
            return HTTPStatus.OK, "text/plain", b"ok\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{reason}\n".encode()
