"""What a worker shows: logs, metrics, endpoints, exit codes and the report of ``check``."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from arq.connections import ArqRedis
from redis.asyncio import Redis

from arqube_local.redis_server import RedisServer
from arqube_queue import heartbeat, keys

SECRET = "a secret argument"  # noqa: S105
BIN_TIMEOUT_S = 30


async def test_every_line_is_json_and_names_the_job_it_belongs_to(start_worker: Any, arq_client: ArqRedis) -> None:
    worker = start_worker()
    job = await arq_client.enqueue_job("talk", SECRET)
    failed = await arq_client.enqueue_job("fail", "no luck")
    assert job is not None
    assert failed is not None
    await job.result(timeout=20, poll_delay=0.02)
    with pytest.raises(ValueError, match="no luck"):
        await failed.result(timeout=20, poll_delay=0.02)
    worker.signal()
    assert await worker.exit_code() == 0
    of_the_app = next(line for line in worker.lines if line["logger"] == "app")
    assert (of_the_app["job_id"], of_the_app["function"], of_the_app["try"]) == (job.job_id, "talk", 1)
    assert (of_the_app["event"], of_the_app["step"], of_the_app["level"]) == ("working on it", 3, "info")
    (of_failure,) = worker.logged("job failed")
    assert (of_failure["job_id"], of_failure["function"], of_failure["level"]) == (failed.job_id, "fail", "error")
    assert of_failure["exception"][0]["exc_type"] == "ValueError"
    ended = [line for line in worker.logged("job ended") if line["job_id"] == job.job_id]
    assert [(line["outcome"], line["function"], line["try"]) for line in ended] == [("succeeded", "talk", 1)]
    outside = next(line for line in worker.lines if line["event"] == "draining")
    assert "job_id" not in outside
    assert SECRET not in worker.text, "neither arguments nor results belong in logs"


async def test_console_lines_are_for_people(start_worker: Any, ready: Any) -> None:
    worker = start_worker(environment={"ARQUBE_LOG_FORMAT": "console"})
    await ready(worker)
    assert "serving HTTP" in worker.text
    assert not worker.text.startswith("{")


async def test_an_unknown_path_is_not_found(start_worker: Any, ready: Any) -> None:
    worker = start_worker()
    await ready(worker)
    assert worker.get("/")[0] == 404
    assert worker.get("/healthz") == (200, "ok\n")
    assert worker.get("/readyz") == (200, "ok\n")


async def test_metrics_tell_slots_waits_and_durations(start_worker: Any, arq_client: ArqRedis) -> None:
    worker = start_worker(environment={"ARQUBE_WORKER_NAME": "pod-1"})
    began = time.monotonic()
    job = await arq_client.enqueue_job("nap", 0.2, _defer_by=0.1)
    assert job is not None
    await job.result(timeout=20, poll_delay=0.02)
    in_all = time.monotonic() - began
    assert worker.metric('arqube_worker_job_duration_seconds_count{function="nap"}') == 1
    assert 0.2 <= worker.metric('arqube_worker_job_duration_seconds_sum{function="nap"}') < in_all - 0.1
    assert worker.metric('arqube_worker_job_wait_seconds_count{function="nap"}') == 1
    # Redis knows due times by the millisecond.
    assert 0 <= worker.metric('arqube_worker_job_wait_seconds_sum{function="nap"}') < in_all - 0.3 + 0.002
    assert worker.metric("arqube_worker_slots") == 10
    assert worker.metric("arqube_worker_busy_slots") == 0
    assert worker.metric("arqube_worker_draining") == 0
    assert 'worker="pod-1"' in next(
        line for line in worker.get("/metrics")[1].splitlines() if line.startswith("arqube_worker_info{")
    )


async def test_heartbeats_tell_what_a_worker_does(
    start_worker: Any, arq_client: ArqRedis, redis: Redis, eventually: Any
) -> None:
    start_worker(environment={"ARQUBE_WORKER_NAME": "pod-1"})

    async def beat() -> Any:
        value = await redis.hget(keys.heartbeats("arq:queue"), "pod-1")  # type: ignore[misc]
        return heartbeat.decode(b"pod-1", value) if value else None

    done = await arq_client.enqueue_job("note", "x")
    assert done is not None
    await done.result(timeout=20, poll_delay=0.02)
    await arq_client.enqueue_job("hold_until", "go")

    async def busy() -> Any:
        found = await beat()
        return found if found and found.busy == 1 else None

    found = await eventually(busy)
    assert (found.slots, found.started, found.finished, found.draining) == (10, 2, {"succeeded": 1}, False)
    assert "hold_until" in found.functions
    assert await redis.ttl(keys.heartbeats("arq:queue")) > 0


@pytest.mark.parametrize(
    ("target", "environment", "expected"),
    [
        pytest.param("nowhere.WorkerSettings", {}, "there is no module 'nowhere'", id="a module that is not there"),
        pytest.param("worker_settings.Nothing", {}, "has no 'Nothing'", id="a name that is not there"),
        pytest.param("worker_settings.REDIS", {}, "none of arq's settings", id="an object that is no settings"),
        pytest.param("WorkerSettings", {}, "names no settings", id="a name without a module"),
        pytest.param(
            "worker_settings.Empty", {}, "at least one function or cron_job", id="settings with nothing to run"
        ),
        pytest.param(
            "broken_import.WorkerSettings", {}, "broken_import.py, line 3", id="a module that cannot be imported"
        ),
        pytest.param(
            "worker_settings.WorkerSettings",
            {"ARQUBE_CONCURRENCY": "many"},
            "ARQUBE_CONCURRENCY must be",
            id="a concurrency that is no number",
        ),
        pytest.param(
            "worker_settings.WorkerSettings",
            {"ARQUBE_LOG_FORMAT": "xml"},
            "ARQUBE_LOG_FORMAT must be json or console",
            id="an unknown log format",
        ),
    ],
)
def test_what_must_be_fixed_is_told_in_one_line(
    environ: dict[str, str], target: str, environment: dict[str, str], expected: str
) -> None:
    done = run_cli([target], {**environ, "ARQUBE_HTTP_PORT": "0", **environment})
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.startswith("arqube-worker: ")
    assert len(done.stderr.splitlines()) == 1


async def test_a_port_in_use_is_told(start_worker: Any, ready: Any, environ: dict[str, str]) -> None:
    worker = start_worker()
    await ready(worker)
    done = run_cli(["worker_settings.WorkerSettings", "--port", str(worker.port)], environ)
    assert done.returncode == 2
    assert f"port {worker.port} cannot be used" in done.stderr


@pytest.mark.parametrize(
    ("settings", "event", "hooks"),
    [
        pytest.param("BrokenStartup", "on_startup failed", [b"shutdown"], id="on_startup: nothing runs"),
        pytest.param("BrokenShutdown", "on_shutdown failed", [b"startup"], id="on_shutdown: after all is done"),
    ],
)
async def test_a_life_hook_that_fails_is_logged_and_exits_1(
    start_worker: Any,
    arq_client: ArqRedis,
    eventually: Any,
    tmp_path: Path,
    settings: str,
    event: str,
    hooks: list[bytes],
) -> None:
    told = tmp_path / "told"
    worker = start_worker(settings, environment={"ARQUBE_TERMINATION_LOG": str(told)})
    await eventually(lambda: worker.get("/readyz")[0] == 200 or worker.process.poll() is not None)
    worker.signal()
    assert await worker.exit_code() == 1
    assert [line["level"] for line in worker.logged(event)] == ["error"]
    assert await arq_client.lrange("hooks", 0, -1) == hooks
    assert told.read_text().startswith(f"arqube-worker: {event}: ConnectionRefusedError: no database")


async def test_a_password_from_the_environment_is_used_and_never_shown(
    start_worker: Any, ready: Any, eventually: Any
) -> None:
    with RedisServer() as server:
        admin = server.address.connect()
        await admin.config_set("requirepass", "hush-hush")
        await admin.aclose()
        environment = {
            "ARQUBE_REDIS_URL": f"redis://127.0.0.1:{server.address.port}/0",
            "ARQUBE_REDIS_PASSWORD": "hush-hush",
        }
        worker = start_worker(environment=environment)
        await ready(worker)
        worker.signal()
        assert await worker.exit_code() == 0
        assert "hush-hush" not in worker.text

        worker = start_worker(environment={**environment, "ARQUBE_REDIS_PASSWORD": "wrong-one"})
        await eventually(lambda: any("AuthenticationError" in line["error"] for line in worker.logged("Redis failed")))
        assert "wrong-one" not in worker.text


def test_check_reports_without_redis_and_without_passwords(environ: dict[str, str]) -> None:
    environ = {**environ, "ARQUBE_REDIS_URL": "rediss://app:hush@db.example:6380/2", "ARQUBE_QUEUE_NAME": "mail"}
    done = run_cli(["check", "worker_settings:Inherited", "--json"], environ)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["queue"], found["redis"], found["concurrency"]) == ("mail", "db.example:6380/2", 5)
    assert {"name": "hasty", "timeout_s": 0.05, "max_tries": 5} in found["functions"]
    assert any("plain arq would miss" in warning and "'functions'" in warning for warning in found["warnings"])
    assert "hush" not in done.stdout


def test_check_exits_1_when_the_settings_would_not_run(environ: dict[str, str]) -> None:
    done = run_cli(["check", "worker_settings.Nothing"], environ)
    assert done.returncode == 1
    assert "has no 'Nothing'" in done.stdout


def run_cli(arguments: list[str], environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    apps = Path(__file__).parents[1] / "apps"
    command = [str(Path(sys.executable).parent / "arqube-worker"), *arguments]
    return subprocess.run(
        command, cwd=apps, env=environ, capture_output=True, text=True, timeout=BIN_TIMEOUT_S, check=False
    )
