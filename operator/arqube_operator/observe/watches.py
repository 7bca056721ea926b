"""Watch events of TaskQueues by kopf, in a thread and event loop of its own.

Only ``on.event`` handlers: they write nothing on the objects, no finalizer and no annotation. The events feed the cache
and wake the reconcile loop; nothing is decided here.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import kopf
import structlog

from arqube_operator.kube.client import PAGE_SIZE
from arqube_operator.observe.cluster import ClusterCache

_TASK_QUEUES: Final = ("arqube.dev", "v1alpha1", "taskqueues")

log = structlog.get_logger(__name__)


class Watches:
    """kopf's watches of the TaskQueues that ``selector`` means, feeding ``cache`` in the loop that called ``start``.

    ``listed`` is called in that loop for each TaskQueue that kopf tells of because it has listed all: what had gone
    before, it tells nobody. A list of nothing is not told of.
    """

    def __init__(
        self,
        cache: ClusterCache,
        namespaces: tuple[str | None, ...],
        selector: str,
        kubeconfig: str | None,
        listed: Callable[[], None],
    ) -> None:
        self._cache = cache
        self._listed = listed
        self._namespaces = namespaces
        self._selector = selector
        self._kubeconfig = kubeconfig
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> asyncio.Future[str]:
        """Start watching; the future ends when kopf does, with the kind of its error."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str] = loop.create_future()
        self._thread = threading.Thread(target=self._run, args=(loop, ended), name="kopf", daemon=True)
        self._thread.start()
        return ended

    def stop(self) -> None:
        """Have kopf stop. Nobody waits for it: it only reads, and the next leader should not be kept waiting."""
        self._stop.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread's end."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[str]) -> None:
        error = "none"
        try:
            asyncio.run(self._watch(loop))
        except Exception as failure:  # Its words may repeat a URL; kopf has logged what there is to say.
            error = type(failure).__name__
        _call(loop, _finish, ended, error)

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            await kopf.operator(
                registry=self._registry(loop),
                settings=_settings(self._selector),
                standalone=True,
                # Else kopf asks for the user's name, which a uid without an entry in /etc/passwd does not have.
                identity="arqube-operator",  # type: ignore[arg-type]  # its type is not public
                clusterwide=self._namespaces == (None,),
                namespaces=[space for space in self._namespaces if space is not None],
                stop_flag=self._stop,
            )
        finally:
            # kopf waits for the flag in a thread, and the loop does not end before that does.
            self._stop.set()

    def _registry(self, loop: asyncio.AbstractEventLoop) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        # A coroutine: kopf hands others to threads.
        async def feed(type: str | None, body: Mapping[str, Any], **_: Any) -> None:  # noqa: A002 - kopf's name
            _call(loop, _put, self._cache, dict(body), type == "DELETED")
            if type is None:
                _call(loop, self._listed)

        def login(**arguments: Any) -> kopf.ConnectionInfo | None:
            return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)

        kopf.on.login(registry=registry, retries=3)(login)
        kopf.on.event(*_TASK_QUEUES, registry=registry, id="task-queue")(feed)
        return registry


class _NothingKept(kopf.DiffBaseStorage):
    """Spares kopf comparing each object with what it was: that is for handlers of changes, and ours takes events."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        """What of an object kopf would compare."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        """What of it was kept."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Keep nothing."""


def _settings(selector: str) -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    if selector:
        settings.watching.label_selectors[_TASK_QUEUES] = selector
    settings.watching.chunk_size = PAGE_SIZE  # else it takes all there are into memory at once
    settings.persistence.diffbase_storage = _NothingKept()
    settings.posting.enabled = False
    settings.posting.loggers = False
    settings.networking.request_timeout = 30
    # kopf would watch CRDs and namespaces for kinds that come and go; ours are there, or the first list had failed.
    settings.scanning.disabled = True
    return settings


def _put(cache: ClusterCache, body: Mapping[str, Any], gone: bool) -> None:
    cache.put_task_queue(body, gone=gone)


def _finish(ended: asyncio.Future[str], error: str) -> None:
    if not ended.done():
        ended.set_result(error)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    """Run ``function`` in ``loop``, unless that has ended, which it does only when nobody waits for events any more."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
