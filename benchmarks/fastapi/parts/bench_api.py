"""The example's API, and beside it what apps do that have no outbox: they enqueue after their commit, or before it.

It runs as ``uvicorn bench_api:app`` with this folder and the example's on Python's path.
"""

from __future__ import annotations

from app.api.dependencies import Database, Queue
from app.crud.crud_users import crud_users
from app.main import app
from app.schemas.user import UserCreate, UserRead

__all__ = ["app"]


@app.post("/control/after-commit/users", status_code=201)
async def create_after_commit(user: UserCreate, db: Database, queue: Queue) -> UserRead:
    """Commit, then enqueue: who dies in between, or finds Redis away, has a user without a mail."""
    async with db.begin():
        row = await crud_users.create(db, **user.model_dump())
    await queue.enqueue_job("send_welcome_email", row.id, row.email, row.name)
    return UserRead.model_validate(row)


@app.post("/control/before-commit/users", status_code=201)
async def create_before_commit(user: UserCreate, db: Database, queue: Queue) -> UserRead:
    """Enqueue, then commit: who dies in between, or finds the database away, has a mail to nobody."""
    async with db.begin():
        row = await crud_users.create(db, **user.model_dump())
        await queue.enqueue_job("send_welcome_email", row.id, row.email, row.name)
    return UserRead.model_validate(row)
