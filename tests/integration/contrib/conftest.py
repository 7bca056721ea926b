"""A database with users and an outbox, and what is left in it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import Column, Integer, MetaData, Table, Text

from arqube_worker.contrib.outbox import Outbox
from arqube_worker.contrib.sqlalchemy import Database

METADATA = MetaData()
USERS = Table("users", METADATA, Column("id", Integer, primary_key=True), Column("name", Text, unique=True))
OUTBOX = Outbox(METADATA)


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the tables."""
    database = Database(database_url)
    async with database.engine.begin() as connection:
        await connection.run_sync(METADATA.create_all)
    yield database
    await database.close()


@pytest.fixture
def users() -> Table:
    return USERS


@pytest.fixture
def outbox() -> Outbox:
    return OUTBOX
