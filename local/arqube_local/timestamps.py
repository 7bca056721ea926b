"""Times as Kubernetes writes them (RFC 3339 in UTC, whole seconds) from and to seconds since the epoch."""

from __future__ import annotations

from datetime import UTC, datetime


def to_timestamp(seconds: float) -> str:
    """``2026-01-31T12:00:00Z`` for seconds since the epoch; fractions are dropped, as Kubernetes drops them."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_timestamp(text: str) -> float:
    """Seconds since the epoch.

    Raises:
        ValueError: ``text`` is no RFC 3339 time.
    """
    return datetime.fromisoformat(text).timestamp()
