"""The HTTP side: which request does what, and what its answer looks like."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

import structlog
from aiohttp import web

from arqube_local.apiserver import discovery, merging, ownership, requests, tables
from arqube_local.apiserver.errors import Cause, StatusError, bad_request, conflict, invalid, no_such_path
from arqube_local.apiserver.faults import WATCH, Faults, Trouble, reset
from arqube_local.apiserver.garbage import orphan_dependents
from arqube_local.apiserver.kinds import NAMESPACES, Kind
from arqube_local.apiserver.ownership import Manager
from arqube_local.apiserver.registry import Deletion, Registry, Writer, now
from arqube_local.apiserver.requests import Target
from arqube_local.apiserver.scale import scale_of, scaled
from arqube_local.apiserver.shape import shape_of
from arqube_local.apiserver.watching import events

MAX_BODY: Final = 3 * 1024 * 1024
"""Bytes; the limit of a real server's resource handlers."""

Body = Mapping[str, Any]
log = structlog.get_logger(__name__)


class Routes:
    """Answers requests by what ``registry`` holds."""

    def __init__(self, registry: Registry, faults: Faults) -> None:
        self._registry = registry
        self._kinds = registry.kinds
        self._faults = faults

    def application(self) -> web.Application:
        """The server's application."""
        application = web.Application(client_max_size=MAX_BODY, handler_args={"max_field_size": 16384})
        application.router.add_route("*", "/{path:.*}", self._answer)
        return application

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            method = WATCH if request.method == "GET" and requests.is_watch(request) else request.method
            trouble = await self._faults.strike(method, request.path)
            if method == WATCH:
                return await self._route(request, trouble)
            try:
                return await self._route(request)
            finally:  # A refusal is an answer too.
                if trouble is not None:
                    await asyncio.sleep(trouble.delay_s)
                    if trouble.cut and request.transport is not None:
                        reset(request.transport)
        except StatusError as error:
            seconds = error.details.get("retryAfterSeconds")
            headers = {"Retry-After": str(seconds)} if seconds is not None else {}
            return _json(error.to_object(), error.code, headers)
        except web.HTTPException:
            raise
        except Exception as error:
            log.exception("request_failed", method=request.method, path=request.path)
            message = f"Internal error occurred: {type(error).__name__}"
            return _json(StatusError(500, "InternalError", message).to_object(), 500)

    async def _route(self, request: web.Request, trouble: Trouble | None = None) -> web.StreamResponse:
        if request.path.rstrip("/") in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        if request.method == "GET" and (document := self._document(request)) is not None:
            return _json(document, kind=discovery.AGGREGATED if requests.wants_aggregated(request) else None)
        goal = requests.target(self._kinds, request.path)
        if goal.subresource not in ("", *_subresources(goal.kind)):
            raise no_such_path()
        match request.method, goal.name:
            case "GET", name if requests.is_watch(request) or name is None:
                return await self._list(request, goal, trouble)
            case "GET", _:
                return self._get(request, goal)
            case "POST", None:
                return await self._create(request, goal)
            case "PUT", str():
                return await self._put(request, goal)
            case "PATCH", str():
                return await self._patch(request, goal)
            case "DELETE", str():
                return await self._delete(request, goal)
            case "DELETE", None:
                return await self._delete_all(request, goal)
        message = "the server does not allow this method on the requested resource"
        raise StatusError(405, "MethodNotAllowed", message)

    def _document(self, request: web.Request) -> dict[str, Any] | None:
        match request.path.strip("/").split("/"):
            case ["version"]:
                return dict(discovery.VERSION)
            case ["api" | "apis" as root] if requests.wants_aggregated(request):
                return discovery.aggregated(self._kinds, core=root == "api")
            case ["api"]:
                return discovery.core_versions()
            case ["apis"]:
                return discovery.groups(self._kinds)
            case ["api", version]:
                return discovery.resources(self._kinds, version)
            case ["apis", group]:
                return discovery.group(self._kinds, group)
            case ["apis", group, version]:
                return discovery.resources(self._kinds, f"{group}/{version}")
            case ["openapi", "v3"]:
                return discovery.openapi_index(self._kinds)
            case ["openapi", "v3", *place]:
                return discovery.openapi(self._kinds, "/".join(place))
            case _:
                return None

    async def _list(self, request: web.Request, goal: Target, trouble: Trouble | None) -> web.StreamResponse:
        if requests.is_watch(request):
            return await self._watch(request, goal, trouble)
        matches = requests.matches(request, goal)
        bodies = [body for body in self._registry.store.objects(goal.kind.key, goal.namespace) if matches(body)]
        bodies, metadata = requests.page(request, bodies, self._registry.store.revision)
        if requests.wants_table(request):
            return _json(tables.table(goal.kind, bodies, metadata=metadata, include=_included(request)))
        form = {"kind": f"{goal.kind.kind}List", "apiVersion": goal.kind.api_version, "metadata": metadata}
        if goal.kind.schema is None:
            # Items of built-in kinds do not say what they are, on a real server too.
            bodies = [{k: v for k, v in body.items() if k not in ("apiVersion", "kind")} for body in bodies]
        return _json({**form, "items": bodies})

    async def _watch(self, request: web.Request, goal: Target, trouble: Trouble | None) -> web.StreamResponse:
        wanted, as_table, headed = requests.watch(request, goal), requests.wants_table(request), True

        def render(body: Body) -> Body:
            nonlocal headed
            if not as_table:
                return body
            metadata = {"resourceVersion": body["metadata"]["resourceVersion"]}
            row = tables.table(goal.kind, [body], metadata=metadata, include=_included(request), headed=headed)
            headed = False
            return row

        response = web.StreamResponse(headers={"Content-Type": "application/json", "Cache-Control": "no-cache"})
        await response.prepare(request)
        try:
            async for line in events(self._registry.store, wanted, render, self._faults):
                if trouble is not None:
                    await asyncio.sleep(trouble.delay_s)
                    if trouble.cut and request.transport is not None:
                        reset(request.transport)
                await response.write(line)
            await response.write_eof()
        except ConnectionError:
            log.debug("watch_ended_by_client", path=request.path)
        return response

    def _get(self, request: web.Request, goal: Target) -> web.Response:
        body = self._registry.get(goal.kind, *goal.place)
        if goal.subresource == "scale":
            return _json(scale_of(goal.kind, body))
        return _shown(request, goal.kind, body)

    async def _create(self, request: web.Request, goal: Target) -> web.Response:
        body, writer = await requests.body(request), requests.writer(request)
        if goal.kind.namespaced and goal.namespace is None:
            raise bad_request("an object of this kind is created in a namespace")
        created = self._registry.create(goal.kind, goal.namespace or "", body, writer)
        return _shown(request, goal.kind, created, 201, writer)

    async def _put(self, request: web.Request, goal: Target) -> web.Response:
        body, writer = await requests.body(request), requests.writer(request)
        if goal.subresource == "scale":
            return self._scale(goal, lambda _: body, writer)
        updated = self._registry.update(goal.kind, *goal.place, lambda _: body, writer, goal.subresource)
        return _shown(request, goal.kind, updated, writer=writer)

    async def _patch(self, request: web.Request, goal: Target) -> web.Response:
        kind = goal.kind
        strategic = () if kind.schema else (requests.STRATEGIC_PATCH,)
        accepted = (requests.JSON_PATCH, requests.MERGE_PATCH, *strategic, requests.APPLY_PATCH)
        patch = await requests.body(request, accepted)
        if request.content_type == requests.APPLY_PATCH:
            return await self._apply(request, goal, patch)
        if (request.content_type == requests.JSON_PATCH) != isinstance(patch, list):
            raise bad_request("the patch does not have the form that its content type says")
        writer = requests.writer(request)

        def change(body: Body) -> Any:
            match request.content_type:
                case requests.JSON_PATCH:
                    return merging.json_patched(body, patch)
                case requests.MERGE_PATCH:
                    return merging.merge_patched(body, patch)
                case _:
                    return merging.strategic_patched(body, patch, shape_of(kind))

        if goal.subresource == "scale":
            return self._scale(goal, change, writer)
        updated = self._registry.update(kind, *goal.place, change, writer, goal.subresource)
        return _shown(request, kind, updated, writer=writer)

    async def _apply(self, request: web.Request, goal: Target, config: Any) -> web.Response:
        kind, (namespace, name), writer = goal.kind, goal.place, requests.writer(request, applies=True)
        if not isinstance(config, Mapping) or config.get("metadata", {}).get("managedFields"):
            raise bad_request("the body of an apply must be an object without metadata.managedFields")
        config = {**config, "metadata": {"name": name, **config.get("metadata", {})}}
        if kind.has_status:
            ignored = ("spec",) if goal.subresource == "status" else ("status",)
            config = {key: value for key, value in config.items() if key not in ignored}
        manager = Manager(writer.manager, "Apply", kind.api_version, goal.subresource)
        force = request.query.get("force") == "true"

        def change(live: Body | None) -> dict[str, Any]:
            return ownership.apply(live, config, kind, manager, force=force, now=now())

        if self._registry.store.get(kind.key, namespace, name) is None and not goal.subresource:
            if config["metadata"]["name"] != name:
                raise bad_request(f"the name of the object does not match the URL ({name})")
            if uid := config["metadata"].get("uid"):
                raise conflict(kind, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: ")
            created = self._registry.create(kind, namespace, change(None), writer)
            return _shown(request, kind, created, 201, writer)
        updated = self._registry.update(kind, namespace, name, change, writer, goal.subresource)
        return _shown(request, kind, updated, writer=writer)

    def _scale(self, goal: Target, change: Any, writer: Writer) -> web.Response:
        kind, (namespace, name) = goal.kind, goal.place

        def rescale(live: Body) -> dict[str, Any]:
            wanted = change(scale_of(kind, live, missing=0))
            replicas = (wanted.get("spec") or {}).get("replicas", 0)
            if not isinstance(replicas, int) or replicas < 0:
                told = f"Invalid value: {json.dumps(replicas)}: must be greater than or equal to 0"
                raise invalid(kind, name, [Cause("spec.replicas", told)])
            version = (wanted.get("metadata") or {}).get("resourceVersion") or live["metadata"]["resourceVersion"]
            metadata = {**live["metadata"], "resourceVersion": version}
            return {**scaled(kind, live, replicas), "metadata": metadata}

        updated = self._registry.update(kind, namespace, name, rescale, writer, "scale")
        return _json(scale_of(kind, updated))

    async def _delete(self, request: web.Request, goal: Target) -> web.Response:
        options = await requests.deletion(request)
        namespace, name = goal.place
        body, gone = self._remove(goal.kind, namespace, name, options)
        if not gone or goal.kind.graceful:
            return _json({**body, "kind": goal.kind.kind, "apiVersion": goal.kind.api_version})
        details = {"name": name, "group": goal.kind.group, "kind": goal.kind.plural, "uid": body["metadata"]["uid"]}
        return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})

    async def _delete_all(self, request: web.Request, goal: Target) -> web.Response:
        if goal.kind == NAMESPACES:
            raise StatusError(405, "MethodNotAllowed", "namespaces are deleted one by one")
        options, matches = await requests.deletion(request), requests.matches(request, goal)
        bodies = [body for body in self._registry.store.objects(goal.kind.key, goal.namespace) if matches(body)]
        for body in bodies:
            self._remove(goal.kind, body["metadata"].get("namespace", ""), body["metadata"]["name"], options)
        form = {"kind": f"{goal.kind.kind}List", "apiVersion": goal.kind.api_version}
        return _json({**form, "metadata": {"resourceVersion": str(self._registry.store.revision)}, "items": bodies})

    def _remove(self, kind: Kind, namespace: str, name: str, options: Deletion) -> tuple[Body, bool]:
        if options.propagation == "Orphan":
            orphan_dependents(self._registry, self._registry.get(kind, namespace, name)["metadata"]["uid"])
        return self._registry.delete(kind, namespace, name, options)


def _subresources(kind: Kind) -> tuple[str, ...]:
    return (*(("status",) if kind.has_status else ()), *(("scale",) if kind.scale else ()))


def _included(request: web.Request) -> str:
    return request.query.get("includeObject") or "Metadata"


def _shown(
    request: web.Request, kind: Kind, body: Body, status: int = 200, writer: Writer | None = None
) -> web.Response:
    """The object as the client wants it, with what there is to warn of."""
    if requests.wants_table(request):
        metadata = {"resourceVersion": body["metadata"]["resourceVersion"]}
        body = tables.table(kind, [body], metadata=metadata, include=_included(request))
    else:
        body = {**body, "kind": kind.kind, "apiVersion": kind.api_version}
    response = _json(body, status)
    for warning in writer.warnings if writer else ():
        response.headers.add("Warning", f"299 - {json.dumps(warning)}")
    return response


def _json(
    body: Body, status: int = 200, headers: Mapping[str, str] | None = None, kind: str | None = None
) -> web.Response:
    # Without a charset: clients compare the content type as a whole.
    content_type = {"Content-Type": kind or "application/json"}
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return web.Response(body=encoded, status=status, headers={**content_type, **(headers or {})})
