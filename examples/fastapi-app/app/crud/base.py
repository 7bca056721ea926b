"""What the CRUD classes share, in the manner of FastCRUD, which can take its place."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db.database import Base

ModelT = TypeVar("ModelT", bound=Base)


class CRUD(Generic[ModelT]):
    """Rows of one table. Nothing here commits: whoever opened the session does, so that all of it holds or none."""

    def __init__(self, model: type[ModelT]) -> None:
        self.model = model

    async def create(self, db: AsyncSession, **values: Any) -> ModelT:
        """A new row, written but not committed.

        Raises:
            sqlalchemy.exc.IntegrityError: A constraint is against it.
        """
        row = self.model(**values)
        db.add(row)
        await db.flush()
        return row

    async def get(self, db: AsyncSession, **values: Any) -> ModelT | None:
        """The row with these values, or None."""
        return await db.scalar(select(self.model).filter_by(**values))

    async def get_multi(self, db: AsyncSession, *, offset: int = 0, limit: int = 100, **values: Any) -> list[ModelT]:
        """Up to ``limit`` rows with these values, by their primary key."""
        key = self.model.__mapper__.primary_key
        chosen = select(self.model).filter_by(**values).order_by(*key).offset(offset).limit(limit)
        return list(await db.scalars(chosen))
