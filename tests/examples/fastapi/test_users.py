"""The example's users API: a user and their welcome mail, or neither; once, however often the job runs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.examples.fastapi.conftest import READY_S

from arqube_local.loopback import free_port


async def mails_to(app: FastAPI, email: str) -> int:
    mail = import_module("app.models").Mail
    async with AsyncSession(app.state.database.engine) as session:
        return await session.scalar(select(func.count()).select_from(mail).where(mail.recipient == email)) or 0


async def test_who_signs_up_is_welcomed(api: httpx.AsyncClient, app: FastAPI, eventually: Any) -> None:
    answer = await api.post("/users", json={"name": "Ada", "email": "ada@example.com"})
    assert answer.status_code == 201, answer.text
    user = answer.json()
    assert (await api.get(f"/users/{user['id']}")).json()["email"] == "ada@example.com"
    assert user["id"] in [each["id"] for each in (await api.get("/users", params={"limit": 500})).json()]
    await eventually(lambda: mails_to(app, "ada@example.com"), within_s=READY_S)


async def test_a_user_who_is_not_committed_gets_no_mail(api: httpx.AsyncClient, app: FastAPI, eventually: Any) -> None:
    async def jobs() -> int:
        return len((await api.get("/tasks", params={"function": "send_welcome_email", "limit": 500})).json()["tasks"])

    before = await jobs()
    first = {"name": "Grace", "email": "grace@example.com"}
    assert (await api.post("/users", json=first)).status_code == 201
    assert (await api.post("/users", json={**first, "name": "Somebody else"})).status_code == 409
    assert (await api.post("/users", json={"name": "Last", "email": "last@example.com"})).status_code == 201
    for email in ("grace@example.com", "last@example.com"):
        await eventually(lambda email=email: mails_to(app, email), within_s=READY_S)
    assert await jobs() == before + 2


async def test_a_job_that_runs_again_records_no_second_mail(api: httpx.AsyncClient, app: FastAPI, ended: Any) -> None:
    queue = app.state.queue
    results = []
    for _ in range(2):
        job = await queue.enqueue_job("send_welcome_email", 10_000, "twice@example.com", "Twice")
        results.append((await ended(job.job_id))["result"])
        await queue.delete(f"arq:result:{job.job_id}")
    assert results == ["sent", "already sent"]
    assert await mails_to(app, "twice@example.com") == 1


async def test_nobody_of_this_id_is_not_found(api: httpx.AsyncClient) -> None:
    assert (await api.get("/users/123456789")).status_code == 404


async def test_users_sign_up_while_redis_is_away(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("app.core.config").settings, "redis_queue_port", free_port())
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api/api/v1") as api,
    ):
        answer = await api.post("/users", json={"name": "Early", "email": "early@example.com"})
        assert answer.status_code == 201, answer.text
        told = await api.get("/tasks/any")
        assert (told.status_code, told.headers["Retry-After"]) == (503, "1")
    outbox = import_module("app.core.outbox").outbox
    async with AsyncSession(app.state.database.engine) as session:
        waiting = await session.scalar(select(func.count()).where(outbox.table.c.moved_ms.is_(None)))
    await app.state.database.close()
    assert waiting == 1
