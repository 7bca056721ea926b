"""Reports: those made of uploaded files, and one a day."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import Date, DateTime, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base, now


class Report(Base):
    """What is asked for; ``text`` is there once the job has made it."""

    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    text: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[dt.datetime] = mapped_column(DateTime(timezone=True), default=now)


class ReportFile(Base):
    """A file of a report. It is in the database as API and workers share no disk; large ones belong in a bucket."""

    __tablename__ = "report_files"

    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[int] = mapped_column(ForeignKey("reports.id"), index=True)
    name: Mapped[str] = mapped_column(String(200))
    content: Mapped[bytes]


class DailyReport(Base):
    """A day in numbers."""

    __tablename__ = "daily_reports"

    day: Mapped[dt.date] = mapped_column(Date, primary_key=True)
    users: Mapped[int]
    mails: Mapped[int]
