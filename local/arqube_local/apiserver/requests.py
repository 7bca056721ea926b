"""What a request asks for: its path taken apart, its query, its body, and the form that its answer is to have."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml
from aiohttp import web

from arqube_local.apiserver.errors import StatusError, bad_request, no_such_path, unsupported_media
from arqube_local.apiserver.kinds import NAMESPACES, Kind, Kinds
from arqube_local.apiserver.registry import Deletion, Writer
from arqube_local.apiserver.selectors import matcher
from arqube_local.apiserver.watching import WatchRequest

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"
WATCH_TIMEOUT_S: Final = 1800.0
"""Seconds a watch lasts whose client names no time."""

Body = Mapping[str, Any]

_BODIES: Final = ("application/json", "application/yaml")
_PATH: Final = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/(?P<version>[^/]+)"
    r"(?:/namespaces/(?P<namespace>[^/]+))?/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>.+))?)?"
)
_ONE_NAMESPACE: Final = re.compile(r"/api/v1/namespaces(?:/(?P<name>[^/]+)(?:/(?P<subresource>status|finalize))?)?")


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names: a collection where ``name`` is None, in all namespaces where ``namespace`` is None too."""

    kind: Kind
    namespace: str | None
    name: str | None
    subresource: str

    @property
    def place(self) -> tuple[str, str]:
        """Namespace and name as objects are stored under.

        Raises:
            StatusError: 404, the path names no single object.
        """
        if self.name is None or (self.kind.namespaced and self.namespace is None):
            raise no_such_path()
        return self.namespace or "", self.name


def target(kinds: Kinds, path: str) -> Target:
    """What ``path`` names.

    Raises:
        StatusError: 404, nothing that is served.
    """
    if found := _ONE_NAMESPACE.fullmatch(path):
        return Target(NAMESPACES, None, found["name"], found["subresource"] or "")
    found = _PATH.fullmatch(path)
    kind = kinds.find(found["group"] or "", found["version"], found["plural"]) if found else None
    if found is None or kind is None or (found["namespace"] is not None and not kind.namespaced):
        raise no_such_path()
    return Target(kind, found["namespace"], found["name"], found["subresource"] or "")


async def body(request: web.Request, accepted: tuple[str, ...] = _BODIES) -> Any:
    """The request's body, from JSON or YAML.

    Raises:
        StatusError: 400 where it cannot be parsed, 415 where it is of a kind not ``accepted``.
    """
    # A body that does not say what it is is JSON, and kubectl sends such.
    kind = request.content_type if "Content-Type" in request.headers else "application/json"
    if kind not in accepted:
        raise unsupported_media(kind, accepted)
    text = await request.text()
    try:
        return yaml.safe_load(text) if "yaml" in kind and text[:1] != "{" else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"the body of the request cannot be parsed: {error}") from error


def writer(request: web.Request, *, applies: bool = False) -> Writer:
    """Who writes: the ``fieldManager``, else what the user agent begins with.

    Raises:
        StatusError: 422, an apply does not say by whom.
    """
    manager = request.query.get("fieldManager", "")
    if not manager and applies:
        told = "fieldManager: Required value: is required for apply patch"
        raise StatusError(422, "Invalid", f'PatchOptions.meta.k8s.io "" is invalid: {told}')
    agent = request.headers.get("User-Agent", "").partition("/")[0]
    validation = request.query.get("fieldValidation") or "Warn"
    return Writer(manager or agent or "unknown", validation, applies, dry_run=request.query.get("dryRun") == "All")


async def deletion(request: web.Request) -> Deletion:
    """The ``DeleteOptions`` of the body, or of the query.

    Raises:
        StatusError: 400 or 415; a dry run of a deletion is not known.
    """
    options = await body(request) if request.can_read_body else {}
    if not isinstance(options, Mapping):
        raise bad_request("the body of the request is no DeleteOptions")
    named = {**request.query, **options}
    if named.get("dryRun"):
        raise bad_request("this server knows no dry run of a deletion")
    grace = named.get("gracePeriodSeconds")
    preconditions = options.get("preconditions") or {}
    return Deletion(
        grace_period_s=int(grace) if grace is not None else None,
        propagation=named.get("propagationPolicy") or "Background",
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
    )


def watch(request: web.Request, goal: Target) -> WatchRequest:
    """What a ``?watch=true`` asks for.

    Raises:
        StatusError: 400.
    """
    query = request.query
    version = query.get("resourceVersion") or "0"
    if not version.isdigit():
        raise bad_request(f"invalid resource version: {version!r}")
    return WatchRequest(
        kind=goal.kind,
        namespace=goal.namespace,
        matches=matches(request, goal),
        since=int(version) if version != "0" else None,
        initial_events=_is_true(query.get("sendInitialEvents")),
        bookmarks=_is_true(query.get("allowWatchBookmarks")),
        timeout_s=float(query.get("timeoutSeconds") or WATCH_TIMEOUT_S),
    )


def is_watch(request: web.Request) -> bool:
    """Whether a list is to go on as a watch."""
    return _is_true(request.query.get("watch"))


def matches(request: web.Request, goal: Target) -> Any:
    """The test of the request's selectors; a path that names an object selects it.

    Raises:
        StatusError: 400.
    """
    fields = request.query.get("fieldSelector", "")
    if goal.name is not None:
        fields = ",".join(filter(None, (fields, f"metadata.name={goal.name}")))
    return matcher(goal.kind, request.query.get("labelSelector", ""), fields)


def page(request: web.Request, bodies: list[Body], revision: int) -> tuple[list[Body], dict[str, Any]]:
    """The part of a list that is asked for, and its metadata: the version of its first part, and where to go on.

    Raises:
        StatusError: 400, ``limit`` or ``continue`` is not to be understood.
    """
    try:
        limit = int(request.query.get("limit") or 0)
        if following := request.query.get("continue"):
            revision, *last = json.loads(base64.b64decode(following))
            bodies = [body for body in bodies if _place(body) > last]
    except ValueError:
        raise bad_request("limit must be a number and continue what an answer to a list has said") from None
    if not 0 < limit < len(bodies):
        return bodies, {"resourceVersion": str(revision)}
    token = base64.b64encode(json.dumps([revision, *_place(bodies[limit - 1])]).encode()).decode()
    left = len(bodies) - limit
    return bodies[:limit], {"resourceVersion": str(revision), "continue": token, "remainingItemCount": left}


def _place(body: Body) -> list[str]:
    return [body["metadata"].get("namespace", ""), body["metadata"]["name"]]


def wants_table(request: web.Request) -> bool:
    """Whether the answer is to be rows to print."""
    return _accepts(request).startswith("application/json;") and "as=Table" in _accepts(request)


def wants_aggregated(request: web.Request) -> bool:
    """Whether discovery is to be one document."""
    return "as=APIGroupDiscoveryList" in request.headers.get("Accept", "") and "v=v2;" in request.headers["Accept"]


def _accepts(request: web.Request) -> str:
    """The form that the client likes best of those that are JSON."""
    forms = [form.strip() for form in request.headers.get("Accept", "").split(",")]
    return next((form for form in forms if form.startswith("application/json")), "")


def _is_true(value: str | None) -> bool:
    return value in ("1", "true", "True")
