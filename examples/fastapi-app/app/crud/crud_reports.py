"""Reports, their files, and the daily ones."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.crud.base import CRUD
from app.models import DailyReport, Mail, Report, ReportFile, User

crud_reports = CRUD(Report)
crud_report_files = CRUD(ReportFile)


class CRUDDailyReports(CRUD[DailyReport]):
    """One report a day."""

    async def create_for(self, db: AsyncSession, day: dt.date) -> DailyReport:
        """Count the users and the mails of ``day`` by UTC, anew if that was done before."""
        begin = dt.datetime.combine(day, dt.time(), dt.UTC)
        end = begin + dt.timedelta(days=1)
        users = select(func.count()).select_from(User).where(User.created_at >= begin, User.created_at < end)
        mails = select(func.count()).select_from(Mail).where(Mail.sent_at >= begin, Mail.sent_at < end)
        report = DailyReport(day=day, users=await db.scalar(users), mails=await db.scalar(mails))
        return await db.merge(report)


crud_daily_reports = CRUDDailyReports(DailyReport)
