"""The Kubernetes API on plain dicts: one method a verb, one exception for every failure.

A request is tried once: when to try again is the caller's business.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
from yarl import URL

from arqube_operator.kube.access import Access, find_access
from arqube_operator.kube.errors import NO_ANSWER, ApiError, error_of_answer, error_of_exception
from arqube_operator.kube.watch import events_of

__all__ = [
    "DEPLOYMENTS",
    "EVENTS",
    "LEASES",
    "PODS",
    "SECRETS",
    "TASK_QUEUES",
    "ApiError",
    "KubeClient",
    "Resource",
]

REQUEST_TIMEOUT_S: Final = 15.0
"""Seconds a request may take as a whole."""
WATCH_TIMEOUT_S: Final = 300
"""Seconds after which the server is asked to end a watch, so that a connection that died silently is noticed."""
WATCH_GRACE_S: Final = 30.0
WATCH_SILENCE_S: Final = 90.0
"""Seconds without a word after which a watch is taken for dead: servers send a bookmark about each minute."""
PAGE_SIZE: Final = 100
"""Objects in one answer to a list: as JSON and as dicts a page takes some MiB."""

_JSON: Final = "application/json"
_APPLY: Final = "application/apply-patch+yaml"
_MERGE: Final = "application/merge-patch+json"
_FAILURES: Final = (aiohttp.ClientError, OSError, ValueError)
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}

Answered = Callable[[str, str, int], None]
"""Who is told of each answer: the verb as Kubernetes' roles have it, the resource such as ``deployments/scale``, and
the HTTP status, 0 where no answer came."""
_READ_BUFFER_BYTES: Final = 2 * 1024 * 1024
"""A line of a watch holds a whole object, of up to 1.5 MiB in etcd."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind of object and where it lives in the API, such as ``apps/v1``, ``deployments``, ``Deployment``."""

    api_version: str
    plural: str
    kind: str
    namespaced: bool = True

    def path(self, namespace: str | None, *rest: str) -> str:
        """The URL path of the collection, or of what ``rest`` names in it.

        Raises:
            ValueError: An object of a namespaced kind is named without its namespace.
        """
        if rest and self.namespaced and namespace is None:
            raise ValueError(f"one of {self.plural} is named without a namespace")
        root = "/apis" if "/" in self.api_version else "/api"
        within = ("namespaces", namespace) if self.namespaced and namespace is not None else ()
        names = (quote(name, safe="") for name in (*within, self.plural, *rest))
        return "/".join((root, self.api_version, *names))


TASK_QUEUES: Final = Resource("arqube.dev/v1alpha1", "taskqueues", "TaskQueue")
DEPLOYMENTS: Final = Resource("apps/v1", "deployments", "Deployment")
PODS: Final = Resource("v1", "pods", "Pod")
SECRETS: Final = Resource("v1", "secrets", "Secret")
EVENTS: Final = Resource("v1", "events", "Event")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")


