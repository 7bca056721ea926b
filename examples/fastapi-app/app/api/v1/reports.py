"""Reports: upload files, follow the progress, read the text; and the nightly ones."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, File, Form, HTTPException, UploadFile

from app.api.dependencies import Database, Queue
from app.core.config import SLOW_QUEUE
from app.core.outbox import outbox
from app.core.progress import Progress
from app.crud.crud_reports import crud_daily_reports, crud_report_files, crud_reports
from app.schemas.report import DailyReportRead, ReportCreated, ReportRead

router = APIRouter(prefix="/reports", tags=["reports"])

LARGEST = 1_000_000
"""Bytes of a file."""


@router.post("", status_code=202)
async def create(
    title: Annotated[str, Form(min_length=1, max_length=200)], files: Annotated[list[UploadFile], File()], db: Database
) -> ReportCreated:
    """Keep the files and have a report made of them: the files and the job are there, or neither is."""
    if any(file.size is None or file.size > LARGEST for file in files):
        raise HTTPException(413, f"a file may have {LARGEST} bytes")
    async with db.begin():
        report = await crud_reports.create(db, title=title)
        for file in files:
            content = await file.read()
            await crud_report_files.create(db, report_id=report.id, name=file.filename or "file", content=content)
        task_id = outbox.enqueue(db, "generate_report", report.id, _queue_name=SLOW_QUEUE)
    return ReportCreated(id=report.id, task_id=task_id)


@router.get("/daily")
async def daily(db: Database) -> list[DailyReportRead]:
    """What the nightly job has counted."""
    reports = await crud_daily_reports.get_multi(db)
    return [DailyReportRead.model_validate(each, from_attributes=True) for each in reports]


@router.get("/{report_id}")
async def read(report_id: int, db: Database, queue: Queue) -> ReportRead:
    """A report, as far as it is."""
    report = await crud_reports.get(db, id=report_id)
    if report is None:
        raise HTTPException(404, "no such report")
    return ReportRead(
        id=report.id,
        title=report.title,
        progress=100 if report.text is not None else await Progress(queue, report_id).read(),
        text=report.text,
        created_at=report.created_at,
    )
