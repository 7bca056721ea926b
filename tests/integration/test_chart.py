"""The Helm chart: what it renders for which values, and what it refuses. Needs Helm 3 or 4."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/arqube"

Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module", params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest) -> Callable[..., subprocess.CompletedProcess[str]]:
    if shutil.which(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return lambda *arguments: subprocess.run([request.param, *arguments], capture_output=True, text=True, timeout=60)


@pytest.fixture
def render(helm: Any) -> Render:
    def template(*values: str) -> list[dict[str, Any]]:
        settings = [f"--set={value}" for value in values]
        result = helm("template", "arqube", str(CHART), "--namespace=arqube-system", *settings)
        assert result.returncode == 0, result.stderr
        return [body for body in yaml.safe_load_all(result.stdout) if body]

    return template


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


@pytest.mark.parametrize(
    ("value", "named"),
    [
        pytest.param("replica=3", "replica", id="a misspelt name"),
        pytest.param("image.tagg=1", "tagg", id="a misspelt name further down"),
        pytest.param("replicas=many", "replicas", id="a word for a number"),
        pytest.param("replicas=-1", "replicas", id="a negative number"),
        pytest.param("crds.install=perhaps", "install", id="a word for a switch"),
        pytest.param("logLevel=loud", "logLevel", id="a log level there is not"),
        pytest.param("image.pullPolicy=Sometimes", "pullPolicy", id="a pull policy there is not"),
        pytest.param("image.digest=latest", "digest", id="a digest that is none"),
        pytest.param("runtime.image.pullPolicy=Never", "pullPolicy", id="a pull policy of the runtime, which has none"),
        pytest.param("runtime.image.repository=", "repository", id="a runtime without a repository"),
        pytest.param("watchNamespaces=team-a", "watchNamespaces", id="one namespace in place of a list"),
        pytest.param("watchNamespaces={Team_A}", "watchNamespaces", id="a namespace no cluster has"),
    ],
)
def test_a_wrong_value_is_refused_by_name(helm: Any, value: str, named: str) -> None:
    result = helm("template", "arqube", str(CHART), f"--set={value}")
    assert result.returncode != 0
    assert named in result.stderr


@pytest.mark.parametrize(
    ("values", "image"),
    [
        pytest.param((), "arqube-operator:0.1.0", id="the chart's version"),
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
        pytest.param((), "arqube-worker:0.1.0", id="the chart's version"),
        pytest.param(("image.registry=a", "image.tag=v2"), "arqube-worker:0.1.0", id="whatever the operator's is"),
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


def test_the_operator_meets_the_restricted_pod_security_standard(render: Render) -> None:
    (deployment,) = of_kind("Deployment", render())
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["spec"]["replicas"] == 2
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


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
