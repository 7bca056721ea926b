"""A release on a real API server: installed, upgraded from the previous chart, rolled back, uninstalled, back again.

No pod runs: what a running operator does is the end-to-end run's business. Here it is what Helm and the API server do.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders import releases

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/arqube"
MATRIX: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("matrix.yaml").read_text())
VERSION: str = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
RELEASE = "jobs"
NAMES = "jobs-operator"
TASK_QUEUE = {
    "apiVersion": "arqube.dev/v1alpha1",
    "kind": "TaskQueue",
    "metadata": {"name": "emails"},
    "spec": {"redis": {"host": "redis"}, "worker": {"image": "emails:1", "settings": "emails.WorkerSettings"}},
}
MONITORING = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart of the last release; where that has this chart's version, as it was last under another one."""
    released = releases.find(releases.RELEASES[0])
    before = (releases.git("rev-list", "HEAD", "--", "charts/arqube") or b"").decode().split()
    for commit in (*([released] if released else []), *before):
        described = yaml.safe_load(releases.git("show", f"{commit}:charts/arqube/Chart.yaml") or b"")
        if described and described["version"] != VERSION:
            folder = tmp_path_factory.mktemp(f"chart-{described['version']}")
            releases.unpack(commit, folder, "charts/arqube")
            return folder / "charts/arqube"
    pytest.skip("no upgrade was tested: the previous chart is not in the history here (a shallow clone?)")


def labels(cluster: Any, namespace: str, kind: str, name: str) -> dict[str, str]:
    body = json.loads(cluster.kubectl("get", kind, name, f"--namespace={namespace}", "--output=json"))
    found: dict[str, str] = body["metadata"]["labels"]
    return found


def release_objects(cluster: Any, namespace: str) -> set[str]:
    """What of the release is there, in its namespace and in the cluster."""
    kinds = "deployments,services,serviceaccounts,roles,rolebindings,poddisruptionbudgets,networkpolicies,leases"
    selector = f"--selector=app.kubernetes.io/instance={RELEASE},app.kubernetes.io/part-of=arqube"
    own = cluster.kubectl("get", kinds, f"--namespace={namespace}", selector, "--output=name").split()
    of_cluster = cluster.kubectl("get", "clusterroles,clusterrolebindings", selector, "--output=name").split()
    return {name for name in own if "/" in name} | {name for name in of_cluster if f"/{namespace}:" in name}


@pytest.mark.parametrize(
    ("first", "then"),
    [
        pytest.param("helm3", "helm3", id="Helm 3"),
        pytest.param("helm", "helm", id="Helm 4"),
        pytest.param("helm3", "helm", id="installed by Helm 3, upgraded by Helm 4"),
    ],
)
def test_from_the_previous_chart_and_back(
    cluster: Any, helms: dict[str, Any], previous: Path, first: str, then: str
) -> None:
    if missing := {first, then} - set(helms):
        pytest.skip(f"{', '.join(missing)} is not on PATH")
    namespace = cluster.namespace(restricted=True)
    place = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}")
    to = (*cluster.options, f"--namespace={namespace}")
    before = yaml.safe_load((previous / "Chart.yaml").read_text())["version"]

    said = helms[first].done("install", RELEASE, str(previous), *to, "--set=replicas=3")
    assert "would violate PodSecurity" not in said
    assert labels(cluster, namespace, "deployment", NAMES)["helm.sh/chart"] == f"arqube-{before}"
    cluster.kubectl("wait", "--for=condition=Established", "crd/taskqueues.arqube.dev")
    cluster.kubectl("apply", f"--namespace={namespace}", "-f", "-", body=TASK_QUEUE)
    # As the operator's leader does.
    holder = ("--type=merge", '--patch={"spec":{"holderIdentity":"operator-1"}}', "--field-manager=arqube-operator")
    cluster.kubectl("patch", "lease", NAMES, f"--namespace={namespace}", *holder)

    new = ("--reset-then-reuse-values", "--set=networkPolicy.enabled=true,grafanaDashboards.enabled=true")
    said = helms[then].done("upgrade", RELEASE, str(CHART), *to, *new)
    assert "would violate PodSecurity" not in said
    assert f"helm test {RELEASE} --namespace {namespace}" in said
    assert labels(cluster, namespace, "deployment", NAMES)["helm.sh/chart"] == f"arqube-{VERSION}"
    assert f"networkpolicy.networking.k8s.io/{NAMES}" in release_objects(cluster, namespace)
    assert value(cluster, namespace, "deployment", NAMES, "{.spec.replicas}") == "3"
    assert value(cluster, namespace, "lease", NAMES, "{.spec.holderIdentity}") == "operator-1"
    assert value(cluster, namespace, "taskqueue", "emails", "{.spec.worker.image}") == "emails:1"

    helms[then].done("rollback", RELEASE, "1", *place)
    assert labels(cluster, namespace, "deployment", NAMES)["helm.sh/chart"] == f"arqube-{before}"
    assert f"networkpolicy.networking.k8s.io/{NAMES}" not in release_objects(cluster, namespace)
    assert value(cluster, namespace, "taskqueue", "emails", "{.spec.worker.image}") == "emails:1"

    helms[then].done("uninstall", RELEASE, *place)
    assert release_objects(cluster, namespace) == set()
    assert value(cluster, namespace, "taskqueue", "emails", "{.spec.worker.image}") == "emails:1"

    helms[then].done("install", RELEASE, str(CHART), *to)
    assert labels(cluster, namespace, "deployment", NAMES)["helm.sh/chart"] == f"arqube-{VERSION}"
    assert value(cluster, namespace, "taskqueue", "emails", "{.spec.worker.image}") == "emails:1"
    helms[then].done("uninstall", RELEASE, *place)


