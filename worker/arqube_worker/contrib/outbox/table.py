"""The outbox's table, and how a job gets into it within the app's transaction."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from arq.jobs import Serializer, serialize_job
from arq.utils import timestamp_ms, to_ms, to_unix_ms
from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text, event
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, registry

from arqube_queue import keys, payload_life

Duration = int | float | timedelta
"""Seconds, or a timedelta; as in arq."""


class Outbox:
    """A table of jobs that are committed and not yet in Redis.

    Args:
        metadata: The app's, so that its migrations or ``create_all`` make the table; None for one of its own, which is
            then to be created by ``outbox.metadata.create_all``.
        table_name: The table's name.
        queue_name: Where jobs go unless ``_queue_name`` says otherwise; as arq's ``default_queue_name``.
        job_serializer: As arq's; None for pickle. The workers need its counterpart.
        expires_extra_ms: As arq's: how long a job may wait beyond its due time, in milliseconds.

    Attributes:
        table: The table.
        metadata: What the table belongs to.
    """

    def __init__(
        self,
        metadata: MetaData | None = None,
        *,
        table_name: str = "arqube_outbox",
        queue_name: str = keys.DEFAULT_QUEUE,
        job_serializer: Serializer | None = None,
        expires_extra_ms: int = payload_life.DEFAULT_LIFE_MS,
    ) -> None:
        self.metadata = MetaData() if metadata is None else metadata
        self.queue_name = queue_name
        self.job_serializer = job_serializer
        self.expires_extra_ms = expires_extra_ms
        self.table = Table(
            table_name,
            self.metadata,
            # SQLite counts up only a column that is an INTEGER by name.
            Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
            Column("token", String(32), nullable=False, comment="names the row in Redis, for ever"),
            Column("job_id", Text, nullable=False),
            Column("queue_name", Text, nullable=False),
            Column("payload", LargeBinary, nullable=False, comment="as arq serializes it"),
            Column("due_ms", BigInteger, nullable=False, comment="Unix time of its start in ms"),
            Column(
                "expires_ms", BigInteger, comment="Unix time in ms after which it must not start, where one was set"
            ),
            Column("moved_ms", BigInteger, comment="Redis's Unix time in ms when it was moved there; null before"),
            Index(f"ix_{table_name}_moved_ms_id", "moved_ms", "id"),
        )
        self._row: Any = type("OutboxRow", (), {})
        registry(metadata=self.metadata).map_imperatively(self._row, self.table)
        self._listeners: list[Callable[[], None]] = []

    def enqueue(
        self,
        session: AsyncSession | Session,
        function: str,
        *args: Any,
        _job_id: str | None = None,
        _queue_name: str | None = None,
        _defer_until: datetime | None = None,
        _defer_by: Duration | None = None,
        _expires: Duration | None = None,
        _job_try: int | None = None,
        **kwargs: Any,
    ) -> str:
        """Enqueue a job when ``session`` is committed, and only then. The arguments are those of arq's ``enqueue_job``.

        It is added to the session and written at its next flush; nothing is awaited. A job whose id is in Redis when
        it is moved there, queued or with a result, is dropped, as ``enqueue_job`` does.

        Returns:
            The job's id.

        Raises:
            arq.jobs.SerializationError: The arguments cannot be serialized.
            RuntimeError: Both ``_defer_until`` and ``_defer_by`` are given.
        """
        if _defer_until and _defer_by:
            raise RuntimeError("use either '_defer_until' or '_defer_by' or neither, not both")
        now_ms = timestamp_ms()
        due_ms = now_ms + (to_ms(_defer_by) or 0) if _defer_until is None else to_unix_ms(_defer_until)
        life_ms = to_ms(_expires)
        row = self._row()
        row.token = uuid.uuid4().hex
        row.job_id = _job_id or uuid.uuid4().hex
        row.queue_name = self.queue_name if _queue_name is None else _queue_name
        row.payload = serialize_job(function, args, kwargs, _job_try, now_ms, serializer=self.job_serializer)
        row.due_ms = due_ms
        row.expires_ms = now_ms + life_ms if life_ms else None
        session.add(row)
        if self not in session.info:
            session.info[self] = True
            event.listen(getattr(session, "sync_session", session), "after_commit", self._committed)
        return str(row.job_id)

    @contextlib.contextmanager
    def listening(self, listener: Callable[[], None]) -> Iterator[None]:
        """Have ``listener`` called after commits of this process that may have enqueued jobs, in the thread of each."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def _committed(self, _session: Session) -> None:
        for listener in self._listeners:
            listener()
