"""Times and texts as every ``arqube`` command writes them: as the console does."""

from __future__ import annotations

from arqube_operator.text import age, printable, timestamp

__all__ = ("age", "printable", "timestamp")
