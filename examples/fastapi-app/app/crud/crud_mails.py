"""Mails."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from app.crud.base import CRUD
from app.models import Mail


class CRUDMails(CRUD[Mail]):
    """Mails, each sent once for its key."""

    async def create_once(self, db: AsyncSession, *, key: str, recipient: str, subject: str) -> bool:
        """Record a mail; False where one with this key is there already.

        Raises:
            sqlalchemy.exc.IntegrityError: Another run of the same job records it at this moment.
        """
        if await self.get(db, key=key) is not None:
            return False
        await self.create(db, key=key, recipient=recipient, subject=subject)
        return True


crud_mails = CRUDMails(Mail)
