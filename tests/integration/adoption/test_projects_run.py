"""Projects in the shapes in which people write them run under our worker, and nothing in them is changed."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import yaml
from arq.jobs import Job
from click.testing import CliRunner
from tests.integration.adoption.conftest import PROJECTS, Shape

from arqube_local.cli import main
from arqube_local.redis_server import RedisServer
from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide.manifest import deployment
from arqube_operator.decide.state import Identity

PATIENT_S = 60.0

TEMPLATE = Shape(
    "fastapi_template",
    "app.core.worker.settings.WorkerSettings",
    source="src",
    host="REDIS_QUEUE_HOST",
    port="REDIS_QUEUE_PORT",
    jobs=(("sample_background_task", ("welcome",), "Task welcome is complete!"),),
)
SHAPES = (
    TEMPLATE,
    Shape(
        "inherited",
        "shop.worker.settings.WorkerSettings",
        host=None,
        port=None,
        url="SHOP_REDIS_URL",
        queue="shop:orders",
        jobs=(("total", ("tea", "cake", "tea"), 10),),
    ),
    Shape(
        "factory",
        "pipeline.resize.WorkerSettings",
        host="PIPELINE_REDIS",
        port="PIPELINE_PORT",
        queue="pipeline:resize",
        jobs=(("resize.resize", (640,), 320),),
    ),
    Shape(
        "dict_settings",
        "main.worker_settings",
        host=None,
        port=None,
        url="REDIS_URL",
        jobs=(("echo", ("hello",), "hello"), ("fetch", ("page",), "page after 3 tries")),
    ),
    Shape(
        "own_serializer",
        "bank.worker.WorkerSettings",
        jobs=(("interest", (Decimal("1000.50"), date(2024, 5, 1)), Decimal("40.0200")),),
        codec="bank/codec.py",
    ),
    Shape(
        "several",
        "service.workers.mail.MailSettings",
        queue="mail",
        jobs=(("deliver", ("ada@example.com",), "delivered to ada@example.com"),),
    ),
    Shape("several", "service.workers.reports.ReportSettings", queue="reports", jobs=(("render", ("four",), 4),)),
)
CRON = Shape("cron_only", "nightly.WorkerSettings")
UNDER_PLAIN_ARQ = {"fastapi_template", "dict_settings", "own_serializer"}
"""Not ``inherited``: plain arq drops what is inherited, where Redis is and ``on_startup``."""
WRITTEN_BY_INIT = (*(each for each in SHAPES if each.folder in {"fastapi_template", "inherited", "factory"}), CRON)


async def assert_done(pool: Any, shape: Shape) -> None:
    """Its jobs run, with the results that they have in the project."""
    jobs = [(await pool.enqueue_job(name, *arguments), result) for name, arguments, result in shape.jobs]
    for job, result in jobs:
        assert await job.result(timeout=PATIENT_S, poll_delay=0.05) == result


@pytest.mark.parametrize("shape", SHAPES, ids=str)
async def test_a_project_runs_as_it_is(shape: Shape, start: Any, producer: Any) -> None:
    worker = start(shape)
    async with producer(shape) as pool:
        await assert_done(pool, shape)
    worker.stop()
    assert worker.process.wait(PATIENT_S) == 0, worker.text


@pytest.mark.parametrize("shape", [each for each in SHAPES if each.folder in UNDER_PLAIN_ARQ], ids=str)
async def test_a_project_runs_under_plain_arq_the_same(shape: Shape, start: Any, producer: Any) -> None:
    start(shape, plain=True)
    async with producer(shape) as pool:
        await assert_done(pool, shape)


async def test_a_project_of_cron_jobs_alone_runs_them(start: Any, redis: Any, eventually: Any) -> None:
    worker = start(CRON)
    await eventually(lambda: redis.get("sweeps"), within_s=PATIENT_S)
    await eventually(lambda: _at_least(redis, "ticks", 2), within_s=PATIENT_S)
    worker.stop()
    assert worker.process.wait(PATIENT_S) == 0, worker.text
    assert await redis.get("sweeps") == b"1", "what runs at the start runs once"


async def test_jobs_of_one_project_are_shared_with_plain_arq(start: Any, producer: Any, eventually: Any) -> None:
    """Moving in steps: ours comes to a queue that plain arq is working off, and each job is done once."""
    shape = next(each for each in SHAPES if each.queue == "reports")
    async with producer(shape) as pool:
        jobs = [await pool.enqueue_job("render", "x" * number) for number in range(100)]
        plain = start(shape, plain=True)
        await eventually(lambda: pool.keys("arq:result:*"), within_s=PATIENT_S)
        assert await pool.zcard(shape.queue) > 0, "it leaves some to ours"
        ours = start(shape)
        assert [await job.result(timeout=PATIENT_S, poll_delay=0.05) for job in jobs] == list(range(100))
        assert await pool.zcard(shape.queue) == 0
    ours.stop()
    assert ours.process.wait(PATIENT_S) == 0
    plain.stop()
    plain.process.wait(PATIENT_S)
    done = (ours.text.count('"event": "job ended"'), plain.text.count(":render ●"))
    assert min(done) > 0
    assert sum(done) == len(jobs)


async def test_several_workers_of_one_image_hand_jobs_on(start: Any, producer: Any, eventually: Any) -> None:
    """A mail's job enqueues a report in the other worker's queue."""
    mail, reports = (each for each in SHAPES if each.folder == "several")
    start(mail)
    start(reports)
    async with producer(mail) as pool:
        await assert_done(pool, mail)

        async def reported() -> list[Any]:
            return [each.result for each in await pool.all_job_results() if each.function == "render"]

        assert await eventually(reported, within_s=PATIENT_S) == [len("ada@example.com")]


async def test_sigterm_lets_the_templates_job_finish(start: Any, producer: Any, eventually: Any) -> None:
    """``handle_signals = False`` and all: no job is cut, ``on_shutdown`` runs, and what waits stays for others."""
    worker = start(TEMPLATE, environ={"ARQUBE_CONCURRENCY": "2", "ARQUBE_SHUTDOWN_TIMEOUT": "50"})
    async with producer(TEMPLATE) as pool:
        jobs = [await pool.enqueue_job("sample_background_task", str(number)) for number in range(3)]
        await eventually(lambda: worker.text.count('"job started"') == 2, within_s=PATIENT_S)
        worker.stop()
        assert worker.process.wait(PATIENT_S) == 0, worker.text
        # Which of them ran is as good as chance: all were due in the same millisecond.
        told = [await job.result(timeout=0) if await job.result_info() else None for job in jobs]
        assert sum(each is not None for each in told) == 2
        assert all(each in (None, f"Task {number} is complete!") for number, each in enumerate(told))
        assert await pool.zcard(TEMPLATE.queue) == 1
        assert await pool.keys("arq:in-progress:*") == []
    assert "Worker end" in worker.text


async def test_sigterm_ends_plain_arq_in_the_middle_of_the_templates_job(
    start: Any, producer: Any, eventually: Any
) -> None:
    """What the template's users have today, and the reason for the test above."""
    worker = start(TEMPLATE, plain=True)
    async with producer(TEMPLATE) as pool:
        job = await pool.enqueue_job("sample_background_task", "lost")
        await eventually(lambda: _running(pool, [job], 1), within_s=PATIENT_S)
        worker.stop()
        assert worker.process.wait(PATIENT_S) != 0
        assert await job.result_info() is None
        assert await pool.exists(f"arq:in-progress:{job.job_id}"), "nobody may run it for minutes"
    assert "Worker end" not in worker.text


