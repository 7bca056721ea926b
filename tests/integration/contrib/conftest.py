"""A database with users and an outbox, and what is left in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Column, Integer, MetaData, Table, Text, event
from tests.integration.conftest import KINDS

from arqube_worker.contrib.outbox import Outbox
from arqube_worker.contrib.sqlalchemy import Database

METADATA = MetaData()
ON_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("database_url", [kind for kind in KINDS if kind == "postgresql"], indirect=True)
USERS = Table("users", METADATA, Column("id", Integer, primary_key=True), Column("name", Text, unique=True))
OUTBOX = Outbox(METADATA)


def open_database(url: str) -> Database:
    """It does not wait for the disk: what these tests kill is processes, not machines."""
    database = Database(url)
    if database.engine.dialect.name == "sqlite":

        def hurry(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA synchronous=OFF")

        event.listen(database.engine.sync_engine, "connect", hurry)
    return database


@pytest_asyncio.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the tables."""
    database = open_database(database_url)
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
