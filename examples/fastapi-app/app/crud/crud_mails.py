"""Mails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from app.crud.base import CRUD
from app.models import Mail

INSERTS: Final[dict[str, Callable[..., postgresql.Insert | sqlite.Insert]]] = {
    "postgresql": postgresql.insert,
    "sqlite": sqlite.insert,
}
"""``ON CONFLICT`` is in no standard, and the same in both databases."""


class CRUDMails(CRUD[Mail]):
    """Mails, each sent once for its key."""

    async def create_once(self, db: AsyncSession, *, key: str, recipient: str, subject: str) -> bool:
        """Record a mail; False where one with this key is there already.

        If another run of the same job records it at this moment, this one waits for that one's commit or rollback.
        """
        connection = await db.connection()
        insert = INSERTS[connection.dialect.name](Mail.__table__)
        row = {"key": key, "recipient": recipient, "subject": subject}
        recorded = await connection.execute(insert.on_conflict_do_nothing(index_elements=["key"]), row)
        return recorded.rowcount > 0


crud_mails = CRUDMails(Mail)
