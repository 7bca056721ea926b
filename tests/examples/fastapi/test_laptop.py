"""The example as its README starts it: ``arqube local up`` with both queues from zero, and the API beside it."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.examples.fastapi.conftest import BIN, EXAMPLE

from arqube_local.loopback import free_port
from arqube_local.state import running

SLOW_S = 90.0


@pytest_asyncio.fixture
async def laptop(
    example: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the API; the workers' pods run in a copy of the example, where SQLite's file lies."""
    folder, port = tmp_path / "fastapi-app", free_port()
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.db*"))
    manifest = folder / "taskqueues.local.yaml"
    manifest.write_text(manifest.read_text().replace("6379", str(port)))
    state = tmp_path / "state"
    command = [BIN / "arqube", "local", "up", "--app-dir", folder, "-f", manifest, "--redis-port", str(port)]
    log = tmp_path / "up.log"
    with log.open("wb") as output:
        up = await asyncio.create_subprocess_exec(
            *command, "--state-dir", state, stdout=output, stderr=output, cwd=tmp_path
        )
    try:
        await eventually(lambda: running(state) or up.returncode is not None, within_s=SLOW_S)
        assert up.returncode is None, log.read_text()
        settings = import_module("app.core.config").settings
        monkeypatch.setattr(settings, "database_url", f"sqlite+aiosqlite:///{folder}/app.db")
        monkeypatch.setattr(settings, "redis_queue_host", "127.0.0.1")
        monkeypatch.setattr(settings, "redis_queue_port", port)
        app = import_module("app.main").app
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api/api/v1") as client,
        ):
            yield client
    finally:
        if up.returncode is None:
            up.send_signal(signal.SIGTERM)
        await asyncio.wait_for(up.wait(), SLOW_S)


@pytest.mark.timeout(240)
async def test_jobs_of_both_queues_find_workers(laptop: httpx.AsyncClient, eventually: Any) -> None:
    assert (await laptop.post("/users", json={"name": "Ada", "email": "ada@example.com"})).status_code == 201
    files = [("files", ("a.txt", b"one two"))]
    report = (await laptop.post("/reports", data={"title": "Words"}, files=files)).json()

    async def welcomed() -> bool:
        tasks = (await laptop.get("/tasks", params={"status": "succeeded"})).json()["tasks"]
        return [task["function"] for task in tasks] == ["send_welcome_email"]

    async def reported() -> bool:
        return bool((await laptop.get(f"/reports/{report['id']}")).json()["text"])

    await eventually(welcomed, within_s=SLOW_S)
    await eventually(reported, within_s=SLOW_S)
