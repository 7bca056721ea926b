"""What the tests of privileges run on: the chart's roles by Helm, on a real API server that keeps an audit log.

Helm is looked up as ``helm`` and ``helm3``, the API server as in the contract suite. The run's last lines tell what was
found, and what was not tested for the lack of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.conftest import CHART, HELMS
from tests.privileges.permissions import Permission, Request, granted, requests

from builders.api_servers import ASSETS, REAL_IS_AT_HAND, real_server, run_kubectl
from builders.operator_process import OperatorProcess

ROOT = Path(__file__).parents[2]
NAME = "arqube-operator"
"""Of all that the release makes: account, roles and Lease."""
POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}
ENFORCED = "OwnerReferencesPermissionEnforcement"

ran_on: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ran_on:
        return
    missing = [] if any(map(shutil.which, HELMS)) else ["nothing was compared: no helm on PATH"]
    if not REAL_IS_AT_HAND:
        missing.append(f"no operator ran: no kube-apiserver and etcd in {ASSETS}")
    terminalreporter.write_line(f"privileges: {', '.join([*ran_on, *missing])}")


@pytest.fixture(scope="session", autouse=True)
def settings_of_helm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No settings of the user's; and the kubectl that was installed with the tests."""
    folder = tmp_path_factory.mktemp("helm")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
            patch.setenv(variable, str(folder / variable.lower()))
        patch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
        ran_on[:] = ["permissions"]
        yield


Rendered = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="session")
def rendered(settings_of_helm: None) -> Rendered:
    """The chart's objects for a release in a namespace, with values as ``name=value`` of ``--set``."""
    helm = next(filter(shutil.which, HELMS), None)
    if helm is None:
        pytest.skip("no helm is on PATH")

    def run(*arguments: str) -> str:
        return subprocess.run([helm, *arguments], capture_output=True, text=True, timeout=60, check=True).stdout

    def template(namespace: str, *values: str) -> list[dict[str, Any]]:
        sets = (f"--set={value}" for value in values)
        text = run("template", "arqube", str(CHART), f"--namespace={namespace}", *sets)
        return [body for body in yaml.safe_load_all(text) if body]

    ran_on.append(f"Helm {run('version', '--short').strip().partition('+')[0]}")
    return template


@dataclass(frozen=True)
class Audited:
    """A real API server, and its audit log."""

    kubeconfig: Path
    log: Path

    def kubectl(self, *arguments: str, body: Any = None) -> str:
        """What kubectl, as an administrator, says where it succeeds."""
        result = run_kubectl(self.kubeconfig, *arguments, body=body)
        assert result.returncode == 0, f"kubectl {' '.join(arguments)}: {result.stderr}"
        return result.stdout


@pytest.fixture(scope="session")
def audited(tmp_path_factory: pytest.TempPathFactory, settings_of_helm: None) -> Iterator[Audited]:
    """One for the whole run, which checks owner references, as OpenShift does. It has no TaskQueues yet."""
    if not REAL_IS_AT_HAND:
        pytest.skip(f"no kube-apiserver and etcd in {ASSETS}")
    folder = tmp_path_factory.mktemp("audited-api-server")
    policy, log = folder / "audit-policy.yaml", folder / "audit.log"
    policy.write_text(json.dumps(POLICY))
    options = (
        f"--audit-policy-file={policy}",
        f"--audit-log-path={log}",
        f"--enable-admission-plugins={ENFORCED}",
    )
    with real_server(folder, lambda _: None, options) as server:
        ran_on.append(server.name)
        yield Audited(server.kubeconfig, log)


@dataclass(frozen=True)
class Account:
    """The operator's ServiceAccount with its roles, and no more."""

    namespace: str
    permissions: set[Permission]
    kubeconfig: Path
    server: Audited

    @property
    def asked(self) -> set[Request]:
        """What it has asked so far."""
        return requests(self.server.log.read_text(), f"system:serviceaccount:{self.namespace}:{NAME}")


@pytest.fixture
def account(audited: Audited, rendered: Rendered, tmp_path: Path) -> Callable[..., Account]:
    """Makes the account of a release, without its permissions to ``without``, a resource."""

    def make(namespace: str, *values: str, without: str = "") -> Account:
        kinds = ("ServiceAccount", "Lease", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
        objects = [body for body in rendered(namespace, *values) if body["kind"] in kinds]
        for body in objects:
            if "rules" in body:
                body["rules"] = [rule for rule in body["rules"] if rule["resources"] != [without]]
            if not body["kind"].startswith("Cluster"):
                body["metadata"].setdefault("namespace", namespace)
        audited.kubectl("create", "namespace", namespace)
        listed = {"apiVersion": "v1", "kind": "List", "items": objects}
        audited.kubectl("apply", "--validate=false", "-f", "-", body=listed)
        config = json.loads(audited.kubeconfig.read_text())
        token = audited.kubectl("create", "token", NAME, f"--namespace={namespace}").strip()
        config["users"] = [{"name": NAME, "user": {"token": token}}]
        config["contexts"][0]["context"]["user"] = NAME
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(config))
        return Account(namespace, granted(objects, NAME), kubeconfig, audited)

    return make


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., OperatorProcess]]:
    """Starts operators with an account's rights, in the namespaces given, comma-separated, or in all."""
    started: list[OperatorProcess] = []
    make = partial(OperatorProcess, tmp_path)

    def start(account: Account, namespaces: str = "") -> OperatorProcess:
        monkeypatch.setenv("ARQUBE_OPERATOR_NAMESPACE", account.namespace)
        started.append(make(account.kubeconfig, NAME, namespaces).start())
        return started[-1]

    yield start
    for process in started:
        process.stop()
