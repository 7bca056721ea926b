"""The example's reports: files in, progress meanwhile, a text out; and the nightly one."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncSession

FILES = [("files", ("a.txt", b"one two\nthree\n")), ("files", ("b.txt", b"four"))]


async def test_files_become_a_report(api: httpx.AsyncClient, ended: Any) -> None:
    answer = await api.post("/reports", data={"title": "Words"}, files=FILES)
    assert answer.status_code == 202, answer.text
    task = await ended(answer.json()["task_id"])
    assert (task["queue"], task["status"], task["result"]) == ("slow", "succeeded", "2 files")
    report = (await api.get(f"/reports/{answer.json()['id']}")).json()
    assert report["progress"] == 100
    assert report["text"] == "# Words\na.txt: 2 lines, 3 words, 14 bytes\nb.txt: 1 lines, 1 words, 4 bytes"


async def test_progress_shows_before_the_report_is_committed(api: httpx.AsyncClient, app: FastAPI) -> None:
    crud = import_module("app.crud.crud_reports")
    generate_report = import_module("app.core.worker.functions").generate_report
    engine = app.state.database.engine
    async with AsyncSession(engine) as session:
        report = await crud.crud_reports.create(session, title="Slow")
        for name in ("a", "b"):
            await crud.crud_report_files.create(session, report_id=report.id, name=name, content=b"x")
        report_id = report.id
        await session.commit()
    told: list[dict[str, Any]] = [(await api.get(f"/reports/{report_id}")).json()]
    async with AsyncSession(engine) as session:
        await generate_report({"redis": app.state.queue}, report_id, session)
        told.append((await api.get(f"/reports/{report_id}")).json())
        await session.commit()
    told.append((await api.get(f"/reports/{report_id}")).json())
    assert [each["progress"] for each in told] == [0, 99, 100]
    assert [each["text"] is None for each in told] == [True, True, False]


async def test_a_file_that_is_too_large_is_refused(api: httpx.AsyncClient) -> None:
    answer = await api.post("/reports", data={"title": "Large"}, files=[("files", ("a", b"x" * 1_000_001))])
    assert answer.status_code == 413


async def test_a_report_that_is_not_there_is_not_found(api: httpx.AsyncClient) -> None:
    assert (await api.get("/reports/123456789")).status_code == 404


async def test_the_nightly_report_counts_a_day_and_writes_over_itself(
    api: httpx.AsyncClient, app: FastAPI, ended: Any
) -> None:
    database = import_module("app.core.db.database")
    models = import_module("app.models")
    yesterday = database.now() - import_module("datetime").timedelta(days=1)
    async with AsyncSession(app.state.database.engine) as session:
        session.add(models.User(name="Early", email="yesterday@example.com", created_at=yesterday))
        await session.commit()
    for _ in range(2):
        job = await app.state.queue.enqueue_job("cron:nightly_report", _queue_name="arq:slow")
        assert (await ended(job.job_id))["status"] == "succeeded"
    reports = (await api.get("/reports/daily")).json()
    assert [each for each in reports if each["day"] == yesterday.date().isoformat()] == [
        {"day": yesterday.date().isoformat(), "users": 1, "mails": 0}
    ]


async def test_the_nightly_report_is_due_each_night(example: None) -> None:
    (nightly,) = import_module("app.core.worker.settings").SlowWorkerSettings.cron_jobs
    assert (nightly.hour, nightly.minute) == (0, 10)
    assert nightly.max_tries > 1
