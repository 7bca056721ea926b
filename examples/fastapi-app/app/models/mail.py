"""Which mails were sent."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import DateTime, String
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db.database import Base, now


class Mail(Base):
    """A mail that went out. It stands in for a mail server, which knows no users: so it refers to none.

    ``key`` names the occasion. As it is unique, a job that runs again cannot record its mail a second time.
    """

    __tablename__ = "mails"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(200), unique=True)
    recipient: Mapped[str] = mapped_column(String(320), index=True)
    subject: Mapped[str] = mapped_column(String(200))
    sent_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), default=now)
