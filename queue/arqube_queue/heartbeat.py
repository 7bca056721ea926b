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
from arqube_queue.model import Heartbeat

INTERVAL_S: Final = 1.0
STALE_AFTER_S: Final = 10.0
"""A worker that has not written for so long is taken for dead."""
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
        known["functions"] = tuple(map(str, known.get("functions", ())))
        known["finished"] = {str(outcome): int(count) for outcome, count in known.get("finished", {}).items()}
        known["cron_runs"] = {str(name): int(due) for name, due in known.get("cron_runs", {}).items()}
        for name in ("busy", "slots", "started"):
            known[name] = int(known.get(name, 0))
        known["run_seconds"] = float(known.get("run_seconds", 0))
        for name in ("draining", "retiring", "cancels"):
            known[name] = bool(known.get(name, False))
        return Heartbeat(worker=worker.decode(), at_ms=int(stamp), **known)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


async def write(redis: Redis, queue: str, heartbeat: Heartbeat) -> bool:
    """Say that the worker lives, and how it does.

    That it retires stands in Redis only as long as it is asked to. So ``retiring`` and ``busy`` 0 in a snapshot mean
    that it has no job and takes none: before it does, it writes another heartbeat.

    Returns:
        Whether it is asked to take no more jobs for now.
    """
    names = [keys.heartbeats(queue), keys.retiring(queue)]
    bodies = [encode(replace(heartbeat, retiring=False)), encode(heartbeat)]
    marked: int = await _WRITE(redis, names, [heartbeat.worker, HASH_LIFE_S * 1000, *bodies])
    return bool(marked)


async def read(redis: Redis, queue: str) -> list[Heartbeat]:
    """The heartbeats of the workers of ``queue`` that live."""
    pipeline = redis.pipeline(transaction=True)
    pipeline.time()
    pipeline.hgetall(keys.heartbeats(queue))
    (seconds, _), fields_ = await pipeline.execute()
    beats = [beat for worker, value in fields_.items() if (beat := decode(worker, value))]
    return [beat for beat in beats if seconds * 1000 - beat.at_ms <= STALE_AFTER_S * 1000]


async def remove(redis: Redis, queue: str, worker: str) -> None:
    """Say that the worker is gone."""
    await redis.hdel(keys.heartbeats(queue), worker)  # type: ignore[misc]
