"""What the comparison needs on the cluster, put there and taken away: the chart, a Redis, and both sides' objects."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final

from benchmarks.commands import run
from benchmarks.images import ROOT
from benchmarks.live.images import Images

SYSTEM: Final = "arqube-live-system"
WORK: Final = "arqube-live"
RELEASE: Final = "arqube-live"
DEFINITION: Final = "taskqueues.arqube.dev"
METRICS: Final = "v1beta1.external.metrics.k8s.io"
METRIC_PATH: Final = f"/apis/external.metrics.k8s.io/v1beta1/namespaces/{WORK}/s0-redis-keda"
OBJECTS: Final = Path(__file__).parent / "objects"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two that are compared.

    Attributes:
        name: Of the side, and of its queue.
        deployment: Whose replicas it sets.
        label: Key and value that its workers' pods carry.
    """

    name: str
    deployment: str
    label: tuple[str, str]


SIDES: Final = (
    Side("arqube", "arqube-worker", ("arqube.dev/taskqueue", "arqube")),
    Side("keda", "keda-worker", ("app.kubernetes.io/name", "keda-worker")),
)


@contextmanager
def staged(images: Images, max_pods: int) -> Iterator[int]:
    """Put everything on the cluster of ``$KUBECONFIG``, and take it away again; the local port of its Redis.

    Raises:
        SystemExit: The cluster has what would be overwritten, or something does not become ready.
    """
    for kind, name in (("customresourcedefinition", DEFINITION), ("apiservice", METRICS)):
        if run("kubectl", "get", kind, name, "--ignore-not-found", "--output=name").strip():
            raise SystemExit(f"the cluster has {kind} {name} already: take one that has neither Arqube nor KEDA")
    try:
        _install(images)
        run("kubectl", "create", "namespace", WORK)
        run("kubectl", "apply", f"--namespace={WORK}", f"--filename={ROOT}/examples/redis.yaml")
        _rolled_out("redis")
        values = {
            "namespace": WORK,
            "redis": _get("service", "redis")["spec"]["clusterIP"],
            "app": images.app,
            "keda": images.keda,
            "pods": str(max_pods),
            **_certificate(),
        }
        for name in ("taskqueue", "keda"):
            text = Template((OBJECTS / f"{name}.yaml").read_text()).substitute(values)
            run("kubectl", "apply", f"--namespace={WORK}", "--filename=-", stdin=text)
        _rolled_out("keda")
        run("kubectl", "wait", "--for=condition=Available", f"apiservice/{METRICS}", "--timeout=90s")
        run("kubectl", "wait", "--for=condition=Ready", "taskqueue/arqube", f"--namespace={WORK}", "--timeout=90s")
        with _forwarded_redis() as port:
            yield port
    finally:
        _remove()


def served_metric() -> int:
    """KEDA's number, as the HPA gets it: through the API server.

    Raises:
        SystemExit: It is not served.
    """
    return int(json.loads(run("kubectl", "get", "--raw", METRIC_PATH))["items"][0]["value"])


def hpa_conditions() -> dict[str, str]:
    """The reason of each condition of the HPA."""
    conditions = _get("hpa", "keda-hpa-keda").get("status", {}).get("conditions", ())
    return {each["type"]: each["reason"] for each in conditions}


def hpa_value() -> str | None:
    """The number a pod that the HPA last saw; None before it has seen one."""
    metrics = _get("hpa", "keda-hpa-keda").get("status", {}).get("currentMetrics") or ()
    return next((each["external"]["current"].get("averageValue") for each in metrics if "external" in each), None)


def server_version() -> str:
    """Kubernetes' version."""
    return str(json.loads(run("kubectl", "version", "--output=json"))["serverVersion"]["gitVersion"])


def _get(kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("kubectl", "get", kind, name, f"--namespace={WORK}", "--output=json"))
    return found


def _rolled_out(deployment: str) -> None:
    run("kubectl", "rollout", "status", f"deployment/{deployment}", f"--namespace={WORK}", "--timeout=120s")


def _install(images: Images) -> None:
    command = ("helm", "install", RELEASE, str(ROOT / "charts/arqube"), f"--namespace={SYSTEM}", "--create-namespace")
    parts = {"image": images.operator, "runtime.image": images.worker}
    values = ["replicas=1", "crds.keep=false"]
    for value, image in parts.items():
        repository, _, tag = image.rpartition(":")
        values += [f"{value}.repository={repository}", f"{value}.tag={tag}"]
    run(*command, "--wait", "--timeout=180s", *(f"--set={value}" for value in values), timeout_s=240)


def _remove() -> None:
    """Take away all of it, also when only a part was there."""
    ignore = "--ignore-not-found"
    run("kubectl", "delete", "apiservice", METRICS, ignore, check=False)
    run("kubectl", "delete", "taskqueues", "--all", f"--namespace={WORK}", check=False)
    run("kubectl", "delete", "namespace", WORK, ignore, "--timeout=170s", check=False)
    run("helm", "uninstall", RELEASE, f"--namespace={SYSTEM}", "--ignore-not-found", "--wait", check=False)
    run("kubectl", "delete", "namespace", SYSTEM, ignore, "--timeout=170s", check=False)
    run("kubectl", "delete", "customresourcedefinition", DEFINITION, ignore, check=False)


def _certificate() -> dict[str, str]:
    """A certificate of its own for the metrics server, which the API server checks; in base64, as objects hold it."""
    with tempfile.TemporaryDirectory(prefix="arqube-live-") as folder:
        names = f"subjectAltName=DNS:keda.{WORK}.svc"
        options = ("-newkey", "rsa:2048", "-noenc", "-days", "2", "-subj", f"/CN=keda.{WORK}.svc", "-addext", names)
        run("openssl", "req", "-x509", *options, "-keyout", f"{folder}/key", "-out", f"{folder}/certificate")
        return {name: base64.b64encode((Path(folder) / name).read_bytes()).decode() for name in ("certificate", "key")}


@contextmanager
def _forwarded_redis() -> Iterator[int]:
    command = ("kubectl", "port-forward", f"--namespace={WORK}", "service/redis", ":6379")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            assert process.stdout is not None  # noqa: S101
            told = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            if told is None:
                raise SystemExit("kubectl port-forward named no port")
            # It tells of every connection: unread, it would block.
            reader = threading.Thread(target=process.stdout.read, daemon=True)
            reader.start()
            yield int(told[1])
        finally:
            process.terminate()
