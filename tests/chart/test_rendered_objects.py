"""What the chart renders for which values: objects that Kubernetes takes and that find each other."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.settings import read_settings

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/arqube"
MATRIX: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("matrix.yaml").read_text())
SAID: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
VERSIONS = (SAID["kubeVersion"].removeprefix(">=").removesuffix("-0"), kubernetes_validate.latest_version())
"""The oldest Kubernetes the chart says it runs on, and the newest there are schemas of."""
MONITORING = "monitoring.coreos.com/v1"

Render = Callable[..., list[dict[str, Any]]]


@cache
def complaint(version: str, body: str) -> str | None:
    """What the schemas of a Kubernetes version say against an object, given as JSON."""
    try:
        kubernetes_validate.validate(json.loads(body), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return None


def of_kind(kind: str, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [body for body in objects if body["kind"] == kind]


def rules(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the operator may do: the rules of the roles that are bound to it."""
    bindings = of_kind("RoleBinding", objects) + of_kind("ClusterRoleBinding", objects)
    bound = {(body["roleRef"]["kind"], body["roleRef"]["name"]) for body in bindings}
    roles = of_kind("Role", objects) + of_kind("ClusterRole", objects)
    return [rule for role in roles if (role["kind"], role["metadata"]["name"]) in bound for rule in role["rules"]]


def test_the_chart_lints_strictly(helm: Any) -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_objects_are_as_kubernetes_schemas_say_and_find_each_other(render: Render, values: dict[str, Any]) -> None:
    objects = render(values)
    complaints = {
        (version, body["kind"], body["metadata"]["name"]): complaint(version, json.dumps(body))
        for version in VERSIONS
        for body in objects
        if body["apiVersion"] != MONITORING
    }
    assert {name: found for name, found in complaints.items() if found} == {}
    names = [(body["kind"], body["metadata"].get("namespace"), body["metadata"]["name"]) for body in objects]
    assert len(set(names)) == len(names)
    (deployment,) = of_kind("Deployment", objects)
    template = deployment["spec"]["template"]
    labels, pod = template["metadata"]["labels"], template["spec"]
    (check,) = of_kind("Pod", objects)
    for selector in selectors(objects):
        assert selector.items() <= labels.items()
        assert not selector.items() <= check["metadata"]["labels"].items(), (
            "the pod of the test is taken for an operator"
        )
    for account in of_kind("ServiceAccount", objects):
        assert pod["serviceAccountName"] == check["spec"]["serviceAccountName"] == account["metadata"]["name"]
    roles = {(body["kind"], body["metadata"]["name"]) for body in objects if body["kind"].endswith("Role")}
    for binding in of_kind("RoleBinding", objects) + of_kind("ClusterRoleBinding", objects):
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in roles
        (subject,) = binding["subjects"]
        assert subject["name"] == pod["serviceAccountName"]
    (container,) = pod["containers"]
    volumes = [volume["name"] for volume in pod["volumes"]]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    assert len(set(volumes)) == len(volumes)


def selectors(objects: list[dict[str, Any]]) -> list[dict[str, str]]:
    """All by which something finds the operator's pods."""
    deployments, services = of_kind("Deployment", objects), of_kind("Service", objects)
    by_labels = deployments + of_kind("PodDisruptionBudget", objects)
    return [
        *(body["spec"]["selector"]["matchLabels"] for body in by_labels),
        *(body["spec"]["selector"] for body in services),
        *(body["spec"]["podSelector"]["matchLabels"] for body in of_kind("NetworkPolicy", objects)),
    ]


@pytest.mark.parametrize("values", MATRIX.values(), ids=MATRIX)
def test_the_notes_tell_the_next_command(helms: dict[str, Any], values: dict[str, Any], tmp_path: Path) -> None:
    if "helm" not in helms:
        pytest.skip("helm is not on PATH")
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    options = ("--dry-run=client", "--namespace=system", f"--values={file}")
    # Helm 3 asks the cluster even so: test_release.py reads what it says.
    notes = helms["helm"].done("install", "jobs", str(CHART), *options).partition("NOTES:")[2]
    name = values.get("fullnameOverride", "jobs-operator")
    assert f"kubectl --namespace system rollout status deployment/{name}" in notes
    assert "helm test jobs --namespace system" in notes
    assert ("port-forward" in notes) is values.get("console", {}).get("enabled", False)
    assert ("apply crds/taskqueues.arqube.dev.yaml yourself" in notes) is not values.get("crds", {}).get(
        "install", True
    )


