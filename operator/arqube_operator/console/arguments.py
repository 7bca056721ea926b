"""A job's arguments as text, for those who may see them. Nothing is loaded: JSON is read, else bytes are shown."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

LONGEST: Final = 4000
"""Characters that are shown."""
MOST_BYTES: Final = 64 * 1024
"""A longer payload is not read."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a payload says of a job's arguments.

    Attributes:
        form: What the text is, in words.
        text: JSON, or the payload's bytes as Python writes them.
        cut: Whether there is more.
    """

    form: str
    text: str
    cut: bool


def show(payload: bytes) -> Arguments:
    """The arguments in ``payload``, whatever its bytes are."""
    document = _json(payload)
    if document is not None:
        given = {name: document[short] for name, short in (("args", "a"), ("kwargs", "k")) if short in document}
        return _cut("JSON", json.dumps(given, indent=2, ensure_ascii=False))
    # Four characters a byte at most; the quotes go.
    return _cut("bytes of the payload, which is not loaded", repr(payload[: LONGEST + 1])[2:-1])


def _json(payload: bytes) -> dict[str, Any] | None:
    if len(payload) > MOST_BYTES or payload.lstrip()[:1] != b"{":
        return None
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _cut(form: str, text: str) -> Arguments:
    return Arguments(form, text[:LONGEST], len(text) > LONGEST)
