"""The chart refuses a value it does not know or cannot use, and names it; and says nothing against the others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts/arqube"
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text())
REFUSED = {
    "a misspelt name": ("replica=3", "replica"),
    "a misspelt name further down": ("image.tagg=1", "tagg"),
    "a word for a number": ("replicas=many", "replicas"),
    "a negative number": ("replicas=-1", "replicas"),
    "a word for a switch": ("crds.install=perhaps", "install"),
    "a log level there is not": ("logLevel=loud", "logLevel"),
    "a pull policy there is not": ("image.pullPolicy=Sometimes", "pullPolicy"),
    "a digest that is none": ("image.digest=latest", "digest"),
    "a pull policy of the runtime, which has none": ("runtime.image.pullPolicy=Never", "pullPolicy"),
    "a runtime without a repository": ("runtime.image.repository=", "repository"),
    "one namespace in place of a list": ("watchNamespaces=team-a", "watchNamespaces"),
    "a namespace no cluster has": ("watchNamespaces={Team_A}", "watchNamespaces"),
    "a label selector that is none": ("watchLabelSelector=shard is a", "watchLabelSelector"),
    "a label that is the chart's own": ("commonLabels.app\\.kubernetes\\.io/name=mine", "commonLabels"),
    "a pod's label that its selector needs": ("podLabels.app\\.kubernetes\\.io/instance=mine", "podLabels"),
    "a label's value that is too much": ("commonLabels.team=a team with spaces", "commonLabels"),
    "a number for an annotation": ("podAnnotations.port=8080", "podAnnotations"),
    "a resource there is not": ("resources.limits.memroy=1Gi", "memroy"),
    "an amount that is none": ("resources.limits.memory=lots", "memory"),
    "limits in the wrong place": ("resources.memory=1Gi", "memory"),
    "no operator that may be away": ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
    "a peer that is none": ("networkPolicy.from[0].pods=all", "pods"),
    "a port there is not": ("networkPolicy.egress[0].ports[0].port=70000", "port"),
    "addresses without their length": ("networkPolicy.from[0].ipBlock.cidr=10.0.0.1", "cidr"),
    "a duration without its unit": ("serviceMonitor.interval=30", "interval"),
    "a misspelt duration of the workers' scrapes": ("podMonitor.interval=30 seconds", "interval"),
    "a base of the runbooks without its protocol": ("prometheusRule.runbookBaseUrl=docs", "runbookBaseUrl"),
    "a dashboard's label that is no string": ("grafanaDashboards.labels.grafana_dashboard=1", "grafana_dashboard"),
    "a misspelt field of the pod's security": ("podSecurityContext.runAsNonroot=true", "runAsNonroot"),
    "a user by name": ("podSecurityContext.runAsUser=root", "runAsUser"),
    "a seccomp profile there is not": ("podSecurityContext.seccompProfile.type=Default", "type"),
    "one capability in place of a list": ("securityContext.capabilities.drop=ALL", "drop"),
    "a misspelt field of the container's security": (
        "securityContext.readOnlyRootFileSystem=true",
        "readOnlyRootFileSystem",
    ),
    "a taint's effect there is not": ("tolerations[0].effect=NoSchedul", "effect"),
    "an affinity to nothing": ("affinity.hostAffinity.weight=1", "hostAffinity"),
    "a weight that is too high": (
        "affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=101",
        "weight",
    ),
    "a spread without its skew": ("topologySpreadConstraints[0].topologyKey=zone", "maxSkew"),
    "a variable without its name": ("extraEnv[0].value=1", "name"),
    "a variable that the chart sets": ("extraEnv[0].name=ARQUBE_LEASE_NAME", "extraEnv"),
    "a variable of the console": ("extraEnv[0].name=ARQUBE_CONSOLE_TOKEN_FILE", "extraEnv"),
    "the token itself in place of its Secret": ("console.token=secret", "token"),
    "a Secret that no cluster has": ("console.tokenSecret.name=Console", "tokenSecret"),
    "a volume in place of the token": (
        "extraVolumes[0].name=console-token,extraVolumes[0].emptyDir.medium=Memory",
        "name",
    ),
    "a variable from nowhere": ("extraEnv[0].valueFrom.secret=a", "secret"),
    "a volume of the node": ("extraVolumes[0].name=host,extraVolumes[0].hostPath.path=/", "hostPath"),
    "a volume in place of the chart's own": ("extraVolumes[0].name=tmp,extraVolumes[0].emptyDir.medium=Memory", "name"),
    "a mount without its path": ("extraVolumeMounts[0].name=cache", "mountPath"),
    "an object without its kind": ("extraObjects[0].apiVersion=v1,extraObjects[0].metadata.name=a", "kind"),
    "a monitor of a Service that is switched off": (
        "serviceMonitor.enabled=true,metrics.service.enabled=false",
        "metrics.service.enabled",
    ),
}


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """All values that hold no others, by their names with dots."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        inner = leaves(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name: value}
        found |= inner
    return found


