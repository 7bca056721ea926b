"""Reads a leased job's payload, and refuses what is no job: whatever it holds, it ends its own job alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from arq.jobs import DeserializationError, SerializationError, deserialize_job_raw
from redis.exceptions import ResponseError

from arqube_queue.payload import LONGEST_NAME

LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999, the last that ``datetime`` knows, in Unix milliseconds."""


class Job(NamedTuple):
    """What a payload says.

    Attributes:
        function: Name of the function.
        args: Its positional arguments.
        kwargs: Its named arguments.
        first_try: The number of its first try, where the producer set one.
        enqueued_ms: When it was enqueued, in Unix milliseconds.
    """

    function: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    first_try: int | None
    enqueued_ms: int


def read(payload: bytes | ResponseError, deserializer: Callable[[bytes], Any] | None) -> Job:
    """The job of a payload.

    Args:
        payload: Its bytes, or why Redis does not give them.
        deserializer: The app's; None for pickle.

    Raises:
        SerializationError: It is none; the message, or that of the cause, says what is wrong.
    """
    if isinstance(payload, ResponseError):
        raise DeserializationError(f"the key of the payload holds none: {payload}")
    try:
        name, args, kwargs, first_try, enqueued_ms = deserialize_job_raw(payload, deserializer=deserializer)
    except SerializationError:
        raise
    except BaseException as error:  # a pickle may raise SystemExit and the like: one job must not end all
        raise DeserializationError("unable to deserialize job") from error
    if not isinstance(name, str):
        raise DeserializationError(f"the function 'f' must be a text, not a {type(name).__name__}")
    if len(name) > LONGEST_NAME:
        raise DeserializationError(f"the function 'f' must have at most {LONGEST_NAME} characters, not {len(name)}")
    if not isinstance(args, (tuple, list)):
        raise DeserializationError(f"the arguments 'a' must be a tuple or a list, not a {type(args).__name__}")
    if not isinstance(kwargs, dict) or not all(isinstance(each, str) for each in kwargs):
        raise DeserializationError("the named arguments 'k' must be a dict whose keys are texts")
    if first_try is not None and not isinstance(first_try, int):
        raise DeserializationError(
            f"the first try 't' must be a whole number or None, not a {type(first_try).__name__}"
        )
    if not isinstance(enqueued_ms, (int, float)) or not 0 <= enqueued_ms <= LATEST_MS:
        raise DeserializationError("the time of enqueueing 'et' must be Unix milliseconds, of this era")
    return Job(name, tuple(args), kwargs, first_try, int(enqueued_ms))
