"""Workers' heartbeats in Redis: a hash a queue, a field a worker, the value ``<server time in ms> <JSON>``.

Written each second, dropped by readers when older than ``STALE_AFTER_S``. The answer tells a worker whether it is asked
to take no more jobs: the marks of ``arqube_queue.snapshot``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields, replace
from typing import Any, Final

from redis.asyncio import Redis

from arqube_queue import keys, scripts
from arqube_queue.answers import invalid_if_odd
from arqube_queue.model import Heartbeat
from arqube_queue.payload import MOST

INTERVAL_S: Final = 1.0
STALE_AFTER_S: Final = 10.0
"""A worker that has not written for so long is taken for dead."""
RETIREMENT_S: Final = 10.0
"""How long a mark holds that is not renewed: that of an operator that has died lets its workers go on."""
HASH_LIFE_S: Final = 3600
"""The hash goes when no worker has written for so long."""

_WRITE = scripts.load("heartbeat")
_FIELDS = {field.name for field in fields(Heartbeat)} - {"worker", "at_ms"}


def encode(heartbeat: Heartbeat) -> bytes:
    """The JSON of a heartbeat: all but its worker, which is the hash's field, and its time, which the server adds."""
    values = asdict(heartbeat)
    return json.dumps({name: values[name] for name in _FIELDS}, separators=(",", ":")).encode()


def decode(worker: bytes, value: bytes) -> Heartbeat | None:
    """Read a field of the hash; None when it is no heartbeat. Unknown names are ignored: newer workers may add some."""
    stamp, _, body = value.partition(b" ")
    try:
        document: dict[str, Any] = json.loads(body)
        known = {name: document[name] for name in _FIELDS & document.keys()}
        known["functions"] = tuple(map(_text, known.get("functions", ())))
        known["finished"] = {_text(outcome): _count(number) for outcome, number in known.get("finished", {}).items()}
        known["cron_runs"] = {_text(name): _count(due) for name, due in known.get("cron_runs", {}).items()}
        for name in ("busy", "slots", "started"):
            known[name] = _count(known.get(name, 0))
        known["run_seconds"] = _seconds(known.get("run_seconds", 0))
        for name in ("draining", "retiring", "cancels"):
            known[name] = bool(known.get(name, False))
        return Heartbeat(worker=worker.decode(), at_ms=_count(stamp), **known)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _text(value: Any) -> str:
    text = str(value)
    text.encode()  # half a surrogate pair, which JSON lets through, is a ValueError
    return text


def _count(value: Any) -> int:
    number = int(value)
    if not 0 <= number <= MOST:
        raise ValueError(f"{number} is no count")
    return number


def _seconds(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= MOST:  # nor is it one that is no number
        raise ValueError(f"{number} is no time")
    return number


async def write(redis: Redis, queue: str, heartbeat: Heartbeat) -> bool:
    """Say that the worker lives, and how it does.

    That it retires stands in Redis only as long as it is asked to. So ``retiring`` and ``busy`` 0 in a snapshot mean
    that it has no job and takes none: before it does, it writes another heartbeat.

    Returns:
        Whether it is asked to take no more jobs for now.
    """
    names = [keys.heartbeats(queue), keys.retiring(queue)]
    bodies = [encode(replace(heartbeat, retiring=False)), encode(heartbeat)]
    arguments: list[str | bytes | int] = [heartbeat.worker, HASH_LIFE_S * 1000, *bodies, int(RETIREMENT_S * 1000)]
    marked = await _WRITE(redis, names, arguments)
    return bool(marked == 1)


async def read(redis: Redis, queue: str) -> list[Heartbeat]:
    """The heartbeats of the workers of ``queue`` that live."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.time()
    pipeline.hgetall(keys.heartbeats(queue))
    (seconds, _), fields_ = await pipeline.execute()
    beats = [beat for worker, value in fields_.items() if (beat := decode(worker, value))]
    return [beat for beat in beats if abs(seconds * 1000 - beat.at_ms) <= STALE_AFTER_S * 1000]


async def remove(redis: Redis, queue: str, worker: str) -> None:
    """Say that the worker is gone."""
    with invalid_if_odd():
        await redis.hdel(keys.heartbeats(queue), worker)  # type: ignore[misc]
