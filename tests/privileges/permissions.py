"""What roles let an account do, what an audit log says that it did, and how the two differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FORBIDDEN = 403


@dataclass(frozen=True, order=True)
class Permission:
    """To do one thing to one resource; in any namespace where that is empty, to any object where its name is."""

    verb: str
    group: str
    resource: str
    """With its subresource, as in ``deployments/scale``."""
    namespace: str = ""
    name: str = ""

    def covers(self, request: Request) -> bool:
        return (
            (self.verb, self.group, self.resource) == (request.verb, request.group, request.resource)
            and self.namespace in ("", request.namespace)
            and self.name in ("", request.name)
        )


@dataclass(frozen=True, order=True)
class Request:
    """What was asked of the API server, and its answer's HTTP status."""

    verb: str
    group: str
    resource: str
    """With its subresource; of what is no resource, the path."""
    namespace: str = ""
    name: str = ""
    status: int = 200


def granted(objects: Iterable[Mapping[str, Any]], account: str) -> set[Permission]:
    """What the roles among ``objects`` that are bound to a ServiceAccount let it do."""
    by_name = {
        (body["kind"], body["metadata"].get("namespace", ""), body["metadata"]["name"]): body for body in objects
    }
    found = set()
    for (kind, namespace, _), binding in by_name.items():
        if not kind.endswith("RoleBinding") or account not in {one["name"] for one in binding["subjects"]}:
            continue
        role = binding["roleRef"]
        place = namespace if role["kind"] == "Role" else ""
        for rule in by_name[role["kind"], place, role["name"]]["rules"]:
            found |= {
                Permission(verb, group, resource, namespace, name)
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", [""])
            }
    return found


def requests(log: str, user: str) -> set[Request]:
    """The user's, of an audit log in JSON lines. A line that is still being written is left."""
    found = set()
    for line in log.splitlines(keepends=True):
        event = json.loads(line) if line.endswith("\n") else {"user": {"username": ""}}
        if event["user"]["username"] != user:
            continue
        verb, about = event["verb"], event.get("objectRef") or {}
        path = event["requestURI"].partition("?")[0]
        resource = "/".join(filter(None, (about.get("resource", path), about.get("subresource"))))
        place = (about.get("apiGroup", ""), resource, about.get("namespace", ""), about.get("name", ""))
        status = event["responseStatus"]["code"]
        found.add(Request(verb, *place, status))
        if (verb, status) == ("patch", 201):
            # An apply that makes its object needs both, and is logged as what it was sent as.
            found.add(Request("create", *place, status))
    return found


def refused(asked: Iterable[Request]) -> set[Request]:
    """Those that the user was not allowed."""
    return {request for request in asked if request.status == FORBIDDEN}


def unused(permissions: Iterable[Permission], asked: Iterable[Request]) -> set[Permission]:
    """The permissions that no request needed."""
    allowed = [request for request in asked if request.status != FORBIDDEN]
    return {one for one in permissions if not any(one.covers(request) for request in allowed)}


def not_granted(permissions: Iterable[Permission], asked: Iterable[Request]) -> set[Request]:
    """The requests for resources that no permission covers: refused ones, and what other roles happen to allow."""
    known = list(permissions)
    of_resources = (request for request in asked if not request.resource.startswith("/"))
    return {request for request in of_resources if not any(one.covers(request) for one in known)}
