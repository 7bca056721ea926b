"""The jobs. Those that take an ``AsyncSession`` get one of their own, which commits if and only if the job succeeds."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any, Final

import httpx
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.progress import Progress
from app.core.worker.training import train
from app.crud.crud_mails import crud_mails
from app.crud.crud_reports import crud_daily_reports, crud_report_files, crud_reports
from arqube_worker.retries import Backoff, RetryPolicy

Context = dict[str, Any]

OUTAGE: Final = RetryPolicy(max_tries=20, backoff=Backoff(initial=0.5, maximum=30, jitter=0.5))
"""For jobs that a database's restart must not fail: together some eight minutes."""


@OUTAGE
async def send_welcome_email(ctx: Context, user_id: int, email: str, name: str, db: AsyncSession) -> str:
    """Welcome a user.

    The mail's row commits with the job, and its key lets no second run record it again: so it is recorded once. A real
    mail server takes part in no transaction: what it was told just before a worker died is told again.
    """
    is_new = await crud_mails.create_once(db, key=f"welcome:{user_id}", recipient=email, subject=f"Welcome, {name}!")
    return "sent" if is_new else "already sent"


async def sample_background_task(ctx: Context, name: str) -> str:
    """The template's sample."""
    await asyncio.sleep(5)
    return f"Task {name} is complete!"


class RateNotFoundError(Exception):
    """The service knows no such currency: to ask again is of no use."""


@RetryPolicy(max_tries=5, backoff=Backoff(initial=0.5, maximum=20, jitter=0.5), give_up_on=(RateNotFoundError,))
async def fetch_exchange_rate(ctx: Context, currency: str) -> float:
    """Ask a service of somebody else, with growing pauses as long as it is away or too busy."""
    client: httpx.AsyncClient = ctx["exchange_api"]
    answer = await client.get(f"/rates/{currency}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise RateNotFoundError(currency)
    answer.raise_for_status()
    return float(answer.json()["rate"])


@OUTAGE
async def generate_report(ctx: Context, report_id: int, db: AsyncSession) -> str:
    """Count what is in the files of a report, and tell after each how far it is."""
    progress = Progress(ctx["redis"], report_id)
    report = await crud_reports.get(db, id=report_id)
    if report is None:
        return "deleted meanwhile"
    files = await crud_report_files.get_multi(db, report_id=report_id)
    lines = [f"# {report.title}"]
    for number, file in enumerate(files, 1):
        counted = await asyncio.to_thread(_describe, file.content)
        lines.append(f"{file.name}: {counted}")
        await progress.tell(99 * number // len(files))  # All of it is there when this transaction is.
    report.text = "\n".join(lines)
    return f"{len(files)} files"


@OUTAGE
async def nightly_report(ctx: Context, db: AsyncSession) -> str:
    """Count yesterday's users and mails; run again, it counts again and writes over it."""
    yesterday = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=1)
    report = await crud_daily_reports.create_for(db, yesterday)
    return f"{report.day}: {report.users} users, {report.mails} mails"


async def train_model(ctx: Context, points: int, epochs: int) -> dict[str, Any]:
    """Take all of a processor for a while, and hold up no other job."""
    return await train(points, epochs)


def _describe(content: bytes) -> str:
    text = content.decode(errors="replace")
    return f"{len(text.splitlines())} lines, {len(text.split())} words, {len(content)} bytes"
