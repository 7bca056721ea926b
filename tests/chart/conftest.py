"""What the chart's tests run on: Helm 3 and 4 where they are found, and a real API server where its binaries are.

Helm is looked up as ``helm`` and ``helm3``, the API server as in the contract suite. The run's last lines tell what was
found, and what was not tested for the lack of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from builders.api_servers import ASSETS, REAL_IS_AT_HAND, real_server, run_kubectl
from builders.operator_process import OperatorProcess

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/arqube"
HELMS = ("helm", "helm3")
RELEASE, NAMESPACE = "arqube", "arqube-system"

ran_on: list[str] = []


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not ran_on:
        return
    missing = [f"no {name} on PATH" for name in HELMS if shutil.which(name) is None]
    if not REAL_IS_AT_HAND:
        missing.append(f"nothing was installed: no kube-apiserver and etcd in {ASSETS}")
    terminalreporter.write_line(f"chart: {', '.join([*ran_on, *missing])}")


@dataclass(frozen=True)
class Helm:
    """One of the Helms."""

    name: str
    version: str

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.name, *arguments], capture_output=True, text=True, timeout=120, check=False)

    def done(self, *arguments: str) -> str:
        """What it says where it succeeds, warnings included."""
        result = self(*arguments)
        assert result.returncode == 0, f"{self.name} {' '.join(arguments)}: {result.stdout}{result.stderr}"
        return result.stdout + result.stderr


@pytest.fixture(scope="session", autouse=True)
def settings_of_helm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No settings, plugins or caches of the user's; and the kubectl that was installed with the tests."""
    folder = tmp_path_factory.mktemp("helm")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"):
            patch.setenv(variable, str(folder / variable.lower()))
        patch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
        ran_on.clear()
        yield


@pytest.fixture(scope="session")
def helms(settings_of_helm: None) -> dict[str, Helm]:
    """Those that are found."""
    found = {}
    for name in filter(shutil.which, HELMS):
        version = subprocess.run([name, "version", "--short"], capture_output=True, text=True, timeout=60, check=True)
        found[name] = Helm(name, version.stdout.strip().partition("+")[0])
    ran_on.append(f"Helm {', '.join(helm.version for helm in found.values())}" if found else "nothing was rendered")
    return found


@pytest.fixture(params=HELMS)
def helm(request: pytest.FixtureRequest, helms: dict[str, Helm]) -> Helm:
    """Each in turn."""
    if request.param not in helms:
        pytest.skip(f"{request.param} is not on PATH")
    return helms[request.param]


Render = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def render(helm: Helm, tmp_path: Path) -> Render:
    """The objects that a chart makes of values, each given as a mapping or as ``name=value`` of ``--set``."""

    def template(*values: str | Mapping[str, Any], chart: Path = CHART) -> list[dict[str, Any]]:
        options = []
        for number, value in enumerate(values):
            if isinstance(value, str):
                options.append(f"--set={value}")
            else:
                file = tmp_path / f"values-{number}.yaml"
                file.write_text(yaml.safe_dump(value))
                options.append(f"--values={file}")
        output = helm.done("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", *options)
        return [body for body in yaml.safe_load_all(output) if body]

    return template


@dataclass(frozen=True)
class Cluster:
    """A real API server: objects are stored and admitted, and no pod runs."""

    kubeconfig: Path
    describes_itself: bool
    """Whether it serves OpenAPI, by which kubectl and Helm check objects before they send them."""

    @property
    def options(self) -> tuple[str, ...]:
        """What Helm needs to be told of it when it installs or upgrades."""
        without = () if self.describes_itself else ("--disable-openapi-validation",)
        return (f"--kubeconfig={self.kubeconfig}", *without)

    def run(self, *arguments: str, body: Any = None) -> subprocess.CompletedProcess[str]:
        """Run kubectl; ``body`` is its standard input."""
        without = ("--validate=false",) if arguments[0] == "apply" and not self.describes_itself else ()
        return run_kubectl(self.kubeconfig, *arguments, *without, body=body)

    def kubectl(self, *arguments: str, body: Any = None) -> str:
        """What kubectl says where it succeeds, warnings included."""
        result = self.run(*arguments, body=body)
        assert result.returncode == 0, f"kubectl {' '.join(arguments)}: {result.stderr}"
        return result.stdout + result.stderr

    def namespace(self, *, restricted: bool = False) -> str:
        """A new namespace; a restricted one refuses pods and warns of Deployments that are not."""
        name = f"chart-{uuid.uuid4().hex[:8]}"
        self.kubectl("create", "namespace", name)
        if restricted:
            modes = (f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn"))
            self.kubectl("label", "namespace", name, *modes)
        return name


@pytest.fixture(scope="session")
def api_server(tmp_path_factory: pytest.TempPathFactory, settings_of_helm: None) -> Iterator[Cluster]:
    """One for the whole run, without the TaskQueue definition: the chart is to bring it."""
    if not REAL_IS_AT_HAND:
        pytest.skip(f"no kube-apiserver and etcd in {ASSETS}")
    with real_server(tmp_path_factory.mktemp("real-api-server"), lambda _: None) as server:
        any_object = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "any", "namespace": "default"}}
        applied = run_kubectl(server.kubeconfig, "apply", "--dry-run=server", "-f", "-", body=any_object)
        # A build may fail to: objects are then checked by the schemas of test_rendered_objects.py alone.
        describes_itself = applied.returncode == 0
        ran_on.append(server.name + ("" if describes_itself else " (which serves no OpenAPI)"))
        yield Cluster(server.kubeconfig, describes_itself)


@pytest.fixture(scope="session")
def operator_process(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., OperatorProcess]:
    """Makes operators, yet to be started: of a kubeconfig, the name of their Lease, the namespaces they watch."""
    return partial(OperatorProcess, tmp_path_factory.mktemp("operators"))


@pytest.fixture
def cluster(api_server: Cluster) -> Iterator[Cluster]:
    """It, and afterwards without the definition again."""
    yield api_server
    api_server.kubectl("delete", "crd", "taskqueues.arqube.dev", "--ignore-not-found")
