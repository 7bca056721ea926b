"""``arqube record``: the arrivals of a live queue, as a load that ``arqube simulate`` replays."""

from __future__ import annotations

import asyncio
import csv
import signal
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Final

import click
from redis.asyncio import Redis

from arqube_local.cli.queue_target import QueueOptions, run
from arqube_local.record.changes import RefusedError
from arqube_local.record.follow import Follower
from arqube_local.record.recording import Arrival
from arqube_operator.api.duration import InvalidDurationError, parse_age
from arqube_queue import environment as env

COLUMNS: Final = ("at_s", "due_s", "run_s")
"""As ``arqube simulate --load`` reads them."""
_QUIET_EVERY_S: Final = 60.0
"""Without a terminal the progress is a line so often."""


class _Duration(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no argument for it
    """Reads ``90s``, ``1h30m`` and ``2d`` as seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The seconds, or click's error for the option."""
        if isinstance(value, float):
            return value
        try:
            seconds = parse_age(value)
        except InvalidDurationError:
            seconds = 0.0
        if not seconds:
            self.fail(f"{value!r} is no duration such as 90s, 15m, 1h or 2d.")
        return seconds


@click.command()
@click.argument("task_queue", metavar="[TASKQUEUE]", required=False)
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the TaskQueue.  [default: the context's]")
@click.option(
    "--kubeconfig", type=click.Path(exists=True, dir_okay=False), help="As kubectl's.  [default: $KUBECONFIG]"
)
@click.option(
    "--redis",
    "redis_url",
    metavar="URL",
    help=f"Redis of the queue, in place of a TaskQueue.  [default: ${env.REDIS_URL}]",
)
@click.option("--queue", metavar="NAME", help=f"Name of the queue there.  [default: ${env.QUEUE_NAME}, else arq:queue]")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    default=Path("arrivals.csv"),
    show_default=True,
    help="File to write, which must not exist; - is standard output.",
)
@click.option("--for", "for_s", type=_Duration(), help="How long, such as 1h.  [default: until Ctrl-C]")
def record(
    task_queue: str | None,
    namespace: str | None,
    kubeconfig: str | None,
    redis_url: str | None,
    queue: str | None,
    output: Path,
    for_s: float | None,
) -> None:
    """Record the arrivals of a live queue as CSV, for arqube simulate --load.

    The columns are at_s, when a job was enqueued, in seconds from the start; due_s, when it could start, where that was
    later; run_s, how long it ran, all its tries together. A job is written when it ends, so the lines are in no order.

    \b
    Exact:      which jobs came; at_s of jobs to be run at once; due_s.
    To some ms: at_s of deferred jobs; run_s, taken from outside.
    Empty:      run_s of jobs that had not ended, or were out of sight for a
                while. arqube simulate draws those.
    Estimated:  jobs that came and went within some ms, or while Redis was
                away, are known from the Arqube workers' counters alone, which
                they tell each second: such jobs of the first and the last
                second, and all of plain arq's workers, are missing; the times
                are spread, run_s is the mean of the workers.

    Jobs that wait at the start come first, at 0; those that run then are left out. Redis 6 or newer tells of the
    changes: it is not configured for it, workers and producers do not notice, and no payload is read. Jobs of all
    queues of the server are told, so others that are busy make the recorder busy, too.
    """
    if task_queue is not None and (redis_url is not None or queue is not None):
        raise click.UsageError("TASKQUEUE says which Redis and queue: leave out --redis and --queue.")
    if task_queue is None and (namespace is not None or kubeconfig is not None):
        raise click.UsageError("--namespace and --kubeconfig go with a TASKQUEUE.")
    options = QueueOptions(redis_url, queue, task_queue, namespace, kubeconfig)
    run(options, lambda redis, name: _record(redis, name, output, for_s))


async def _record(redis: Redis, queue: str, output: Path, for_s: float | None) -> None:
    with ExitStack() as stack:
        load = _Load(stack.enter_context(_opened(output)))
        progress = _Progress(queue)
        follower = progress.follower = Follower(redis, queue, load.write, progress.tell)
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            await follower.follow(stop, for_s)
        except RefusedError as error:
            raise click.ClickException(
                f"Redis does not tell of changes: {error}. It needs Redis 6 or newer, or Valkey, and a user who may"
                " call CLIENT TRACKING; proxies often do not let it pass"
            ) from None
        progress.end(load, output)


def _opened(output: Path) -> IO[Any]:
    try:
        return click.open_file(str(output), "x", encoding="utf-8")
    except FileExistsError:
        raise click.ClickException(f"{output} exists: remove it, or name another with -o") from None
    except OSError as error:
        raise click.ClickException(f"{output}: {error.strerror or error}") from error


class _Load:
    """The file: valid after each write."""

    def __init__(self, file: IO[Any]) -> None:
        self.written = 0
        self._file = file
        self._rows = csv.writer(file, lineterminator="\n")
        self._rows.writerow(COLUMNS)

    def write(self, arrivals: Iterable[Arrival]) -> None:
        """Add a line for each."""
        try:
            for arrival in arrivals:
                self._rows.writerow((_seconds(arrival.at_ms), _seconds(arrival.due_ms), _seconds(arrival.run_ms)))
                self.written += 1
            self._file.flush()
        except OSError as error:
            raise click.ClickException(f"the recording cannot be written: {error.strerror or error}") from error


def _seconds(ms: float | None) -> str:
    return "" if ms is None else f"{ms / 1000:.3f}"


class _Progress:
    """What is told on standard error: a line that is written over on a terminal, one a minute elsewhere."""

    follower: Follower

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._live = sys.stderr.isatty()
        self._told_ms = 0.0
        self._before = (0.0, 0)

    def tell(self, trouble: str | None) -> None:
        """Show how far it is."""
        follower = self.follower
        if trouble is not None:
            click.echo(f"{self._cleared()}{trouble}", err=True)
            return
        now_ms, arrived = follower.now_ms, follower.recording.arrived
        if not self._live and self._told_ms and now_ms - self._told_ms < _QUIET_EVERY_S * 1000:
            return
        self._told_ms = now_ms
        line = f"recording {self._queue}: {_clock(now_ms - follower.start_ms)}, {arrived} jobs"
        line += f", {follower.recording.open} of them not ended"
        if follower.recording.estimated:
            line += f", {follower.recording.estimated} estimated"
        click.echo(f"{self._cleared()}{line}", nl=not self._live, err=True)

    def end(self, load: _Load, output: Path) -> None:
        """Sum up, and tell how to go on."""
        follower = self.follower
        estimated = follower.recording.estimated
        told = f"{load.written} jobs in {_clock(follower.now_ms - follower.start_ms)}"
        told += f", {estimated} of them estimated" if estimated else ""
        click.echo(f"{self._cleared()}{told}", err=True)
        if load.written and str(output) != "-":
            click.echo(f"arqube simulate -f taskqueue.yaml --load {output}", err=True)

    def _cleared(self) -> str:
        return "\r\x1b[K" if self._live else ""


def _clock(ms: float) -> str:
    minutes, seconds = divmod(int(ms / 1000), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
