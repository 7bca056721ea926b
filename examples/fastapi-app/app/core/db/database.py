"""The database: SQLite and PostgreSQL differ in nothing beyond this file."""

from __future__ import annotations

import datetime as dt
from typing import Final

from sqlalchemy import make_url, text
from sqlalchemy.orm import DeclarativeBase

from app.core.config import settings
from arqube_worker.contrib.sqlalchemy import Database

SQLITE_WAIT_S: Final = 30
"""How long a writer of SQLite's one file waits for the others: the API and the workers are processes of their own."""

POOL_WAIT_S: Final = 3
"""How long a request waits for a connection: who posts has given up not much later."""


class Base(DeclarativeBase):
    """What all models inherit."""


def create_database() -> Database:
    """Sessions and connections to ``DATABASE_URL``; nothing is connected before the first use."""
    if is_sqlite():
        return Database(settings.database_url, connect_args={"timeout": SQLITE_WAIT_S})
    # A connection that died is found by the first request or job that takes it, and that ends with 503 or is tried
    # again; to ask each connection each time would cost three round trips a job.
    return Database(settings.database_url, pool_pre_ping=False, pool_timeout=POOL_WAIT_S)


def is_sqlite() -> bool:
    """Whether the database is a file."""
    return make_url(settings.database_url).get_backend_name() == "sqlite"


async def create_tables(database: Database) -> None:
    """Make the tables that are missing. An app that changes its tables has migrations in this place."""
    async with database.engine.connect() as connection:
        if is_sqlite():  # The file remembers it: who reads does not stop who writes.
            await connection.execute(text("PRAGMA journal_mode = WAL"))
        else:  # The API's processes start together, and one of them is to make the tables.
            await connection.execute(text("SELECT pg_advisory_xact_lock(1)"))
        await connection.run_sync(Base.metadata.create_all)
        await connection.commit()


def now() -> dt.datetime:
    """The time that rows carry; of this process's clock, as SQLite's own has no fractions of a second."""
    return dt.datetime.now(dt.UTC)
