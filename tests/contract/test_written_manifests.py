"""``kubectl apply`` takes what ``arqube init`` writes, and refuses an image that could not be known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from arqube_local.cli import main

PROJECTS = Path(__file__).parents[1] / "projects"


def written(project: str) -> list[dict[str, Any]]:
    done = CliRunner().invoke(main, ["init", str(PROJECTS / project), "-o", "-"])
    assert done.exit_code == 0, done.output
    return list(yaml.safe_load_all(done.stdout))


def test_kubectl_applies_each_task_queue_of_a_project(api: Any) -> None:
    bodies = written("several")
    for body in bodies:
        done = api.kubectl("apply", "-f", "-", body=body)
        assert done.returncode == 0, done.stderr
    try:
        listed = api.kubectl("get", "taskqueues", "-o", "name").stdout.split()
        assert {f"taskqueue.arqube.dev/{body['metadata']['name']}" for body in bodies} <= set(listed)
    finally:
        for body in bodies:
            api.kubectl("delete", "taskqueue", body["metadata"]["name"])


def test_kubectl_refuses_an_image_that_could_not_be_known(api: Any) -> None:
    (body,) = written("dict_settings")
    refused = api.kubectl("apply", "-f", "-", body=body)
    assert refused.returncode == 1
    assert "spec.worker.image" in refused.stderr
    assert "CHANGE ME" in refused.stderr or "must be a container image" in refused.stderr
    body["spec"]["worker"]["image"] = "registry.example/app:1"
    assert api.kubectl("apply", "-f", "-", body=body).returncode == 0
    api.kubectl("delete", "taskqueue", body["metadata"]["name"])
