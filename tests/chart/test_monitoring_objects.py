"""What the chart gives to Prometheus and Grafana: objects made of what is in its files, that find operator and workers.

The Prometheus operator's kinds are not Kubernetes' own: their shape is checked by the schemas below, of fields in use.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide import manifest
from arqube_operator.decide.state import Identity

CHART = Path(__file__).parents[2] / "charts/arqube"
RUNBOOKS = "https://docs.example.com/runbooks/"
ON = (
    *(f"{name}.enabled=true" for name in ("serviceMonitor", "podMonitor", "prometheusRule", "grafanaDashboards")),
    f"prometheusRule.runbookBaseUrl={RUNBOOKS}",
)
RULES = {
    "groups": [
        {
            "name": "queues",
            "interval": "30s",
            "rules": [
                {"record": "arqube:waiting", "expr": "sum(arqube_taskqueue_waiting_jobs)"},
                {
                    "alert": "Stuck",
                    "expr": 'arqube_taskqueue_waiting_jobs{taskqueue=~".+"} > 0',
                    "for": "5m",
                    "labels": {"severity": "critical"},
                    "annotations": {
                        "summary": "{{ $labels.taskqueue }} waits {{ $value | humanize }}",
                        "runbook": "Stuck",
                    },
                },
                {"alert": "Plain", "expr": "vector(1)", "labels": {"severity": "info"}},
            ],
        }
    ]
}
DASHBOARD = {
    "title": "Queues",
    "uid": "queues",
    "panels": [{"title": "{{ waiting }} <1 & 'more'\n", "legendFormat": "{{pod}}"}],
}

Render = Callable[..., list[dict[str, Any]]]


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
NAMES = {"type": "array", "minItems": 1, "items": TEXT}
DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
SELECTOR = closed(
    [],
    matchLabels=TEXTS,
    matchExpressions={"type": "array", "items": closed(["key", "operator"], key=TEXT, operator={"enum": ["Exists"]})},
)
NAMESPACES = {"oneOf": [closed(["any"], any={"const": True}), closed(["matchNames"], matchNames=NAMES)]}
ENDPOINT: dict[str, Any] = {
    "port": TEXT,
    "path": {"const": "/metrics"},
    "honorLabels": {"type": "boolean"},
    "interval": DURATION,
    "scrapeTimeout": DURATION,
    "relabelings": {
        "type": "array",
        "items": closed(["sourceLabels", "targetLabel"], sourceLabels=NAMES, targetLabel=TEXT),
    },
}
ENDPOINTS = {"type": "array", "minItems": 1, "items": closed(["port"], **ENDPOINT)}
RULE = closed(
    ["expr"],
    alert=TEXT,
    record=TEXT,
    expr=TEXT,
    labels=TEXTS,
    annotations=TEXTS,
    **{"for": DURATION, "keep_firing_for": DURATION},
)
GROUP = closed(["name", "rules"], name=TEXT, interval=DURATION, rules={"type": "array", "items": RULE})
SPECS = {
    "ServiceMonitor": closed(
        ["selector", "endpoints"], selector=SELECTOR, namespaceSelector=NAMESPACES, endpoints=ENDPOINTS
    ),
    "PodMonitor": closed(
        ["selector", "podMetricsEndpoints"],
        selector=SELECTOR,
        namespaceSelector=NAMESPACES,
        podMetricsEndpoints=ENDPOINTS,
    ),
    "PrometheusRule": closed(["groups"], groups={"type": "array", "items": GROUP}),
}


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart with files of the test's own in place of its rules and dashboards."""
    copy = tmp_path / "arqube"
    shutil.copytree(CHART, copy, ignore=shutil.ignore_patterns("rules", "dashboards"))
    (copy / "rules").mkdir()
    (copy / "dashboards").mkdir()
    (copy / "rules/arqube.yaml").write_text(yaml.safe_dump(RULES))
    (copy / "dashboards/Overview.json").write_text(json.dumps(DASHBOARD, indent=2) + "\n")
    (copy / "dashboards/taskqueue.json").write_text(json.dumps(DASHBOARD))
    return copy


def one(kind: str, objects: list[dict[str, Any]]) -> dict[str, Any]:
    (body,) = [body for body in objects if body["kind"] == kind]
    return body