@pytest.mark.parametrize(("value", "named"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_value_is_refused_by_name(helm: Any, value: str, named: str) -> None:
    result = helm("template", "arqube", str(CHART), f"--set={value}")
    assert result.returncode != 0
    assert named in result.stderr


@pytest.mark.parametrize("name", leaves(DEFAULTS))
def test_every_value_is_of_one_type(helms: dict[str, Any], name: str) -> None:
    if "helm" not in helms:
        pytest.skip("helm is not on PATH")
    wrong = {"json": [{"there": "is no such value"}]} if isinstance(leaves(DEFAULTS)[name], list) else [{"no": "type"}]
    result = helms["helm"]("template", "arqube", str(CHART), f"--set-json={name.replace('/', '.')}={json.dumps(wrong)}")
    assert result.returncode != 0
    assert name.split(".")[0] in result.stderr


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_value_that_is_taken_away_is_refused_by_name_or_not_needed(helms: dict[str, Any], name: str) -> None:
    if "helm" not in helms:
        pytest.skip("helm is not on PATH")
    result = helms["helm"]("template", "arqube", str(CHART), f"--set={name}=null")
    assert result.returncode == 0 or f"'{name}'" in result.stderr


def test_the_schema_knows_exactly_the_values_there_are() -> None:
    for_helm = {"global", "enabled"}
    assert set(SCHEMA["properties"]) - for_helm == set(DEFAULTS)
    for name, value in leaves(DEFAULTS).items():
        schema: Any = SCHEMA
        for step in name.split("."):
            schema = part(resolved(schema), step)
        assert type_of(value) in types(resolved(schema)), name


def test_no_object_of_the_schema_is_open_but_those_that_must_be() -> None:
    found = {path for path, schema in objects(SCHEMA, ()) if schema.get("additionalProperties", True) is True}
    assert {".".join(path) for path in found} == {
        "properties.global",  # the other charts'
        "properties.extraObjects.items",  # any kind of object
        "properties.extraObjects.items.properties.metadata",
    }


def objects(schema: Any, path: tuple[str, ...]) -> list[tuple[tuple[str, ...], dict[str, Any]]]:
    """All subschemas of objects, with their paths."""
    found = []
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            found.append((path, schema))
        for name, inner in schema.items():
            found += objects(inner, (*path, name))
    return found


def part(schema: dict[str, Any], name: str) -> Any:
    """The subschema of what has that name in an object."""
    if name in schema.get("properties", {}):
        return schema["properties"][name]
    patterns = schema.get("patternProperties", {})
    return next((patterns[one] for one in patterns if re.search(one, name)), schema["additionalProperties"])


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    reference = schema.get("$ref")
    return SCHEMA["definitions"][reference.rpartition("/")[2]] if reference else schema


def types(schema: dict[str, Any]) -> set[str]:
    """The types of the values that a schema allows."""
    if "enum" in schema:
        return {type_of(value) for value in schema["enum"]}
    if "anyOf" in schema:
        return {name for choice in schema["anyOf"] for name in types(choice)}
    return {schema["type"]}


def type_of(value: Any) -> str:
    names = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}
    return names[type(value)]
