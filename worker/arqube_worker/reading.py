"""Reads a leased job's payload, and refuses what is no job: whatever it holds, it ends its own job alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from arq.jobs import DeserializationError, SerializationError, deserialize_job_raw
from redis.exceptions import ResponseError

from arqube_queue.payload import LONGEST_NAME

LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, the last that ``datetime`` knows, in Unix milliseconds."""


_TEXTS: Final = {str}

Job = tuple[str, tuple[Any, ...], dict[str, Any], int | None, int]
"""Name of the function, its positional and its named arguments, the number of its first try where the producer set one,
and when it was enqueued, in Unix milliseconds: as arq's ``deserialize_job_raw`` gives it."""


def read(payload: bytes | ResponseError, deserializer: Callable[[bytes], Any] | None) -> Job:
    """The job of a payload.

    Args:
        payload: Its bytes, or why Redis does not give them.
        deserializer: The app's; None for pickle.

    Raises:
        SerializationError: It is none; the message, or that of the cause, says what is wrong.
    """
    if not isinstance(payload, bytes):
        raise DeserializationError(f"the key of the payload holds none: {payload}")
    try:
        job = deserialize_job_raw(payload, deserializer=deserializer)
    except SerializationError:
        raise
    except BaseException as error:  # a pickle may raise SystemExit and the like: one job must not end all
        raise DeserializationError("unable to deserialize job") from error
    name, args, kwargs, first_try, enqueued_ms = job
    if (  # as arq's clients write it: this is done for each job
        type(name) is str
        and len(name) <= LONGEST_NAME
        and type(args) is tuple
        and type(kwargs) is dict
        and (not kwargs or set(map(type, kwargs)) == _TEXTS)
        and first_try is None
        and type(enqueued_ms) is int
        and 0 <= enqueued_ms <= LATEST_MS
    ):
        return job
    return _checked(name, args, kwargs, first_try, enqueued_ms)


def _checked(name: Any, args: Any, kwargs: Any, first_try: Any, enqueued_ms: Any) -> Job:
    if not isinstance(name, str):
        raise DeserializationError(f"the function 'f' must be a text, not a {type(name).__name__}")
    if len(name) > LONGEST_NAME:
        raise DeserializationError(f"the function 'f' must have at most {LONGEST_NAME} characters, not {len(name)}")
    if not isinstance(args, (tuple, list)):
        raise DeserializationError(f"the arguments 'a' must be a tuple or a list, not a {type(args).__name__}")
    if not isinstance(kwargs, dict) or not all(isinstance(each, str) for each in kwargs):
        raise DeserializationError("the named arguments 'k' must be a dict whose keys are texts")
    if first_try is not None and not isinstance(first_try, int):
        raise DeserializationError(f"the first try 't' must be a whole number, not a {type(first_try).__name__}")
    if not isinstance(enqueued_ms, (int, float)) or not 0 <= enqueued_ms <= LATEST_MS:
        raise DeserializationError("the time of enqueueing 'et' must be Unix milliseconds, of this era")
    return name, tuple(args), kwargs, first_try, int(enqueued_ms)
