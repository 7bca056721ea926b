"""``arqube jobs``: the jobs of a queue and their tries, to be looked at, cancelled or run again."""

from __future__ import annotations

from typing import Any, Final

import click
from redis.asyncio import Redis

from arqube_local.cli import jobs_output as output
from arqube_local.cli.output_options import output_options
from arqube_local.cli.queue_target import QueueOptions, queue_options, run
from arqube_local.text import printable, to_json
from arqube_queue import heartbeat, job_records
from arqube_queue import jobs as work
from arqube_queue.answers import now_ms
from arqube_queue.dead_letters import Outcome as RetryOutcome
from arqube_queue.job_records import Cursor, JobFilter, JobRecord, JobState
from arqube_queue.jobs import CancelOutcome

SHOWN: Final = 50
"""Jobs that ``list`` shows unless told otherwise."""

_CANCELLED: Final = {
    CancelOutcome.RUNNING: "its worker is asked to cancel it",
    CancelOutcome.WAITING: "the next free worker ends it without running it",
    CancelOutcome.ENDED: "it has ended already",
    CancelOutcome.MISSING: "nothing is known of it",
}
_RETRIED: Final = {
    RetryOutcome.RETRIED: "it waits for a worker again",
    RetryOutcome.MISSING: "it is no dead letter: only jobs that have failed for good can be run again",
    RetryOutcome.WITHOUT_PAYLOAD: "its payload had expired, so nothing is left to run",
    RetryOutcome.QUEUED: "it is queued or runs",
}


@click.group()
def jobs() -> None:
    """Look at the jobs of a queue and their tries, cancel them, or run them again.

    Exits with 1 when something that was asked for could not be done, and with 2 when the command itself is wrong.
    """


@jobs.command("list")
@queue_options
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in JobState]),
    multiple=True,
    help="Those in this state; may be given several times.",
)
@click.option("--function", metavar="NAME", help="Those of this function.")
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN, show_default=True, help="Show so many at most.")
@output_options
def list_(options: QueueOptions, states: tuple[str, ...], function: str | None, limit: int, as_json: bool) -> None:
    """List jobs: those that run or wait in the order of their due times, then ended ones, newest first."""
    chosen = JobFilter(frozenset(map(JobState, states)), function)
    run(options, lambda redis, queue: _list(redis, queue, chosen, limit, as_json))


async def _list(redis: Redis, queue: str, chosen: JobFilter, limit: int, as_json: bool) -> None:
    shown: list[JobRecord] = []
    after: Cursor | None = None
    while True:
        page = await job_records.list_jobs(redis, queue, chosen, after=after, limit=limit - len(shown))
        shown += page.jobs
        after = page.cursor
        if after is None or len(shown) == limit:
            break
    if as_json:
        click.echo(to_json([output.document(job) for job in shown]))
    elif shown:
        click.echo(output.table(shown, await now_ms(redis)))
    else:
        click.echo(f"no jobs in {queue}" if chosen == job_records.ALL else f"no such jobs in {queue}", err=True)
    if after is not None:
        click.echo(f"the first {len(shown)} of those asked for; --limit shows more", err=True)


@jobs.command()
@queue_options
@click.argument("job_id")
@output_options
def show(options: QueueOptions, job_id: str, as_json: bool) -> None:
    """Show one job with its tries."""
    found, now = run(options, lambda redis, queue: _read(redis, queue, job_id))
    if found is None:
        raise click.ClickException(f"nothing is known of job {job_id!r} in this queue: it never was, or was long ago")
    click.echo(to_json(output.document(found)) if as_json else output.details(found, now))


async def _read(redis: Redis, queue: str, job_id: str) -> tuple[JobRecord | None, int]:
    return await job_records.read_job(redis, queue, job_id), await now_ms(redis)


_job_ids = click.argument("job_ids", metavar="JOB_ID...", nargs=-1, required=True)


@jobs.command()
@queue_options
@_job_ids
@output_options
def cancel(options: QueueOptions, job_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel jobs that wait or run, as arq's Job.abort does: workers with allow_abort_jobs heed it."""
    outcomes, heeded = run(options, lambda redis, queue: _cancel(redis, queue, job_ids))
    refused = {CancelOutcome.ENDED, CancelOutcome.MISSING}
    _tell(outcomes, _CANCELLED, refused, as_json)
    if not heeded and refused - set(outcomes.values()):
        click.echo("no worker of the queue heeds this: set allow_abort_jobs = True in its WorkerSettings", err=True)
    if refused & set(outcomes.values()):
        raise SystemExit(1)


async def _cancel(redis: Redis, queue: str, job_ids: tuple[str, ...]) -> tuple[dict[str, CancelOutcome], bool]:
    """What became of each, and whether a worker heeds it: one that is still to come may."""
    outcomes = {job_id: await work.cancel(redis, queue, job_id) for job_id in job_ids}
    workers = await heartbeat.read(redis, queue)
    return outcomes, not workers or any(worker.cancels for worker in workers)


@jobs.command()
@queue_options
@_job_ids
@output_options
def retry(options: QueueOptions, job_ids: tuple[str, ...], as_json: bool) -> None:
    """Put jobs that have failed for good back into their queue, due now, with all their tries."""
    outcomes = run(options, lambda redis, queue: _retry(redis, queue, job_ids))
    refused = set(RetryOutcome) - {RetryOutcome.RETRIED}
    _tell(outcomes, _RETRIED, refused, as_json)
    if refused & set(outcomes.values()):
        raise SystemExit(1)


async def _retry(redis: Redis, queue: str, job_ids: tuple[str, ...]) -> dict[str, RetryOutcome]:
    return {job_id: await work.retry(redis, queue, job_id) for job_id in job_ids}


def _tell(outcomes: dict[str, Any], words: dict[Any, str], refused: set[Any], as_json: bool) -> None:
    if as_json:
        click.echo(to_json({job_id: outcome.value for job_id, outcome in outcomes.items()}))
        return
    for job_id, outcome in outcomes.items():
        click.echo(f"{printable(job_id)}: {words[outcome]}", err=outcome in refused)
