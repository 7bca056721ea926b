"""Serializers for arq that cannot run code when they read: JSON and MessagePack, to be set on both sides of a queue.

arq's default is pickle, and to load a pickle is to run whatever its writer chose: who can write to Redis can run code
in every worker. Give these to producers and to the worker alike::

    from arqube_worker.serializers import json_deserializer, json_serializer

    redis = await create_pool(settings, job_serializer=json_serializer, job_deserializer=json_deserializer)

    class WorkerSettings:
        job_serializer = json_serializer
        job_deserializer = json_deserializer

Limits of both: arguments and results are what the format knows (JSON: texts, numbers, booleans, None, lists, and dicts
with texts as keys; MessagePack also bytes, and whole numbers of 64 bits). A tuple comes back as a list, positional
arguments excepted. Dates and other objects are refused when a job is enqueued: send text or numbers. An exception
travels as its class's name and its text: ``Job.result()`` raises ``RemoteError`` in its place, but for cancellation,
time-out and arq's own ``JobExecutionFailed``, which clients tell apart.
Whoever changes the serializer of a queue lets it run empty first, or its jobs cannot be read.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from arq.worker import JobExecutionFailed

_EXCEPTION: Final = "__exception__"
_EXCEPTION_FIELDS: Final = frozenset({_EXCEPTION, "message"})


class RemoteError(Exception):
    """A job's exception, as far as it can be told without its class.

    Attributes:
        type_name: Its class, with the module where that is not ``builtins``.
        message: Its text.
    """

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(type_name, message)
        self.type_name = type_name
        self.message = message

    def __str__(self) -> str:
        return f"{self.type_name}: {self.message}" if self.message else self.type_name


def json_serializer(document: Mapping[str, Any]) -> bytes:
    """Write arq's record of a job or of its result as JSON; arq's ``job_serializer``.

    Raises:
        TypeError: An argument or result is of a type that JSON does not know, or a dict has a key that is no text.
        ValueError: A number is NaN or infinite.
    """
    text = json.dumps(document, default=_exception_as_dict, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    _refuse_other_keys(document)
    return text.encode()


def json_deserializer(data: bytes) -> dict[str, Any]:
    """Read what ``json_serializer`` wrote; arq's ``job_deserializer``.

    Raises:
        ValueError: It is no JSON of an object.
    """
    return _restored(json.loads(data))


def msgpack_serializer(document: Mapping[str, Any]) -> bytes:
    """Write arq's record of a job or of its result as MessagePack; arq's ``job_serializer``.

    Raises:
        ImportError: The package msgpack is missing: ``pip install 'arqube[msgpack]'``.
        TypeError: An argument or result is of a type that MessagePack does not know.
        OverflowError: A whole number has more than 64 bits.
    """
    import msgpack

    packed: bytes = msgpack.packb(document, default=_exception_as_dict)
    return packed


def msgpack_deserializer(data: bytes) -> dict[str, Any]:
    """Read what ``msgpack_serializer`` wrote; arq's ``job_deserializer``.

    Raises:
        ImportError: The package msgpack is missing: ``pip install 'arqube[msgpack]'``.
        ValueError: It is no MessagePack of a map.
        TypeError: A key in it is a list or a map.
    """
    import msgpack

    return _restored(msgpack.unpackb(data, strict_map_key=False))


def warn_about_pickle(serializer_is_default: bool) -> None:
    """Say once, when a worker starts, that its queue's jobs are pickles; to be called at start-up."""
    if serializer_is_default:
        from arqube_worker.logs import get_logger  # structlog, which producers need not have

        get_logger(__name__).warning(
            "jobs_are_pickles",
            why="whoever can write to this Redis can run code in its workers",
            remedy="set job_serializer and job_deserializer from arqube_worker.serializers on producers and workers",
        )


def _type_name(kind: type[BaseException]) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


_KNOWN: Final = {_type_name(kind): kind for kind in (asyncio.CancelledError, asyncio.TimeoutError, JobExecutionFailed)}
"""Exceptions that come back as themselves: ``Job.abort()`` waits for the first, and clients catch the others."""


def _exception_as_dict(value: Any) -> dict[str, str]:
    if not isinstance(value, BaseException):
        raise TypeError(f"a {type(value).__name__} cannot be sent: send text, numbers, lists or dicts of these")
    if isinstance(value, RemoteError):
        return {_EXCEPTION: value.type_name, "message": value.message}
    return {_EXCEPTION: _type_name(type(value)), "message": str(value)}


def _exception(type_name: str, message: str) -> BaseException:
    kind = _KNOWN.get(type_name)
    return kind(message) if kind is not None else RemoteError(type_name, message)


def _restored(document: Any) -> dict[str, Any]:
    """The record with what arq expects in place: a tuple of arguments, an exception where the job failed."""
    if not isinstance(document, dict):
        raise ValueError("the data is no record of a job")
    result = document.get("r")
    if document.get("s") is False and isinstance(result, dict) and result.keys() == _EXCEPTION_FIELDS:
        document["r"] = _exception(str(result[_EXCEPTION]), str(result["message"]))
    if isinstance(arguments := document.get("a"), list):
        document["a"] = tuple(arguments)
    return document


def _refuse_other_keys(value: Any) -> None:
    """``json.dumps`` would turn the key 1 into "1", and the job would get another dict than was sent."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, Mapping):
            for key in item:
                if not isinstance(key, str):
                    raise TypeError(f"a dict's key must be text for JSON, not {type(key).__name__}")
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