def value(cluster: Any, namespace: str, kind: str, name: str, path: str) -> str:
    """The value at a JSONPath of an object."""
    text: str = cluster.kubectl("get", kind, name, f"--namespace={namespace}", f"--output=jsonpath={path}")
    return text


def test_without_keeping_the_definition_goes_with_the_release(cluster: Any, helm: Any) -> None:
    namespace = cluster.namespace()
    place = (f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}")
    helm.done("install", RELEASE, str(CHART), *cluster.options, f"--namespace={namespace}", "--set=crds.keep=false")
    cluster.kubectl("wait", "--for=condition=Established", "crd/taskqueues.arqube.dev")
    helm.done("uninstall", RELEASE, *place)
    cluster.kubectl("wait", "--for=delete", "crd/taskqueues.arqube.dev")


def test_the_server_takes_what_is_rendered_of_every_value(cluster: Any, helms: dict[str, Any], tmp_path: Path) -> None:
    if not helms:
        pytest.skip("no Helm is on PATH")
    render = next(iter(helms.values())).done
    namespace = cluster.namespace(restricted=True)
    for number, (case, values) in enumerate(MATRIX.items()):
        file = tmp_path / f"{number}.yaml"
        # The namespaces that are served must exist.
        file.write_text(
            yaml.safe_dump(values | {"watchNamespaces": [namespace] if "watchNamespaces" in values else []})
        )
        text = render("template", RELEASE, str(CHART), f"--namespace={namespace}", f"--values={file}")
        objects = [body for body in yaml.safe_load_all(text) if body and body["kind"] not in MONITORING]
        body = {"apiVersion": "v1", "kind": "List", "items": objects}
        said = cluster.kubectl("apply", "--dry-run=server", f"--namespace={namespace}", "-f", "-", body=body)
        assert "Warning" not in said, case
        assert said.count("(server dry run)") == len(objects), case


@pytest.mark.parametrize("namespaced", [False, True], ids=["all namespaces", "one namespace"])
async def test_an_operator_with_the_releases_rights_is_ready_and_helm_test_says_so(
    cluster: Any,
    helms: dict[str, Any],
    operator_process: Callable[..., Any],
    eventually: Any,
    namespaced: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not helms:
        pytest.skip("no Helm is on PATH")
    helm = next(iter(helms.values()))
    namespace = cluster.namespace()
    watched = namespace if namespaced else ""
    options = [f"--set=watchNamespaces={{{namespace}}}"] if namespaced else []
    helm.done("install", RELEASE, str(CHART), *cluster.options, f"--namespace={namespace}", *options)
    cluster.kubectl("wait", "--for=condition=Established", "crd/taskqueues.arqube.dev")
    cluster.kubectl("apply", f"--namespace={namespace}", "-f", "-", body=TASK_QUEUE)

    kubeconfig = json.loads(cluster.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {
        "token": cluster.kubectl("create", "token", NAMES, f"--namespace={namespace}").strip()
    }
    limited = tmp_path / "kubeconfig"
    limited.write_text(json.dumps(kubeconfig))
    check, check_environment = command_of_the_test(helm, namespace, options)

    def run_check(url: str, within_s: int) -> subprocess.CompletedProcess[str]:
        environment = os.environ | check_environment | {"KUBECONFIG": str(limited)}
        command = [sys.executable, *check, url, f"--within={within_s}"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)

    refused = run_check("http://127.0.0.1:9", 0)
    assert refused.returncode == 1
    assert "127.0.0.1:9" in refused.stderr
    operator = operator_process(limited, NAMES, watched)
    monkeypatch.setenv("ARQUBE_OPERATOR_NAMESPACE", namespace)
    operator.start()
    try:
        await eventually(operator.leads, within_s=30)
        checked = run_check(f"http://127.0.0.1:{operator.port}", 30)
        assert checked.returncode == 0, checked.stderr
        assert f"the API serves 1 TaskQueues in {watched or 'all namespaces'}" in checked.stdout
        assert "an operator is ready" in checked.stdout
    finally:
        operator.stop()
        helm.done("uninstall", RELEASE, f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}")


def command_of_the_test(helm: Any, namespace: str, options: list[str]) -> tuple[list[str], dict[str, str]]:
    """What the pod of `helm test` runs, after its python, and its environment."""
    text = helm.done("template", RELEASE, str(CHART), f"--namespace={namespace}", *options)
    (pod,) = [body for body in yaml.safe_load_all(text) if body and body["kind"] == "Pod"]
    (container,) = pod["spec"]["containers"]
    python, *rest = container["command"]
    assert python == "python"
    assert container["args"] == [f"http://{NAMES}-metrics.{namespace}.svc:8080"]
    return rest, {one["name"]: one["value"] for one in container["env"]}
