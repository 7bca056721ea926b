"""What the server tells of itself: its version, groups and kinds, plain and aggregated, and an OpenAPI v3 document."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from arqube_local.apiserver.errors import no_such_path
from arqube_local.apiserver.kinds import VERBS, Kind, Kinds

VERSION: Final = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.0-arqube",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "python",
}
AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_SUBRESOURCE_VERBS: Final = ("get", "patch", "update")


def core_versions() -> dict[str, Any]:
    """``/api``."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}


def groups(kinds: Kinds) -> dict[str, Any]:
    """``/apis``."""
    named = sorted({kind.group for kind in kinds if kind.group})
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(kinds, name) for name in named]}


def group(kinds: Kinds, name: str) -> dict[str, Any]:
    """``/apis/GROUP``.

    Raises:
        StatusError: 404.
    """
    if not any(kind.group == name for kind in kinds):
        raise no_such_path()
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(kinds, name)}


def resources(kinds: Kinds, api_version: str) -> dict[str, Any]:
    """``/api/v1`` or ``/apis/GROUP/VERSION``.

    Raises:
        StatusError: 404.
    """
    served = [kind for kind in kinds if kind.api_version == api_version]
    if not served:
        raise no_such_path()
    rows = [row for kind in served for row in _resource(kind)]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": rows}


def aggregated(kinds: Kinds, *, core: bool) -> dict[str, Any]:
    """``/api`` or ``/apis`` as one document (KEP-3352)."""
    names = [""] if core else sorted({kind.group for kind in kinds if kind.group})
    items = [
        {
            "metadata": {"name": name},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [_aggregated(k) for k in kinds if (k.group, k.version) == (name, version)],
                }
                for version in _versions(kinds, name)
            ],
        }
        for name in names
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def openapi_index(kinds: Kinds) -> dict[str, Any]:
    """``/openapi/v3``."""
    places = {_root(kind.api_version) for kind in kinds}
    return {"paths": {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in sorted(places)}}


def openapi(kinds: Kinds, place: str) -> dict[str, Any]:
    """``/openapi/v3/apis/GROUP/VERSION``: custom kinds with their schema, so that ``kubectl explain`` knows them.

    That every PATCH takes ``fieldValidation`` tells kubectl to leave checking to the server.

    Raises:
        StatusError: 404.
    """
    served = [kind for kind in kinds if _root(kind.api_version) == place]
    if not served:
        raise no_such_path()
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": VERSION["gitVersion"]},
        "paths": dict(_path(kind) for kind in served),
        "components": {"schemas": {_schema_name(kind): _schema(kind) for kind in served}},
    }


def _root(api_version: str) -> str:
    return f"apis/{api_version}" if "/" in api_version else f"api/{api_version}"


def _versions(kinds: Iterable[Kind], name: str) -> list[str]:
    return list(dict.fromkeys(kind.version for kind in kinds if kind.group == name))


def _group(kinds: Kinds, name: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in _versions(kinds, name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _subresources(kind: Kind) -> Iterable[tuple[str, Mapping[str, str]]]:
    """Each with the group, version and kind of what it reads and writes."""
    if kind.has_status:
        yield "status", {"group": kind.group, "version": kind.version, "kind": kind.kind}
    if kind.scale is not None:
        yield "scale", {"group": "autoscaling", "version": "v1", "kind": "Scale"}


def _resource(kind: Kind) -> Iterable[dict[str, Any]]:
    yield {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(VERBS),
        **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
    }
    for name, form in _subresources(kind):
        other = {} if form["kind"] == kind.kind else {"group": form["group"], "version": form["version"]}
        verbs = list(_SUBRESOURCE_VERBS)
        row = {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced}
        yield {**row, "kind": form["kind"], "verbs": verbs, **other}


def _aggregated(kind: Kind) -> dict[str, Any]:
    subresources = [
        {"subresource": name, "responseKind": form, "verbs": list(_SUBRESOURCE_VERBS)}
        for name, form in _subresources(kind)
    ]
    return {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(VERBS),
        **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
        **({"subresources": subresources} if subresources else {}),
    }


def _identity(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _schema_name(kind: Kind) -> str:
    domain = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{domain}.{kind.version}.{kind.kind}"


def _schema(kind: Kind) -> dict[str, Any]:
    document = kind.schema.document if kind.schema else {"type": "object"}
    return {**document, "x-kubernetes-group-version-kind": [_identity(kind)]}


def _path(kind: Kind) -> tuple[str, dict[str, Any]]:
    home = "/namespaces/{namespace}" if kind.namespaced else ""
    names = ("dryRun", "fieldManager", "fieldValidation", "force")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    answer = {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_schema_name(kind)}"}}}}
    operations = {
        verb: {
            "parameters": parameters if verb != "get" else [],
            "responses": {"200": {"description": "OK", **answer}},
            "x-kubernetes-action": verb,
            "x-kubernetes-group-version-kind": _identity(kind),
        }
        for verb in ("get", "put", "patch", "delete")
    }
    return f"/{_root(kind.api_version)}{home}/{kind.plural}/{{name}}", operations
