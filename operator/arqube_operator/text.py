"""Times and texts as the console and every ``arqube`` command write them."""

from __future__ import annotations

from datetime import UTC, datetime


def age(seconds: int) -> str:
    """As kubectl writes ages: the largest unit of which there are two."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def timestamp(unix_ms: int | None) -> str | None:
    """RFC 3339 in UTC with milliseconds; None for None, and for what is no time that can be written."""
    if unix_ms is None:
        return None
    try:
        moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def printable(text: str) -> str:
    """``text`` in one line, with a mark in the place of each character that is not to be seen."""
    return "".join(each if each.isprintable() else " " if each.isspace() else "\ufffd" for each in text)
