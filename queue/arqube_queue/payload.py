"""What a job's payload says of the job, read without loading it: loading a pickle runs what its writer chose.

arq's payload is a serialized dict (arq 0.28, ``arq/jobs.py``, ``serialize_job``): ``t`` tries, ``f`` function, ``a``
and ``k`` arguments, ``et`` time of enqueueing. The serializer is the app's: pickle, JSON and MessagePack are known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from arqube_queue import msgpack_reader, pickle_reader

LONGEST_NAME: Final = 500
"""Characters beyond which a text is taken for no function's name."""
MOST: Final = 2**53
"""The largest whole number that Redis's scores and JSON's readers keep exact."""

_PLAIN: Final = frozenset({"t", "f", "et"})


@dataclass(frozen=True, slots=True)
class JobHeader:
    """What is known of a job beside its arguments; None where the payload does not say it readably.

    Attributes:
        function: Name of the function it calls.
        enqueued_ms: When it was enqueued, in Unix milliseconds by the producer's clock.
        tries: The number of its first try, where the producer set one.
    """

    function: str | None = None
    enqueued_ms: int | None = None
    tries: int | None = None


def read_header(payload: bytes) -> JobHeader:
    """Read a payload or the beginning of one, whatever its bytes are.

    Nothing in it is executed, and the time it takes is bounded: what stands behind very long arguments stays unknown.
    """
    entries = _entries(payload)
    return JobHeader(
        function=_name(entries.get("f")),
        enqueued_ms=_count(entries.get("et")),
        tries=_count(entries.get("t")),
    )


def read_queue(result: bytes) -> str | None:
    """The queue that a serialized result, or the beginning of one, says its job was of; None where it does not."""
    return _name(_entries(result).get("q"))


def _entries(data: bytes) -> Mapping[str, Any]:
    if data[:1] in (b"\x80", b"(", b"}"):  # a protocol's number, or a dict of protocols 0 and 1
        return pickle_reader.read_dict(data, _PLAIN)
    if data[:1] in b"{ \t\r\n":
        return _read_json(data)
    return msgpack_reader.read_map(data)


def _read_json(payload: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _name(value: Any) -> str | None:
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST_NAME:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which pickle and JSON let through
        return None
    return value


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MOST else None  # True is an int, too
