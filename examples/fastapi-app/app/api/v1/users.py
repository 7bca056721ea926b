"""Users: sign up, look, list."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query

from app.api.dependencies import Database
from app.core.outbox import outbox
from app.crud.crud_users import crud_users
from app.schemas.user import UserCreate, UserRead

router = APIRouter(prefix="/users", tags=["users"])


@router.post("", status_code=201)
async def create(user: UserCreate, db: Database) -> UserRead:
    """Create a user, and welcome them once that has committed: the user and the job are there, or neither is."""
    async with db.begin():
        row = await crud_users.create(db, **user.model_dump())
        outbox.enqueue(db, "send_welcome_email", row.id, row.email, row.name)
    return UserRead.model_validate(row)


@router.get("/{user_id}")
async def read(user_id: int, db: Database) -> UserRead:
    """One user."""
    row = await crud_users.get(db, id=user_id)
    if row is None:
        raise HTTPException(404, "no such user")
    return UserRead.model_validate(row)


@router.get("")
async def list_users(
    db: Database, offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[UserRead]:
    """Users by their ids."""
    return [UserRead.model_validate(row) for row in await crud_users.get_multi(db, offset=offset, limit=limit)]