def test_operators_are_spread_over_nodes(render: Render) -> None:
    (deployment,) = of_kind("Deployment", render())
    (spread,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert spread["labelSelector"] == deployment["spec"]["selector"]


def test_further_objects_are_rendered_as_templates(render: Render) -> None:
    extra = {
        body["metadata"]["name"]: body for body in of_kind("ConfigMap", render(MATRIX["objects of the user's own"]))
    }
    assert extra["arqube-extra"]["data"] == {"operator": "arqube-operator"}
    assert "second" in extra


def test_a_network_policy_admits_the_peers_and_the_test_alone(render: Render) -> None:
    objects = render(MATRIX["a network policy with all its sides"])
    (policy,) = of_kind("NetworkPolicy", objects)
    (check,) = of_kind("Pod", objects)
    (ingress,) = policy["spec"]["ingress"]
    monitoring, test = ingress["from"]
    assert monitoring == MATRIX["a network policy with all its sides"]["networkPolicy"]["from"][0]
    assert test["podSelector"]["matchLabels"].items() <= check["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert [port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]] == [53, 53, 6443, 6379]


def test_a_network_policy_without_peers_opens_the_port_to_all_and_leaves_egress_alone(render: Render) -> None:
    (policy,) = of_kind("NetworkPolicy", render("networkPolicy.enabled=true"))
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "http", "protocol": "TCP"}]}]


