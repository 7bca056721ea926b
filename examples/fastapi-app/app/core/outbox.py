"""The jobs that are enqueued when, and only when, the transaction that wants them commits."""

from __future__ import annotations

from typing import Final

from app.core.db.database import Base
from arqube_worker.contrib.outbox import Outbox

outbox: Final = Outbox(Base.metadata)
