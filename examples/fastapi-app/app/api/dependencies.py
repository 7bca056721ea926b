"""What endpoints ask for: a database session, and the queues."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

from arq.connections import ArqRedis
from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    """A session a request. The endpoint commits: only then does it know what it may answer."""
    async with AsyncSession(request.app.state.database.engine, expire_on_commit=False) as session:
        yield session


def get_queue(request: Request) -> ArqRedis:
    """The queues' Redis."""
    queue: ArqRedis = request.app.state.queue
    return queue


Database = Annotated[AsyncSession, Depends(get_session)]
Queue = Annotated[ArqRedis, Depends(get_queue)]
