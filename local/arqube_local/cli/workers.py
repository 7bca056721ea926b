"""``arqube workers``: what the living workers of a queue say of themselves."""

from __future__ import annotations

from typing import Any

import click
from redis.asyncio import Redis

from arqube_local.cli.output_options import output_options
from arqube_local.cli.queue_target import QueueOptions, queue_options, run
from arqube_local.text import aligned, printable, timestamp, to_json
from arqube_queue import heartbeat
from arqube_queue.model import Heartbeat

_COLUMNS = ("WORKER", "STATE", "BUSY", "SLOTS", "STARTED", "SUCCEEDED", "FAILED", "RETRIED", "MEAN RUN")


@click.command()
@queue_options
@output_options
def workers(options: QueueOptions, as_json: bool) -> None:
    """Tell what the workers of a queue do; plain arq's say nothing of themselves."""
    queue, found = run(options, _read)
    if as_json:
        click.echo(to_json([_document(beat) for beat in found]))
    elif found:
        click.echo(aligned([_COLUMNS, *map(_row, found)]))
    else:
        click.echo(f"no worker of ours lives in {queue}", err=True)


async def _read(redis: Redis, queue: str) -> tuple[str, list[Heartbeat]]:
    return queue, sorted(await heartbeat.read(redis, queue), key=lambda beat: beat.worker)


def state(beat: Heartbeat) -> str:
    """What a worker does, in a word."""
    if beat.draining:
        return "draining"
    if beat.retiring:
        return "retiring"
    return "working" if beat.busy else "idle"


def _row(beat: Heartbeat) -> tuple[str, ...]:
    ended = sum(beat.finished.values())
    return (
        printable(beat.worker),
        state(beat),
        str(beat.busy),
        str(beat.slots),
        str(beat.started),
        *(str(beat.finished.get(outcome, 0)) for outcome in ("succeeded", "failed", "retried")),
        f"{beat.run_seconds / ended:.3g}s" if ended else "",
    )


def _document(beat: Heartbeat) -> dict[str, Any]:
    return {
        "worker": beat.worker,
        "state": state(beat),
        "busy": beat.busy,
        "slots": beat.slots,
        "started": beat.started,
        "finished": dict(beat.finished),
        "run_seconds": beat.run_seconds,
        "functions": list(beat.functions),
        "cron_runs": {name: timestamp(due) for name, due in beat.cron_runs.items()},
        "heeds_cancels": beat.cancels,
        "seen_at": timestamp(beat.at_ms),
    }