@pytest.mark.parametrize("shape", WRITTEN_BY_INIT, ids=str)
async def test_the_pod_that_init_writes_runs_the_project(
    shape: Shape, start: Any, producer: Any, redis: Any, redis_server: RedisServer, eventually: Any
) -> None:
    """What the operator makes of the TaskQueue, with this Redis in the place of the cluster's."""
    written = CliRunner().invoke(main, ["init", str(shape.path), "-o", "-"])
    assert written.exit_code == 0, written.output
    (body,) = [
        each for each in yaml.safe_load_all(written.stdout) if each["spec"]["worker"]["settings"] == shape.settings
    ]
    body["metadata"]["namespace"] = "default"
    body["spec"]["worker"]["image"] = "registry.example/app:1"
    body["spec"]["redis"] = {"host": redis_server.address.host, "port": redis_server.address.port}
    spec = TaskQueue.from_object(body).spec
    pod = deployment(Identity("app", "default", "uid", 1), spec, "runtime")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    environ = {each["name"]: each["value"] for each in container["env"] if "value" in each}
    for name in set(environ) & set(shape.environment(redis_server)):
        environ[name] = shape.environment(redis_server)[name]  # written for the cluster's Redis
    environ["ARQUBE_HTTP_PORT"] = "0"
    worker = start(shape, environ=environ, settings=container["args"][0])
    async with producer(shape) as pool:
        await assert_done(pool, shape)
    if shape is CRON:
        await eventually(lambda: redis.get("sweeps"), within_s=PATIENT_S)
    worker.stop()
    assert worker.process.wait(PATIENT_S) == 0, worker.text


def test_every_project_is_tested() -> None:
    folders = {path.name for path in PROJECTS.iterdir() if path.is_dir()}
    assert {shape.folder for shape in (*SHAPES, CRON)} == folders


async def _running(pool: Any, jobs: list[Job], count: int) -> bool:
    keys = [f"arq:in-progress:{job.job_id}" for job in jobs]
    return bool(await pool.exists(*keys) == count)


async def _at_least(redis: Any, key: str, count: int) -> bool:
    return int(await redis.get(key) or 0) >= count
