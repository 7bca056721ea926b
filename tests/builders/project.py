"""A project in which nothing is to be found, and what is changed in it."""

from __future__ import annotations

from textwrap import dedent
from typing import Any, Final

import pytest

from arqube_local.adoption.findings import Finding
from arqube_local.adoption.look import Look
from arqube_local.adoption.manifests import task_queues
from arqube_local.adoption.rules import findings
from arqube_local.adoption.sources import Project

WELL_WRITTEN: Final = {
    "app/__init__.py": "",
    "app/config.py": """
        import os

        from arq.connections import RedisSettings

        REDIS = RedisSettings(host=os.environ.get("REDIS_QUEUE_HOST", "localhost"))
        DATABASE_URL = os.environ["DATABASE_URL"]
    """,
    "app/jobs.py": """
        import asyncio

        import httpx
        from arq import Retry


        def count(text):
            return len(text)


        async def send_email(ctx, to, subject):
            async with httpx.AsyncClient(timeout=10) as client:
                answer = await client.post("https://mail.example/send", json={"to": to, "subject": subject})
            if answer.status_code == 503:
                raise Retry(defer=ctx["job_try"] * 5)
            return answer.status_code


        async def report(ctx, text):
            async with ctx["sessions"].begin() as session:
                session.add(text)
            try:
                return await asyncio.to_thread(count, text)
            except Exception:
                return 0
    """,
    "app/worker.py": """
        from arq import cron
        from arq.worker import func
        from arqube_worker.serializers import json_deserializer, json_serializer
        from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

        from app.config import DATABASE_URL, REDIS
        from app.jobs import report, send_email


        async def startup(ctx):
            ctx["engine"] = create_async_engine(DATABASE_URL)
            ctx["sessions"] = async_sessionmaker(ctx["engine"])


        async def shutdown(ctx):
            await ctx["engine"].dispose()


        class WorkerSettings:
            functions = [func(send_email, max_tries=5), report]
            cron_jobs = [cron(report, name="nightly", hour=3, minute=0)]
            redis_settings = REDIS
            queue_name = "mail"
            on_startup = startup
            on_shutdown = shutdown
            max_jobs = 20
            job_timeout = 60
            job_serializer = json_serializer
            job_deserializer = json_deserializer
    """,
    "app/api.py": """
        from datetime import datetime, timezone

        from arq import create_pool
        from arqube_worker.serializers import json_deserializer, json_serializer

        from app.config import REDIS


        async def pool():
            return await create_pool(
                REDIS,
                default_queue_name="mail",
                job_serializer=json_serializer,
                job_deserializer=json_deserializer,
            )


        async def create_user(session, redis, name):
            session.add(name)
            await session.commit()
            job = await redis.enqueue_job("send_email", name, subject="welcome", _defer_by=5, _expires=600)
            await redis.enqueue_job("report", name, _defer_until=datetime.now(tz=timezone.utc))
            return await job.result(timeout=5)
    """,
    "pyproject.toml": """
        [project]
        name = "mailer"
        version = "1.4.2"
        requires-python = ">=3.11"
        dependencies = ["arq>=0.26,<0.29", "httpx", "sqlalchemy[asyncio]>=2"]
    """,
    "Dockerfile": """
        FROM python:3.13-slim AS build
        RUN pip install --no-cache-dir build

        FROM python:3.13-slim
        WORKDIR /app
        COPY app app
        USER 1000:1000
        CMD ["arq", "app.worker.WorkerSettings"]
    """,
    "taskqueue.yaml": """
        apiVersion: arqube.dev/v1alpha1
        kind: TaskQueue
        metadata:
          name: mail
        spec:
          queueName: mail
          redis:
            host: redis
          worker:
            image: registry.example/mailer:1.4.2
            settings: app.worker.WorkerSettings
            concurrency: 20
            podTemplate:
              spec:
                containers:
                  - name: worker
                    env:
                      - {name: DATABASE_URL, valueFrom: {secretKeyRef: {name: app, key: url}}}
                    resources: {requests: {cpu: 100m, memory: 256Mi}}
          shutdown:
            timeout: 60s
    """,
}
"""Its files: text by path."""


def look(changed: dict[str, str] | None = None, without: tuple[str, ...] = ()) -> Look:
    """The project with files changed, added or left out."""
    texts = {**WELL_WRITTEN, **(changed or {})}
    texts = {path: dedent(text).lstrip("\n") for path, text in texts.items() if path not in without}
    return Look(Project.of_texts(texts, name="mailer"), task_queues(texts))


def replaced(path: str, *pairs: tuple[str, str]) -> dict[str, str]:
    """One file of the project with pieces of it replaced; each must be there."""
    text = WELL_WRITTEN[path]
    for old, new in pairs:
        assert old in text, f"{path} has no {old!r}"
        text = text.replace(old, new)
    return {path: text}


def found(changed: dict[str, str] | None = None, without: tuple[str, ...] = ()) -> list[Finding]:
    """What the rules find in it."""
    return findings(look(changed, without))


def case(sentence: str, changed: dict[str, str], rule: str, level: str, path: str, line: str) -> Any:
    """What is found where the project is changed: rule, level, file, and what stands in the line there."""
    return pytest.param(changed, rule, level, path, line, id=sentence)


def assert_found(changed: dict[str, str], rule: str, level: str, path: str, line: str) -> None:
    """It is found once, there, and with a remedy."""
    (finding,) = [each for each in found(changed) if each.rule == rule]
    assert (finding.level, finding.place.file) == (level, path)
    text = dedent({**WELL_WRITTEN, **changed}[path]).lstrip("\n")
    assert line in text.splitlines()[(finding.place.line or 0) - 1]
    assert finding.remedy
