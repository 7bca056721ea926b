"""What people do with kubectl: apply, look at, watch, scale, patch and delete objects of a custom kind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

Eventually = Callable[..., Awaitable[Any]]
Kubectl = Callable[..., str]


def widget(**spec: Any) -> dict[str, Any]:
    body = {"apiVersion": "contract.arqube.dev/v1", "kind": "Widget", "metadata": {"name": "w"}}
    return {**body, "spec": {"colour": "red", **spec}}


@pytest.fixture
def kubectl(api: Any, namespace: str) -> Kubectl:
    """Run kubectl in the test's namespace; its output. ``fails`` returns what it says of its failure."""

    def run(*arguments: str, body: dict[str, Any] | None = None, fails: bool = False) -> str:
        done = api.kubectl("-n", namespace, *arguments, body=body)
        assert (done.returncode != 0) is fails, done.stdout + done.stderr
        output: str = done.stderr if fails else done.stdout
        return output.strip()

    return run


def read(kubectl: Kubectl) -> dict[str, Any]:
    live: dict[str, Any] = json.loads(kubectl("get", "widget", "w", "-o", "json"))
    return live


def test_apply_creates_leaves_alone_and_changes(kubectl: Kubectl) -> None:
    told = "widget.contract.arqube.dev/w"
    assert kubectl("apply", "-f", "-", body=widget(size=4)) == f"{told} created"
    assert kubectl("apply", "-f", "-", body=widget(size=4)) == f"{told} unchanged"
    assert kubectl("apply", "-f", "-", body=widget(size=5)) == f"{told} configured"
    assert read(kubectl)["spec"]["size"] == 5
    assert kubectl("apply", "-f", "-", body=widget()) == f"{told} configured"
    assert read(kubectl)["spec"]["size"] == 3, "the default again"


def test_apply_refuses_what_the_schema_does_not_know(kubectl: Kubectl) -> None:
    told = kubectl("apply", "-f", "-", body=widget(colr="red", nested={"dept": 1}), fails=True)
    assert 'unknown field "spec.colr"' in told
    assert 'unknown field "spec.nested.dept"' in told
    told = kubectl("apply", "-f", "-", body=widget(size=0), fails=True)
    assert "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1" in told
    assert kubectl("get", "widgets") == ""


def test_apply_without_validation_warns_and_drops(api: Any, namespace: str) -> None:
    done = api.kubectl("-n", namespace, "apply", "--validate=warn", "-f", "-", body=widget(colr="red"))
    assert done.returncode == 0
    assert 'Warning: unknown field "spec.colr"' in done.stderr


def test_server_side_apply_and_its_conflicts(kubectl: Kubectl) -> None:
    ours = ("apply", "--server-side", "--field-manager", "us", "-f", "-")
    assert kubectl(*ours, body=widget(size=4)).endswith("serverside-applied")
    theirs = ("apply", "--server-side", "--field-manager", "them", "-f", "-")
    assert "conflict" in kubectl(*theirs, body=widget(size=5), fails=True)
    assert kubectl(*theirs, "--force-conflicts", body=widget(size=5)).endswith("serverside-applied")
    assert read(kubectl)["spec"]["size"] == 5


def test_a_dry_run_changes_nothing(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=widget())
    assert kubectl("apply", "--dry-run=server", "-f", "-", body=widget(size=8)).endswith("configured (server dry run)")
    assert "unknown field" in kubectl("apply", "--dry-run=server", "-f", "-", body=widget(x=1), fails=True)
    assert read(kubectl)["spec"]["size"] == 3


