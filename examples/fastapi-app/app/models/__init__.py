"""The tables."""

from app.models.mail import Mail
from app.models.report import DailyReport, Report, ReportFile
from app.models.user import User

__all__ = ["DailyReport", "Mail", "Report", "ReportFile", "User"]
