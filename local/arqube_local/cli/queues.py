"""``arqube queues``: what waits and runs in queues, and how many workers they have."""

from __future__ import annotations

from typing import Any

import click
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from arqube_local.cli.output_options import output_options
from arqube_local.cli.queue_target import QueueOptions, queue_options, run
from arqube_local.text import age, aligned, printable, to_json
from arqube_queue.model import QueueSnapshot
from arqube_queue.snapshot import SnapshotQuery, read_snapshots

_COLUMNS = ("QUEUE", "WAITING", "RUNNING", "DEFERRED", "OLDEST WAIT", "WORKERS", "BUSY", "SLOTS", "DEAD")


@click.command()
@queue_options
@click.argument("names", metavar="[NAME]...", nargs=-1)
@output_options
def queues(options: QueueOptions, names: tuple[str, ...], as_json: bool) -> None:
    """Tell what waits and runs in a queue and how many workers it has; NAMEs are more queues of the same Redis."""
    found = run(options, lambda redis, queue: _read(redis, list(dict.fromkeys(names or (queue,)))))
    if as_json:
        click.echo(to_json([_document(name, snapshot) for name, snapshot in found.items()]))
    else:
        click.echo(aligned([_COLUMNS, *(_row(name, snapshot) for name, snapshot in found.items())]))


async def _read(redis: Redis, names: list[str]) -> dict[str, QueueSnapshot]:
    snapshots = await read_snapshots(redis, [SnapshotQuery(name) for name in names])
    found = {}
    for name, snapshot in zip(names, snapshots, strict=True):
        if isinstance(snapshot, ResponseError):
            raise click.ClickException(f"queue {name!r} cannot be read: {snapshot}")
        found[name] = snapshot
    return found


def _row(name: str, snapshot: QueueSnapshot) -> tuple[str, ...]:
    return (
        printable(name),
        str(snapshot.waiting),
        str(snapshot.running),
        str(snapshot.deferred),
        age(int(snapshot.oldest_wait_s)),
        str(len(snapshot.heartbeats)),
        str(sum(beat.busy for beat in snapshot.heartbeats)),
        str(sum(beat.slots for beat in snapshot.heartbeats)),
        str(snapshot.dead_letters),
    )


def _document(name: str, snapshot: QueueSnapshot) -> dict[str, Any]:
    return {
        "queue": name,
        "waiting": snapshot.waiting,
        "running": snapshot.running,
        "deferred": snapshot.deferred,
        "oldest_wait_seconds": snapshot.oldest_wait_s,
        "next_due_seconds": snapshot.next_due_s,
        "workers": len(snapshot.heartbeats),
        "busy": sum(beat.busy for beat in snapshot.heartbeats),
        "slots": sum(beat.slots for beat in snapshot.heartbeats),
        "dead_letters": snapshot.dead_letters,
    }