def matches(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    return selector["matchLabels"].items() <= labels.items() and all(one["key"] in labels for one in expressions)


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize(
    "values",
    [
        pytest.param((), id="as they come"),
        pytest.param(("watchNamespaces={team-a,team-b}",), id="two namespaces"),
        pytest.param(
            tuple(
                f"{name}.{field}=10s"
                for name in ("serviceMonitor", "podMonitor")
                for field in ("interval", "scrapeTimeout")
            ),
            id="scraped more often",
        ),
        pytest.param(
            tuple(f"{name}.labels.release=prometheus" for name in ("serviceMonitor", "podMonitor", "prometheusRule")),
            id="with the label that selects them",
        ),
    ],
)
def test_the_objects_have_the_shape_of_the_prometheus_operators(
    render: Render, chart: Path, kind: str, values: tuple[str, ...]
) -> None:
    body = one(kind, render(*ON, *values, chart=chart))
    assert body["apiVersion"] == "monitoring.coreos.com/v1"
    assert body["metadata"]["namespace"] == "arqube-system"
    assert body["metadata"]["labels"].get("release", "prometheus") == "prometheus"
    jsonschema.validate(body["spec"], SPECS[kind])


def test_nothing_of_it_is_made_unless_asked_for(render: Render) -> None:
    assert {body["kind"] for body in render()} & {*SPECS, "ConfigMap"} == set()


def test_the_service_monitor_finds_the_operators_service_and_leaves_its_labels(render: Render) -> None:
    objects = render(*ON)
    service, spec = one("Service", objects), one("ServiceMonitor", objects)["spec"]
    (endpoint,) = spec["endpoints"]
    assert matches(spec["selector"], service["metadata"]["labels"])
    assert spec["namespaceSelector"]["matchNames"] == [service["metadata"]["namespace"]]
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert endpoint["honorLabels"] is True


@pytest.mark.parametrize(
    ("values", "namespaces"),
    [
        pytest.param((), {"any": True}, id="all namespaces"),
        pytest.param(("watchNamespaces={team-a,team-b}",), {"matchNames": ["team-a", "team-b"]}, id="two namespaces"),
    ],
)
def test_the_pod_monitor_finds_the_workers_and_no_operator(
    render: Render, values: tuple[str, ...], namespaces: dict[str, Any]
) -> None:
    objects = render(*ON, *values)
    spec = one("PodMonitor", objects)["spec"]
    worker, operator = workers(), one("Deployment", objects)["spec"]["template"]
    (endpoint,) = spec["podMetricsEndpoints"]
    (relabeling,) = endpoint["relabelings"]
    ports = [port["name"] for container in worker["spec"]["containers"] for port in container["ports"]]
    assert matches(spec["selector"], worker["metadata"]["labels"])
    assert not matches(spec["selector"], operator["metadata"]["labels"])
    assert endpoint["port"] in ports
    assert spec["namespaceSelector"] == namespaces
    label = manifest.TASK_QUEUE_LABEL.replace(".", "_").replace("/", "_")
    assert relabeling == {"sourceLabels": [f"__meta_kubernetes_pod_label_{label}"], "targetLabel": "taskqueue"}


def workers() -> dict[str, Any]:
    """The pod template of a TaskQueue's workers."""
    spec = {"redis": {"host": "redis"}, "worker": {"image": "emails:1", "settings": "emails.WorkerSettings"}}
    body = {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "emails", "namespace": "team-a"},
        "spec": spec,
    }
    identity = Identity(namespace="team-a", name="emails", uid="1", generation=1)
    template: dict[str, Any] = manifest.deployment(identity, TaskQueue.model_validate(body).spec, "runtime:1")["spec"][
        "template"
    ]
    return template


def test_rules_are_those_of_the_file_and_alerts_link_their_runbooks(render: Render, chart: Path) -> None:
    (group,) = one("PrometheusRule", render(*ON, chart=chart))["spec"]["groups"]
    recorded, stuck, plain = group["rules"]
    (written,) = RULES["groups"]
    assert stuck["annotations"].pop("runbook_url") == "https://docs.example.com/runbooks/Stuck.md"
    assert {**group, "rules": [recorded, stuck, plain]} == written


def test_without_a_base_no_runbook_is_linked(render: Render, chart: Path) -> None:
    assert one("PrometheusRule", render("prometheusRule.enabled=true", chart=chart))["spec"] == RULES


def test_rules_that_are_no_yaml_are_refused(helm: Any, chart: Path) -> None:
    (chart / "rules/arqube.yaml").write_text("groups: [")
    result = helm("template", "arqube", str(chart), "--set=prometheusRule.enabled=true")
    assert result.returncode != 0
    assert "rules/arqube.yaml" in result.stderr


def test_dashboards_are_those_of_the_files_and_labelled_for_the_sidecar(render: Render, chart: Path) -> None:
    objects = render(*ON, "grafanaDashboards.annotations.grafana_folder=Queues", chart=chart)
    maps = {body["metadata"]["name"]: body for body in objects if body["kind"] == "ConfigMap"}
    assert set(maps) == {"arqube-operator-dashboard-overview", "arqube-operator-dashboard-taskqueue"}
    for body in maps.values():
        assert body["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert body["metadata"]["annotations"] == {"grafana_folder": "Queues"}
        (text,) = body["data"].values()
        assert json.loads(text) == DASHBOARD
    assert list(maps["arqube-operator-dashboard-overview"]["data"]) == ["Overview.json"]


def test_the_charts_own_files_are_all_installed(render: Render, tmp_path: Path) -> None:
    objects = render(*ON)
    installed = {
        name: json.loads(text) for body in objects if body["kind"] == "ConfigMap" for name, text in body["data"].items()
    }
    assert installed == {file.name: json.loads(file.read_text()) for file in (CHART / "dashboards").glob("*.json")}
    groups = one("PrometheusRule", objects)["spec"]["groups"]
    file = CHART / "rules/arqube.yaml"
    written = yaml.safe_load(file.read_text())["groups"] if file.exists() else []
    assert [[rule["expr"] for rule in group["rules"]] for group in groups] == [
        [rule["expr"] for rule in group["rules"]] for group in written
    ]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    assert all(rule["annotations"]["runbook_url"] == f"{RUNBOOKS}{rule['alert']}.md" for rule in alerts)
    if shutil.which("promtool"):
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
        checked = subprocess.run(
            ["promtool", "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
