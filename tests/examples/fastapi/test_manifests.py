"""The example's manifests: the operator takes them, and they name what is in the app."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from arqube_operator.api.v1alpha1 import TaskQueue

EXAMPLE = Path(__file__).parents[3] / "examples" / "fastapi-app"


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLE / name).read_text()))


@pytest.mark.parametrize("file", ["taskqueues.yaml", "taskqueues.local.yaml"])
def test_task_queues_name_settings_of_the_app_and_their_queues(example: None, file: str) -> None:
    bodies = documents(file)
    assert [body["metadata"]["name"] for body in bodies] == ["fast", "slow"]
    for body in bodies:
        body["metadata"]["namespace"] = "default"
        TaskQueue.from_object(body)
        module, _, name = body["spec"]["worker"]["settings"].rpartition(".")
        assert getattr(import_module(module), name).queue_name == body["spec"]["queueName"]


def test_variables_of_the_secret_are_those_that_the_app_reads(example: None) -> None:
    secret, deployment, _ = documents("api.yaml")
    known = {name.upper() for name in import_module("app.core.config").Settings.model_fields}
    assert set(secret["stringData"]) <= known
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}]
    module, _, name = container["command"][1].partition(":")
    assert getattr(import_module(module), name).title


def test_what_clients_may_start_is_run_by_the_queue_it_goes_to(example: None) -> None:
    settings = import_module("app.core.worker.settings")
    tasks = import_module("app.api.v1.tasks")
    run = {
        "fast": {function.__name__ for function in settings.WorkerSettings.functions},
        "slow": {function.__name__ for function in settings.SlowWorkerSettings.functions},
    }
    for function in ("sample_background_task", "fetch_exchange_rate", "train_model"):
        assert function in run[tasks.QUEUE_OF.get(function, "fast")]
