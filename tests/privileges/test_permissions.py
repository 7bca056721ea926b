"""The comparison of permissions with requests notices what is missing or unused, and the page tells the chart's."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.privileges.permissions import Permission, Request, granted, not_granted, refused, requests, unused

PAGE = Path(__file__).parents[2] / "docs/permissions.md"
PLACES = {"where it serves": "served", "its own namespace": "own"}
ROW = re.compile(
    r"^\| (?P<group>\S+) \| `(?P<resource>[a-z/]+)`(?P<named>, by name)? "
    r"\| (?P<verbs>[a-z, ]+) \| (?P<place>[a-z ]+) \| \S"
)

LIST = Permission("list", "", "pods")
GET_LEASE = Permission("get", "coordination.k8s.io", "leases", "ours", "leader")
GRANTED = {LIST, GET_LEASE}
ASKED = {
    Request("list", "", "pods", "team-a"),
    Request("get", "coordination.k8s.io", "leases", "ours", "leader"),
    Request("get", "", "/apis"),
}


def test_what_is_granted_and_asked_alike_is_found_alike() -> None:
    assert (unused(GRANTED, ASKED), not_granted(GRANTED, ASKED), refused(ASKED)) == (set(), set(), set())


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param(Permission("watch", "", "pods"), id="a verb"),
        pytest.param(Permission("list", "apps", "pods"), id="a group"),
        pytest.param(Permission("list", "", "pods/log"), id="a subresource"),
        pytest.param(Permission("list", "", "pods", "team-b"), id="a namespace"),
        pytest.param(Permission("get", "coordination.k8s.io", "leases", "ours", "other"), id="a name"),
    ],
)
def test_a_permission_that_nothing_needed_is_told(extra: Permission) -> None:
    assert unused(GRANTED | {extra}, ASKED) == {extra}


@pytest.mark.parametrize("taken", [LIST, GET_LEASE], ids=lambda one: one.resource)
def test_a_request_without_a_permission_is_told(taken: Permission) -> None:
    assert [taken.covers(request) for request in not_granted(GRANTED - {taken}, ASKED)] == [True]


def test_a_permission_is_not_used_by_a_request_that_was_refused() -> None:
    asked = {Request("list", "", "pods", status=403)}
    assert refused(asked) == asked
    assert unused({LIST}, asked) == {LIST}


def test_an_audit_log_tells_what_one_user_asked() -> None:
    def line(user: str, verb: str, status: int, **about: str) -> str:
        told = {"verb": verb, "requestURI": "/apis?x=y", "responseStatus": {"code": status}}
        event = {"user": {"username": user}, **told}
        return json.dumps(event | ({"objectRef": about} if about else {})) + "\n"

    scale = {"apiGroup": "apps", "resource": "deployments", "namespace": "team-a", "name": "emails"}
    log = (
        line("us", "patch", 403, **scale, subresource="scale")
        + line("us", "get", 200)
        + line("them", "delete", 200, **scale)
        + line("us", "delete", 200, **scale).rstrip("\n")
    )
    assert requests(log, "us") == {
        Request("patch", "apps", "deployments/scale", "team-a", "emails", 403),
        Request("get", "", "/apis"),
    }
    made = requests(line("us", "patch", 201, **scale), "us")
    assert {request.verb for request in made} == {"patch", "create"}


def test_roles_count_where_they_are_bound_to_the_account() -> None:
    def body(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
        return {"kind": kind, "metadata": {"name": name} | ({"namespace": namespace} if namespace else {}), **more}

    def bound(kind: str, name: str, account: str) -> dict[str, Any]:
        return {"roleRef": {"kind": kind, "name": name}, "subjects": [{"name": account}]}

    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]
    objects = [
        body("Role", "r", "a", rules=rules),
        body("ClusterRole", "c", rules=rules),
        body("ClusterRole", "d", rules=[rules[0] | {"verbs": ["delete"]}]),
        body("RoleBinding", "r", "a", **bound("Role", "r", "us")),
        body("ClusterRoleBinding", "c", **bound("ClusterRole", "c", "us")),
        body("ClusterRoleBinding", "d", **bound("ClusterRole", "d", "them")),
    ]
    assert granted(objects, "us") == {Permission("list", "", "pods", "a"), Permission("list", "", "pods")}


@pytest.mark.parametrize(
    ("values", "served"), [((), ""), (("watchNamespaces={team-a}",), "team-a")], ids=["all namespaces", "one namespace"]
)
def test_the_page_tells_what_the_chart_grants(
    rendered: Callable[..., list[dict[str, Any]]], values: tuple[str, ...], served: str
) -> None:
    namespace = "arqube-system"
    places = {served: "served", namespace: "own"}
    chart = {
        (one.group or "core", one.resource, one.verb, places[one.namespace], bool(one.name))
        for one in granted(rendered(namespace, *values), "arqube-operator")
    }
    page = [
        (row["group"], row["resource"], verb, PLACES[row["place"]], bool(row["named"]))
        for row in map(ROW.match, PAGE.read_text().splitlines())
        if row
        for verb in row["verbs"].split(", ")
    ]
    assert len(page) == len(set(page))
    assert set(page) == chart