def test_get_prints_the_columns_of_the_definition(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=widget())
    header, row = (line.split() for line in kubectl("get", "wd").splitlines())
    assert header == ["NAME", "SIZE", "READY", "AGE"]
    assert row[:2] == ["w", "3"]
    status = {"status": {"conditions": [{"type": "Other", "status": "False"}, {"type": "Ready", "status": "True"}]}}
    kubectl("patch", "wd", "w", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    header, row = (line.split() for line in kubectl("get", "wd", "-o", "wide").splitlines())
    assert header == ["NAME", "SIZE", "READY", "COLOUR", "AGE"]
    assert row[:4] == ["w", "3", "True", "red"]
    assert kubectl("wait", "--for=condition=Ready", "wd/w", "--timeout=10s").endswith("condition met")
    assert kubectl("get", "wd", "-o", "name") == "widget.contract.arqube.dev/w"


async def test_get_watch_prints_a_row_for_each_change(
    api: Any, namespace: str, kubectl: Kubectl, eventually: Eventually, tmp_path: Path
) -> None:
    kubectl("apply", "-f", "-", body=widget())
    printed = tmp_path / "printed"
    command = ["kubectl", "--kubeconfig", str(api.kubeconfig), "-n", namespace, "get", "wd", "-w"]
    with printed.open("wb") as output:
        watching = await asyncio.create_subprocess_exec(*command, stdout=output)
    try:

        def rows() -> list[list[str]]:
            return [line.split()[:2] for line in printed.read_text().splitlines()]

        await eventually(lambda: rows() == [["NAME", "SIZE"], ["w", "3"]], within_s=30)
        kubectl("patch", "wd", "w", "--type=merge", "-p", '{"spec": {"size": 7}}')
        await eventually(lambda: rows()[-1] == ["w", "7"], within_s=30)
    finally:
        watching.terminate()
        await watching.wait()


def test_scale(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=widget())
    assert kubectl("scale", "wd/w", "--replicas=4").endswith("scaled")
    assert read(kubectl)["spec"]["replicas"] == 4
    assert kubectl("scale", "wd/w", "--current-replicas=4", "--replicas=0").endswith("scaled")
    assert kubectl("scale", "wd/w", "--current-replicas=4", "--replicas=1", fails=True)
    assert read(kubectl)["spec"]["replicas"] == 0
    kubectl("apply", "-f", "-", body=widget(size=4))
    assert read(kubectl)["spec"]["replicas"] == 0, "apply leaves it alone"


def test_patches_of_a_custom_object(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=widget(tags=["a"], code="abc"))
    kubectl("patch", "wd", "w", "--type=merge", "-p", '{"spec": {"code": null, "tags": ["b"]}}')
    kubectl("patch", "wd", "w", "--type=json", "-p", '[{"op": "add", "path": "/spec/tags/-", "value": "c"}]')
    spec = read(kubectl)["spec"]
    assert spec["tags"] == ["b", "c"]
    assert "code" not in spec
    told = kubectl("patch", "wd", "w", "--type=strategic", "-p", '{"spec": {}}', fails=True)
    assert "application/strategic-merge-patch+json is not supported" in told
    told = kubectl(
        "patch", "wd", "w", "--type=json", "-p", '[{"op": "test", "path": "/spec/size", "value": 8}]', fails=True
    )
    assert told.startswith("The request is invalid: ")


def test_a_strategic_merge_patch_of_a_deployment(kubectl: Kubectl) -> None:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    spec = {"selector": {"matchLabels": {"app": "a"}}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    kubectl("apply", "-f", "-", body=body)
    kubectl("set", "image", "deployment/d", "c=i:2")
    kubectl("set", "env", "deployment/d", "A=1", "B=2")
    kubectl("set", "env", "deployment/d", "A-")
    live = json.loads(kubectl("get", "deployment", "d", "-o", "json"))
    (container,) = live["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["env"]) == ("i:2", [{"name": "B", "value": "2"}])
    assert kubectl("rollout", "restart", "deployment/d").endswith("restarted")
    header, row = (line.split() for line in kubectl("get", "deploy").splitlines())
    assert header == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert row[:4] == ["d", "0/1", "0", "0"]
    assert kubectl("apply", "-f", "-", body=body).endswith("configured")
    live = json.loads(kubectl("get", "deployment", "d", "-o", "json"))
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "i:1"


def test_labels_annotations_and_selectors(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=widget())
    kubectl("label", "wd", "w", "x=1")
    kubectl("annotate", "wd", "w", "y=2")
    assert kubectl("get", "wd", "-l", "x=1", "-o", "name")
    assert kubectl("get", "wd", "-l", "x!=1", "-o", "name") == ""
    assert kubectl("get", "wd", "--field-selector", "metadata.name=w", "-o", "name")
    assert "field label not supported" in kubectl("get", "wd", "--field-selector", "spec.size=3", fails=True)


def test_describe_and_explain(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=widget())
    assert "Colour:  red" in kubectl("describe", "wd", "w")
    assert "What one sees of it." in kubectl("explain", "wd.spec.colour")
    assert "widgets" in kubectl("api-resources", "--api-group=contract.arqube.dev")


def test_delete(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", body=widget())
    assert "deleted" in kubectl("delete", "wd", "w")
    assert "not found" in kubectl("delete", "wd", "w", fails=True)
    kubectl("apply", "-f", "-", body=widget())
    assert "deleted" in kubectl("delete", "wd", "--all")
    assert kubectl("get", "wd", "-o", "name") == ""


def test_a_task_queue(kubectl: Kubectl) -> None:
    example = Path(__file__).parents[2] / "examples" / "emails" / "taskqueue.yaml"
    assert kubectl("apply", "-f", str(example)).endswith("created")
    header, row = kubectl("get", "tq").splitlines()
    assert header.split() == ["NAME", "WAITING", "RUNNING", "DESIRED", "READY", "OLDEST", "WAIT", "REASON", "AGE"]
    assert row.startswith("emails")
    kubectl("scale", "tq/emails", "--replicas=2")
    assert kubectl("apply", "-f", str(example)).endswith("unchanged")
    assert kubectl("get", "tq", "emails", "-o", "jsonpath={.spec.replicas}") == "2"
    assert "deleted" in kubectl("delete", "-f", str(example))
