"""The API: ``uvicorn app.main:app``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.api.dependencies import Database
from app.api.v1 import router
from app.core.db.database import create_database, create_tables
from app.core.outbox import outbox
from app.core.queue import create_queue
from arqube_worker.contrib.outbox import Relay


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open what requests share, and run the relay, which moves committed jobs into Redis; close it all at the end."""
    app.state.database = create_database()
    app.state.queue = create_queue()
    try:
        await create_tables(app.state.database)
        async with Relay(outbox, app.state.database.engine, app.state.queue):
            yield
    finally:
        await app.state.queue.aclose()
        await app.state.database.close()


app = FastAPI(title="Arqube's FastAPI example", lifespan=lifespan)
app.include_router(router)


@app.get("/healthz", include_in_schema=False)
async def health(db: Database) -> dict[str, str]:
    """Whether the database answers. Without Redis the API still takes users."""
    await db.execute(text("SELECT 1"))
    return {"status": "ok"}


@app.exception_handler(IntegrityError)
async def conflict(_request: Request, _error: IntegrityError) -> JSONResponse:
    """What is to be unique is there already."""
    return JSONResponse({"detail": "it exists already"}, 409)


@app.exception_handler(DBAPIError)
@app.exception_handler(PoolTimeoutError)
@app.exception_handler(RedisError)
@app.exception_handler(OSError)
async def unavailable(_request: Request, error: Exception) -> JSONResponse:
    """The database or Redis is away. Whether a commit that was on its way holds, nobody knows at this moment."""
    return JSONResponse({"detail": f"{type(error).__name__}: try again later"}, 503, {"Retry-After": "1"})
