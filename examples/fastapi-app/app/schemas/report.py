"""Reports of uploaded files."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import BaseModel


class ReportCreated(BaseModel):
    """A report that is under way; ``task_id`` is its task's."""

    id: int
    task_id: str


class ReportRead(BaseModel):
    """A report: ``progress`` goes from 0 to 100, and ``text`` comes with 100."""

    id: int
    title: str
    progress: int
    text: str | None
    created_at: datetime


class DailyReportRead(BaseModel):
    """A day in numbers."""

    day: date
    users: int
    mails: int
