"""One operator process, put together: endpoints always, everything else only while it leads."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from arqube_operator import server
from arqube_operator.clock import Clock
from arqube_operator.console.view import View
from arqube_operator.controller import Controller
from arqube_operator.execute.events import EventPoster
from arqube_operator.execute.executor import OPERATOR, Executor
from arqube_operator.kube.access import runs_in_pod
from arqube_operator.kube.client import ApiError, KubeClient
from arqube_operator.kube.leadership import LeaderElector
from arqube_operator.metrics import Metrics
from arqube_operator.observe.addresses import AddressResolver
from arqube_operator.observe.cluster import ClusterCache, Key, Versions
from arqube_operator.observe.queues import QueueObserver
from arqube_operator.observe.watches import Watches
from arqube_operator.observe.workers import follow_workers
from arqube_operator.serving import Runner
from arqube_operator.settings import ConsoleSettings, InvalidSettingsError, Settings
from arqube_operator.workqueue import WorkQueue

if TYPE_CHECKING:
    from arqube_operator.console.routes import Console

RESYNC_S: Final = 300.0
"""Seconds between lists of everything: heals what a reconnecting watch did not tell."""
RESYNC_RETRY_S: Final = 2.0
KOPF_LISTS_S: Final = 5.0
"""Seconds within which kopf asks for its list when it starts, and for the pages of one that it tells of."""
WATCHES_RETRY_S: Final = 2.0
KOPF_STOP_S: Final = 5.0
LOOP_STALL_S: Final = 30.0
"""A loop that has not turned for so long hangs: the kubelet should restart us."""

log = structlog.get_logger(__name__)


class Operator:
    """The process: runs until cancelled."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = Metrics(CollectorRegistry())
        self._turned_at = time.monotonic()
        self._elector_runs = False
        self._unlisted: str | None = None
        self._watches: Watches | None = None
        self._console: Console | None = None

    async def run(self) -> None:
        """Serve the endpoints, stand for leader, and act while leading.

        Raises:
            ApiError: There is no cluster to talk to.
            InvalidSettingsError: A port cannot be listened at.
        """
        client = await KubeClient.from_config(self._settings.kubeconfig, self._metrics.api_answered)
        elector = LeaderElector(client, self._settings.namespace, self._settings.lease_name, self._settings.identity)
        endpoints = server.application(self._metrics.registry, self._health, self._readiness)
        runners = [Runner(endpoints, server.HEADERS)]
        try:
            await runners[0].setup()
            await _listen(web.TCPSite(runners[0], port=self._settings.http_port), "ARQUBE_HTTP_PORT")
            if self._settings.console is not None:
                runners.append(await self._serve_console(self._settings.console, elector))
            pulse = asyncio.create_task(self._pulse(), name="pulse")
            self._elector_runs = True
            log.info(
                "operator.started",
                identity=self._settings.identity,
                namespaces=self._settings.scopes,
                selector=self._settings.watch_label_selector,
            )
            try:
                await elector.lead(lambda: self._act(client.writing_while(lambda: elector.is_leading)))
            finally:
                self._elector_runs = False
                pulse.cancel()
        finally:
            for runner in runners:
                await runner.cleanup()
            await client.close()
            if self._watches is not None:
                await asyncio.to_thread(self._watches.join, KOPF_STOP_S)
            log.info("operator.stopped", identity=self._settings.identity)

    async def _serve_console(self, settings: ConsoleSettings, elector: LeaderElector) -> Runner:
        # Its templates cost time and memory that most operators need not spend.
        from arqube_operator.console.guard import HEADERS
        from arqube_operator.console.routes import Console

        namespace, port = self._settings.namespace, settings.port

        def standby() -> str:
            if (leader := elector.leader) in (None, self._settings.identity):
                return "No operator leads yet: reload this page in a moment."
            command = f"kubectl --namespace {namespace} port-forward pod/{leader} {port}"
            return f"This operator stands by. {leader} leads and has something to show: {command}"

        self._console = Console(settings, standby)
        runner = Runner(self._console.application(), HEADERS, access_log=None)
        await runner.setup()
        # Loopback alone: whoever comes through kubectl port-forward has passed the cluster's own authentication.
        await _listen(web.TCPSite(runner, host="127.0.0.1", port=port), "ARQUBE_CONSOLE_PORT")
        log.info("console.serves", port=port, writes=settings.token_file is not None)
        return runner

    async def _act(self, client: KubeClient) -> None:
        """All that only the leader does."""
        queue: WorkQueue[Key] = WorkQueue()
        self._metrics.waiting.set_function(lambda: len(queue))

        def wake(key: Key, *, spec_changed: bool = False) -> None:
            queue.add(key, now=spec_changed)

        cache = ClusterCache(wake, self._metrics.worker_ended)
        observer = QueueObserver(lambda key, reading: controller.read(key, reading), self._metrics)
        resolver = AddressResolver(client, in_pod=runs_in_pod(self._settings.kubeconfig))
        events = EventPoster(client, OPERATOR, self._settings.identity, time.time)
        executor = Executor(client, events)
        image = self._settings.runtime_image
        controller = Controller(queue, cache, observer, resolver, executor, self._metrics, image, Clock())
        self._metrics.leader.set(1)
        log.info("leadership.started", identity=self._settings.identity)
        try:
            versions = await self._resync(client, cache)
            if self._console is not None:
                self._console.view = View(cache, observer)
            kopf_lists = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(self._watch(cache, kopf_lists), name="watches")
                group.create_task(self._look_again(client, cache, kopf_lists), name="second look")
                group.create_task(follow_workers(client, cache, versions), name="workers")
                group.create_task(controller.run(), name="controller")
                group.create_task(events.run(), name="events")
                group.create_task(self._keep_in_sync(client, cache), name="resync")
        finally:
            if self._console is not None:
                self._console.view = None
            self._unlisted = None
            self._metrics.leader.set(0)
            self._metrics.forget_all()
            if self._watches is not None:
                self._watches.stop()
            await observer.close()
            resolver.close()
            log.info("leadership.ended", identity=self._settings.identity)

    async def _watch(self, cache: ClusterCache, lists: asyncio.Event) -> None:
        """Have TaskQueues watched. kopf gives up where an API server is in trouble for long; we do not."""
        scopes, selector, kubeconfig = (
            self._settings.scopes,
            self._settings.watch_label_selector,
            self._settings.kubeconfig,
        )
        while True:
            self._watches = Watches(cache, scopes, selector, kubeconfig, lists.set)
            lists.set()
            ended = await self._watches.start()
            log.warning("watches.ended", error=ended, retry_in_s=WATCHES_RETRY_S)
            await asyncio.sleep(WATCHES_RETRY_S)

    async def _look_again(self, client: KubeClient, cache: ClusterCache, lists: asyncio.Event) -> None:
        """List all after kopf has: of what went, or became another's, between our list and its it tells nothing."""
        while True:
            await lists.wait()
            await asyncio.sleep(KOPF_LISTS_S)
            lists.clear()
            await self._resync(client, cache)

    async def _keep_in_sync(self, client: KubeClient, cache: ClusterCache) -> None:
        while True:
            await asyncio.sleep(RESYNC_S)
            await self._resync(client, cache)

    async def _resync(self, client: KubeClient, cache: ClusterCache) -> Versions:
        while True:
            try:
                versions = await cache.resync(client, self._settings.scopes, self._settings.watch_label_selector)
            except ApiError as error:
                self._unlisted = str(error)
                log.warning("resync.failed", error=self._unlisted, retry_in_s=RESYNC_RETRY_S)
                await asyncio.sleep(RESYNC_RETRY_S)
            else:
                self._unlisted = None
                return versions

    async def _pulse(self) -> None:
        while True:
            self._turned_at = time.monotonic()
            await asyncio.sleep(1)

    def _health(self) -> str | None:
        stalled_s = time.monotonic() - self._turned_at
        return f"the event loop has not turned for {stalled_s:.0f} s" if stalled_s > LOOP_STALL_S else None

    def _readiness(self) -> str | None:
        if not self._elector_runs:
            return "not yet standing for leader"
        if self._unlisted is not None:
            return f"leads and cannot list TaskQueues and their workers: {self._unlisted}"
        return None


async def _listen(site: web.TCPSite, variable: str) -> None:
    try:
        await site.start()
    except OSError as error:
        raise InvalidSettingsError(f"{variable}: {site.name} cannot be served ({error}); name another port") from None
