"""The server's life: listen on loopback, answer, collect garbage, stop. What it holds outlives a stop."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from aiohttp import web

from arqube_local.apiserver.errors import StatusError
from arqube_local.apiserver.faults import Faults, reset
from arqube_local.apiserver.garbage import collect_garbage
from arqube_local.apiserver.kinds import NAMESPACES, SERVICE_ACCOUNTS, Kinds
from arqube_local.apiserver.registry import Registry, Writer
from arqube_local.apiserver.routes import Routes
from arqube_local.apiserver.store import Store

HOST: Final = "127.0.0.1"
_WRITER: Final = Writer("arqube-apiserver")


class FakeApiServer:
    """A fake API server on a loopback port.

    Args:
        port: TCP port; None takes one that is free, and keeps it over a stop and start.

    ``faults`` makes requests fail and the server fall silent.
    """

    def __init__(self, port: int | None = None) -> None:
        self.faults = Faults()
        self._port = port
        self._registry = Registry(Store(), Kinds())
        self._runner: web.AppRunner | None = None
        self._collector: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The server's URL.

        Raises:
            RuntimeError: It was not started, and no port was named.
        """
        if self._port is None:
            raise RuntimeError("the server has no port before it is started")
        return f"http://{HOST}:{self._port}"

    def kubeconfig(self) -> dict[str, Any]:
        """A kubeconfig for it, to be written as YAML or JSON."""
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "arqube", "cluster": {"server": self.url}}],
            # kopf and kubectl want a user, though nobody asks who it is.
            "users": [{"name": "arqube", "user": {"token": "none"}}],
            "contexts": [{"name": "arqube", "context": {"cluster": "arqube", "user": "arqube"}}],
            "current-context": "arqube",
        }

    async def start(self) -> None:
        """Listen and answer.

        Raises:
            OSError: The port is taken.
        """
        for name in ("default", "kube-system"):
            with contextlib.suppress(StatusError):  # It is there from before a stop.
                form = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                self._registry.create(NAMESPACES, "", form, _WRITER)
                account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
                self._registry.create(SERVICE_ACCOUNTS, name, account, _WRITER)
        routes = Routes(self._registry, self.faults)
        # Watches last: they are cut at a stop instead of being waited for.
        self._runner = web.AppRunner(
            routes.application(), access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, self._port or 0, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self._collector = asyncio.create_task(collect_garbage(self._registry), name="garbage collector")

    async def stop(self) -> None:
        """Cut all connections and listen no more; harmless when it does not run."""
        if self._collector is not None:
            self._collector.cancel()
            await asyncio.gather(self._collector, return_exceptions=True)
            self._collector = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    def cut_connections(self) -> None:
        """Reset all connections, in the middle of whatever they carry; new ones are taken."""
        server = self._runner.server if self._runner is not None else None
        for connection in server.connections if server is not None else ():
            if connection.transport is not None:
                reset(connection.transport)

    def compact(self) -> None:
        """Forget the history of changes: watches that go on from before are told 410."""
        self._registry.store.compact()

    def end_watches(self, status: int = 410) -> None:
        """End each open watch with ``status`` in its stream."""
        self.faults.end_watches(status)
        self._registry.store.stir()

    def pause(self) -> None:
        """Let every request wait without an answer, and every watch fall silent, until ``resume``."""
        self.faults.pause()

    def resume(self) -> None:
        """Answer again."""
        self.faults.resume()