class KubeClient:
    """A client of one API server. Each method raises ``ApiError``; ``namespace`` is None for kinds that have none."""

    def __init__(self, access: Access, answered: Answered = lambda _verb, _resource, _status: None) -> None:
        self._access = access
        self._answered = answered
        self._may_write: Callable[[], bool] = lambda: True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=access.tls),
            headers={"Accept": _JSON, "User-Agent": "arqube"},
            read_bufsize=_READ_BUFFER_BYTES,
        )

    @classmethod
    async def from_config(cls, kubeconfig: str | None = None, *answered: Answered) -> KubeClient:
        """A client configured by ``kubeconfig``, else by the pod we run in, else by ``$KUBECONFIG`` or its default.

        Raises:
            ApiError: No configuration was found, or it cannot be used.
        """
        return cls(await find_access(kubeconfig), *answered)

    def writing_while(self, may_write: Callable[[], bool]) -> KubeClient:
        """This client, for one whose writes are sent only as long as ``may_write()`` is true, and refused otherwise.

        It is asked at the last moment: who stood still for long may still have a write at hand that was right once.
        """
        guarded = copy(self)
        guarded._may_write = may_write
        return guarded

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any] | None:
        """The object, or None where there is none."""
        try:
            return await self._request("GET", resource, namespace, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def pages(
        self, resource: Resource, namespace: str | None, *, label_selector: str = "", field_selector: str = ""
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """All objects page by page, each page with the resourceVersion of the whole, which is that of the first."""
        query = {"limit": str(PAGE_SIZE)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        while True:
            page = await self._request("GET", resource, namespace, query=query)
            # Built-in kinds leave both out of lists, though not out of watches: callers see one form.
            items = [
                {"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page["items"] or ()
            ]
            yield items, page["metadata"]["resourceVersion"]
            if not (following := page["metadata"].get("continue")):
                return
            query["continue"] = following

    async def list(
        self, resource: Resource, namespace: str | None, *, label_selector: str = "", field_selector: str = ""
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects of a namespace, or with None of all namespaces, and the resourceVersion to watch from."""
        items: list[dict[str, Any]] = []
        version = ""
        pages = self.pages(resource, namespace, label_selector=label_selector, field_selector=field_selector)
        async for page, version in pages:  # noqa: B007
            items += page
        return items, version

    async def watch(
        self, resource: Resource, namespace: str | None, *, label_selector: str = "", resource_version: str = ""
    ) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Changes after ``resource_version`` as ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object.

        It ends when the server ends it, after ``WATCH_TIMEOUT_S`` at the latest: list again and watch from there.

        Raises:
            ApiError: No word came for ``WATCH_SILENCE_S``; or 410 where ``resource_version`` is too old: list again.
        """
        query = {"watch": "true", "timeoutSeconds": str(WATCH_TIMEOUT_S), "resourceVersion": resource_version}
        if resource_version:  # Beginning with what there is, a server with an old etcd refuses to send them.
            query["allowWatchBookmarks"] = "true"
        if label_selector:
            query["labelSelector"] = label_selector
        what = f"watching {resource.plural}"
        try:
            limits = _within(WATCH_TIMEOUT_S + WATCH_GRACE_S, silence_s=WATCH_SILENCE_S)
            response = await self._send("GET", resource.path(namespace), query, limits)
            async with response:
                self._answered("watch", resource.plural, response.status)
                if response.status >= 300:
                    raise error_of_answer(response.status, response.headers, await response.read())
                try:
                    async for event in events_of(response.content):
                        yield event
                finally:
                    _cut(response)
        except _FAILURES as error:
            raise error_of_exception(error, what) from error

    async def create(
        self, resource: Resource, namespace: str | None, body: Mapping[str, Any], *, field_manager: str
    ) -> dict[str, Any]:
        """Create an object; 409 where there is one of its name."""
        query = {"fieldManager": field_manager}
        return await self._request("POST", resource, namespace, query=query, body=body)

    async def replace(
        self, resource: Resource, namespace: str | None, name: str, body: Mapping[str, Any], *, field_manager: str
    ) -> dict[str, Any]:
        """Replace an object; 409 where ``body``'s resourceVersion is no longer the newest."""
        query = {"fieldManager": field_manager}
        return await self._request("PUT", resource, namespace, name, query=query, body=body)

    async def apply(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        body: Mapping[str, Any],
        *,
        field_manager: str,
        force: bool = True,
    ) -> dict[str, Any]:
        """Server-side apply: ``field_manager`` owns exactly the fields of ``body`` afterwards.

        Without ``force`` a field that another manager owns with another value is a 409.
        """
        query = {"fieldManager": field_manager, "force": "true" if force else "false"}
        return await self._request("PATCH", resource, namespace, name, query=query, body=body, content_type=_APPLY)

    async def patch_status(
        self, resource: Resource, namespace: str | None, name: str, status: Mapping[str, Any], *, field_manager: str
    ) -> dict[str, Any]:
        """Merge ``status`` into the object's (RFC 7396: None removes a field); the whole object."""
        return await self._merge(resource, namespace, name, "status", {"status": status}, field_manager)

    async def patch_metadata(
        self, resource: Resource, namespace: str | None, name: str, metadata: Mapping[str, Any], *, field_manager: str
    ) -> dict[str, Any]:
        """Merge ``metadata`` into the object's (RFC 7396: None removes a field); the whole object."""
        return await self._merge(resource, namespace, name, None, {"metadata": metadata}, field_manager)

    async def scale(
        self, resource: Resource, namespace: str | None, name: str, replicas: int, *, field_manager: str
    ) -> dict[str, Any]:
        """Set the number of replicas through ``/scale``; the ``autoscaling/v1.Scale``."""
        return await self._merge(resource, namespace, name, "scale", {"spec": {"replicas": replicas}}, field_manager)

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, grace_period_s: int | None = None
    ) -> None:
        """Delete an object; a pod gets ``grace_period_s``, its own grace period unless given, to end."""
        options = {} if grace_period_s is None else {"gracePeriodSeconds": grace_period_s}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        await self._request("DELETE", resource, namespace, name, body=body)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def _merge(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        subresource: str | None,
        patch: Mapping[str, Any],
        field_manager: str,
    ) -> dict[str, Any]:
        query = {"fieldManager": field_manager}
        return await self._request(
            "PATCH", resource, namespace, name, subresource, query=query, body=patch, content_type=_MERGE
        )

    async def _request(
        self,
        method: str,
        resource: Resource,
        namespace: str | None,
        name: str | None = None,
        subresource: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> dict[str, Any]:
        path = resource.path(namespace, *(part for part in (name, subresource) if part))
        what = f"{method} {resource.plural} {name or ''}".rstrip()
        verb = _VERBS.get(method, "get" if name else "list")
        told = "/".join(part for part in (resource.plural, subresource) if part)
        try:
            response = await self._send(method, path, query or {}, _within(REQUEST_TIMEOUT_S), body, content_type)
            async with response:
                answer = await response.read()
        except _FAILURES as error:
            self._answered(verb, told, 0)
            raise error_of_exception(error, what) from error
        self._answered(verb, told, response.status)
        if response.status >= 300:
            raise error_of_answer(response.status, response.headers, answer)
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ApiError(response.status, "NotJson", f"{what}: the API server's answer is no JSON object")
        return found

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        limits: aiohttp.ClientTimeout,
        body: Mapping[str, Any] | None = None,
        content_type: str = _JSON,
    ) -> aiohttp.ClientResponse:
        headers = {"Content-Type": content_type}
        if (authorization := await self._access.authorization()) is not None:
            headers["Authorization"] = authorization
        if method != "GET" and not self._may_write():
            raise ApiError(NO_ANSWER, "NotAllowed", "the write was held back: another may lead by now")
        return await self._session.request(
            method,
            URL(f"{self._access.server}{path}", encoded=True).with_query(query),
            data=None if body is None else json.dumps(body),
            headers=headers,
            timeout=limits,
            server_hostname=self._access.server_name,
            proxy=self._access.proxy,
        )


def _cut(response: aiohttp.ClientResponse) -> None:
    """End the connection of a stream that is not read to its end, without TLS's leave-taking.

    The server would go on sending events meanwhile, and the loop may end before it is over.
    """
    if response.connection is not None and response.connection.transport is not None:
        response.connection.transport.abort()


def _within(seconds: float, silence_s: float | None = None) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=REQUEST_TIMEOUT_S, sock_read=silence_s)