def test_a_chart_may_depend_on_it_under_a_condition(helm: Any, tmp_path: Path) -> None:
    dependency = {"name": "arqube", "version": "*", "repository": f"file://{CHART}", "condition": "arqube.enabled"}
    chart = {"apiVersion": "v2", "name": "platform", "version": "1.0.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump({"global": {"team": "a"}, "arqube": {"enabled": True}}))
    helm.done("dependency", "update", str(tmp_path))
    assert "kind: Deployment" in helm.done("template", "platform", str(tmp_path))
    assert "kind: Deployment" not in helm.done("template", "platform", str(tmp_path), "--set=arqube.enabled=false")


def test_the_annotations_for_artifact_hub_say_what_there_is(render: Render) -> None:
    told = {key.removeprefix("artifacthub.io/"): yaml.safe_load(text) for key, text in SAID["annotations"].items()}
    objects = render()
    (deployment,) = of_kind("Deployment", objects)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    env = {one["name"]: one.get("value") for one in container["env"]}
    assert [one["image"] for one in told["images"]] == [container["image"], env["ARQUBE_WORKER_IMAGE"]]
    (definition,) = of_kind("CustomResourceDefinition", objects)
    spec = definition["spec"]
    (crd,) = told["crds"]
    assert (crd["name"], crd["kind"]) == (definition["metadata"]["name"], spec["names"]["kind"])
    assert crd["version"] in [version["name"] for version in spec["versions"]]
    for example in told["crdsExamples"]:
        example["metadata"]["namespace"] = "team-a"
        assert TaskQueue.model_validate(example).metadata.name == example["metadata"]["name"]
    kinds = {"added", "changed", "deprecated", "removed", "fixed", "security"}
    assert {change["kind"] for change in told["changes"]} <= kinds


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param((), f"arqube-operator:{SAID['appVersion']}", id="the chart's version"),
        pytest.param(("image.registry=mirror:5000", "image.tag=v2"), "mirror:5000/arqube-operator:v2", id="a mirror"),
        pytest.param(
            ("image.tag=v2", f"image.digest=sha256:{'0' * 64}"),
            f"arqube-operator@sha256:{'0' * 64}",
            id="a digest wins",
        ),
    ],
)
def test_the_image(render: Render, values: tuple[str, ...], image: str) -> None:
    (deployment,) = of_kind("Deployment", render(*values))
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param((), f"arqube-worker:{SAID['appVersion']}", id="the chart's version"),
        pytest.param(
            ("image.registry=a", "image.tag=v2"), f"arqube-worker:{SAID['appVersion']}", id="whatever the operator's is"
        ),
        pytest.param(
            ("runtime.image.registry=mirror:5000", "runtime.image.tag=v2"),
            "mirror:5000/arqube-worker:v2",
            id="a mirror",
        ),
        pytest.param(
            ("runtime.image.repository=team/runtime", f"runtime.image.digest=sha256:{'0' * 64}"),
            f"team/runtime@sha256:{'0' * 64}",
            id="a digest wins",
        ),
    ],
)
def test_the_operator_is_told_the_image_of_the_runtime(render: Render, values: tuple[str, ...], image: str) -> None:
    (deployment,) = of_kind("Deployment", render(*values))
    env = {one["name"]: one.get("value") for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["ARQUBE_WORKER_IMAGE"] == image


def test_the_console_is_off_unless_asked_for_and_needs_no_rights(render: Render) -> None:
    plain, with_console = render(), render(MATRIX["the console with all it may have"])

    def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
        return of_kind("Deployment", objects)[0]["spec"]["template"]["spec"]["containers"][0]

    assert "CONSOLE" not in json.dumps(container(plain))
    assert rules(with_console) == rules(plain)
    assert of_kind("Service", with_console) == of_kind("Service", plain), "loopback alone leads there"
    env = {one["name"]: one.get("value") for one in container(with_console)["env"]}
    assert (env["ARQUBE_CONSOLE_PORT"], env["ARQUBE_CONSOLE_SHOW_ARGUMENTS"]) == ("8081", "true")
    (mount,) = [each for each in container(with_console)["volumeMounts"] if each["name"] == "console-token"]
    (volume,) = [
        each
        for each in of_kind("Deployment", with_console)[0]["spec"]["template"]["spec"]["volumes"]
        if each["name"] == "console-token"
    ]
    assert volume["secret"] == {"secretName": "console", "items": [{"key": "console-token", "path": "token"}]}
    assert f"{mount['mountPath']}/token" == env["ARQUBE_CONSOLE_TOKEN_FILE"]


@pytest.mark.parametrize("values", [(), ("watchNamespaces={team-a,team-b}",)], ids=["all namespaces", "two namespaces"])
def test_the_operator_may_do_little(render: Render, values: tuple[str, ...]) -> None:
    granted = rules(render(*values))
    verbs = {(resource, verb) for rule in granted for resource in rule["resources"] for verb in rule["verbs"]}
    assert {verb for resource, verb in verbs if resource == "secrets"} == {"get"}
    assert not [pair for pair in verbs if "*" in pair]
    assert not {verb for _, verb in verbs} & {"delete", "deletecollection", "bind", "escalate", "impersonate"}
    assert not [resource for resource, _ in verbs if resource.startswith(("pods/", "roles", "clusterroles"))]


def test_with_namespaces_given_the_operator_may_act_in_those_and_knows_it(render: Render) -> None:
    objects = render("watchNamespaces={team-a,team-b}")
    assert not of_kind("ClusterRoleBinding", objects)
    places = {body["metadata"]["namespace"] for body in of_kind("RoleBinding", objects)}
    assert places == {"arqube-system", "team-a", "team-b"}
    (deployment,) = of_kind("Deployment", objects)
    env = {one["name"]: one.get("value") for one in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["ARQUBE_WATCH_NAMESPACES"] == "team-a,team-b"


def environment(objects: list[dict[str, Any]], kind: str) -> dict[str, str]:
    (body,) = of_kind(kind, objects)
    spec = body["spec"]["template"]["spec"] if kind == "Deployment" else body["spec"]
    return {one["name"]: one["value"] for one in spec["containers"][0]["env"] if "value" in one}


def test_releases_that_share_the_task_queues_by_a_label_have_a_lease_each_and_the_same_rights(render: Render) -> None:
    selector = 'watchLabelSelector="shard notin (a\\,b)"'
    whole, shard = render(), render("fullnameOverride=shard-b", selector.replace('"', ""))
    for kind in ("Deployment", "Pod"):  # the operator, and the check by `helm test`
        assert "ARQUBE_WATCH_LABEL_SELECTOR" not in environment(whole, kind)
        told = environment(shard, kind)
        assert told["ARQUBE_WATCH_LABEL_SELECTOR"] == "shard notin (a,b)"
        assert read_settings(told).watch_label_selector == told["ARQUBE_WATCH_LABEL_SELECTOR"]
        assert told["ARQUBE_LEASE_NAME"] == "shard-b"
    assert [body["metadata"]["name"] for body in of_kind("Lease", shard)] == ["shard-b"]

    def rights(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [rule for rule in rules(objects) if "leases" not in rule["resources"]]

    assert rights(shard) == rights(whole)


def test_the_definition_is_the_one_that_is_checked_in_and_is_kept(render: Render) -> None:
    (definition,) = of_kind("CustomResourceDefinition", render())
    annotations = definition["metadata"].pop("annotations")
    assert annotations["helm.sh/resource-policy"] == "keep"
    checked_in = yaml.safe_load((ROOT / "crds/taskqueues.arqube.dev.yaml").read_text())
    checked_in["metadata"].pop("annotations", None)
    assert definition == checked_in


def test_the_definition_can_go_with_the_release_or_not_come_at_all(render: Render) -> None:
    (definition,) = of_kind("CustomResourceDefinition", render("crds.keep=false"))
    assert "helm.sh/resource-policy" not in definition["metadata"].get("annotations", {})
    assert not of_kind("CustomResourceDefinition", render("crds.install=false"))


def test_all_objects_carry_the_labels_by_which_they_are_found(render: Render) -> None:
    for body in render("watchNamespaces={team-a}"):
        if body["kind"] != "CustomResourceDefinition":
            assert body["metadata"]["labels"]["app.kubernetes.io/part-of"] == "arqube", body["metadata"]["name"]
