"""The example's tasks API: start, look, list, cancel, run again; retries, and work that holds up nobody."""

from __future__ import annotations

import subprocess
from typing import Any

import httpx
import pytest
from tests.examples.fastapi.conftest import READY_S, Stage

HOLD_UP = {"function": "train_model", "points": 1_000_000, "epochs": 10_000}
"""Takes hours."""


async def start(api: httpx.AsyncClient, task: dict[str, Any], **query: Any) -> str:
    answer = await api.post("/tasks", json=task, params=query)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def trainings(stage: Stage) -> list[str]:
    """The processes that the slow worker trains in."""
    command = ["ps", "-o", "args=", "--ppid", str(stage.slow.process.pid)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [line for line in told.splitlines() if "app.core.worker.training" in line]


async def test_a_task_tells_its_result_and_its_try(api: httpx.AsyncClient, ended: Any) -> None:
    task = await ended(await start(api, {"function": "fetch_exchange_rate", "currency": "EUR"}))
    assert (task["status"], task["result"], task["function"]) == ("succeeded", 1.25, "fetch_exchange_rate")
    assert (task["queue"], task["error"], len(task["tries"])) == ("fast", "", 1)
    assert task["enqueued_at"] <= task["started_at"] <= task["ended_at"]
    (only,) = task["tries"]
    assert (only["number"], only["outcome"]) == (1, "succeeded")
    assert only["worker"]


async def test_a_service_that_is_too_busy_is_asked_again(api: httpx.AsyncClient, stage: Stage, ended: Any) -> None:
    task = await ended(await start(api, {"function": "fetch_exchange_rate", "currency": "USD"}))
    assert (task["status"], task["result"]) == ("succeeded", 1.25)
    assert [each["outcome"] for each in task["tries"]] == ["retried", "retried", "succeeded"]
    assert "503" in task["tries"][0]["error"]
    assert stage.exchange_api.asked["USD"] == 3


async def test_what_no_retry_can_mend_fails_at_once_and_can_be_run_again(
    api: httpx.AsyncClient, stage: Stage, ended: Any
) -> None:
    task_id = await start(api, {"function": "fetch_exchange_rate", "currency": "XXX"})
    task = await ended(task_id)
    assert (task["status"], task["result"], len(task["tries"])) == ("failed", None, 1)
    assert "RateNotFoundError" in task["error"]
    again = await api.post(f"/tasks/{task_id}/retry")
    assert again.status_code == 202, again.text
    await ended(task_id)
    assert stage.exchange_api.asked["XXX"] == 2


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("GET", "/tasks/nobody-knows-it", id="its status"),
        pytest.param("DELETE", "/tasks/nobody-knows-it", id="to cancel it"),
        pytest.param("POST", "/tasks/nobody-knows-it/retry", id="to run it again"),
    ],
)
async def test_an_id_that_nobody_knows_is_not_found(api: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await api.request(method, path)
    assert answer.status_code == 404
    assert "no such task" in answer.json()["detail"]


@pytest.mark.parametrize(
    "task",
    [
        pytest.param({"function": "send_welcome_email", "user_id": 1}, id="a function that clients may not start"),
        pytest.param({"function": "train_model", "epochs": 0}, id="an argument out of its bounds"),
        pytest.param({"function": "fetch_exchange_rate"}, id="an argument too few"),
    ],
)
async def test_what_is_no_task_is_refused(api: httpx.AsyncClient, task: dict[str, Any]) -> None:
    assert (await api.post("/tasks", json=task)).status_code == 422


async def test_a_task_that_waits_can_be_cancelled(api: httpx.AsyncClient, ended: Any) -> None:
    task_id = await start(api, {"function": "sample_background_task", "name": "later"}, defer_s=3600)
    task = (await api.get(f"/tasks/{task_id}")).json()
    assert (task["status"], task["tries"]) == ("deferred", [])
    assert (await api.delete(f"/tasks/{task_id}")).status_code == 202
    task = await ended(task_id)
    assert (task["status"], task["tries"]) == ("cancelled", [])
    assert (await api.delete(f"/tasks/{task_id}")).status_code == 409


async def test_tasks_are_listed_and_filtered_page_by_page(api: httpx.AsyncClient, ended: Any) -> None:
    ids = [await start(api, {"function": "fetch_exchange_rate", "currency": "EUR"}) for _ in range(3)]
    deferred = await start(api, {"function": "sample_background_task", "name": "later"}, defer_s=3600)
    for task_id in ids:
        await ended(task_id)
    chosen = {"function": "fetch_exchange_rate", "status": "succeeded", "limit": 2}
    seen: list[str] = []
    following: str | None = None
    while True:
        page = (await api.get("/tasks", params={**chosen, **({"after": following} if following else {})})).json()
        assert len(page["tasks"]) <= 2
        assert {task["status"] for task in page["tasks"]} <= {"succeeded"}
        seen += [task["id"] for task in page["tasks"]]
        following = page["next"]
        if following is None:
            break
    assert set(ids) <= set(seen)
    assert len(seen) == len(set(seen))
    assert deferred not in seen
    alive = (await api.get("/tasks", params={"status": ["deferred", "waiting"]})).json()["tasks"]
    assert deferred in [task["id"] for task in alive]
    await api.delete(f"/tasks/{deferred}")


async def test_a_cursor_that_no_list_has_given_is_refused(api: httpx.AsyncClient) -> None:
    answer = await api.get("/tasks", params={"after": "nonsense"})
    assert answer.status_code == 422
    assert "cursor" in answer.json()["detail"]


async def test_a_training_gives_its_model(api: httpx.AsyncClient, ended: Any) -> None:
    task = await ended(await start(api, {"function": "train_model", "points": 500, "epochs": 300}))
    assert (task["queue"], task["status"]) == ("slow", "succeeded")
    assert abs(task["result"]["slope"] - 3) < 0.1


async def test_a_long_training_holds_up_no_other_job_and_ends_when_it_is_cancelled(
    api: httpx.AsyncClient, stage: Stage, ended: Any, eventually: Any
) -> None:
    long = await start(api, HOLD_UP)
    await eventually(lambda: trainings(stage), within_s=READY_S)
    short = await ended(await start(api, {"function": "train_model", "points": 10, "epochs": 1}))
    assert short["status"] == "succeeded"
    assert (await api.get(f"/tasks/{long}")).json()["status"] == "running"
    assert (await api.delete(f"/tasks/{long}")).json()["cancelling"] is True
    assert (await ended(long))["status"] == "cancelled"
    await eventually(lambda: not trainings(stage), within_s=READY_S)
