"""``arqube dlq``: the jobs of a queue that have failed for good, to be looked at, run again or forgotten."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Final

import click
from redis.asyncio import Redis

from arqube_local.cli import dlq_output as output
from arqube_local.cli.output_options import output_options
from arqube_local.cli.queue_target import QueueOptions, queue_options, run
from arqube_local.text import printable, to_json
from arqube_operator.api.duration import InvalidDurationError, parse_age
from arqube_queue import dead_letters
from arqube_queue.answers import now_ms
from arqube_queue.dead_letters import REASONS, DeadLetter, Filter, Outcome

SHOWN: Final = 50
"""Letters that ``list`` shows unless told otherwise."""

_WHY: Final = {
    Outcome.MISSING: "there is no such dead letter",
    Outcome.WITHOUT_PAYLOAD: "its payload had expired, so nothing is left to run",
    Outcome.QUEUED: "a job of the same id is queued or runs",
}


@dataclass(frozen=True)
class Moment:
    """A time that was given as Unix milliseconds, or as milliseconds before now."""

    ms: int
    before_now: bool

    def unix_ms(self, now_ms: int) -> int:
        """The moment in Unix milliseconds."""
        return now_ms - self.ms if self.before_now else self.ms


class MomentType(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no argument for it
    """Reads ``14d``, ``36h`` or ``1h30m`` as so long ago, and ISO 8601 as a time, in this machine's zone by default."""

    name = "age|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        """The moment, or click's error for the option."""
        try:
            return Moment(int(parse_age(value) * 1000), before_now=True)
        except InvalidDurationError:
            pass
        try:
            return Moment(int(datetime.fromisoformat(value).timestamp() * 1000), before_now=False)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is neither an age such as 7d, 36h or 90s, nor a time such as 2026-01-31T12:00Z.")


@dataclass(frozen=True)
class Choice:
    """Which letters the user means."""

    function: str | None
    reason: str | None
    error: str | None
    since: Moment | None
    until: Moment | None

    @property
    def everything(self) -> bool:
        """Whether nothing narrows it down."""
        return self == Choice(None, None, None, None, None)

    def filter(self, now_ms: int) -> Filter:
        """The choice at ``now_ms``, which is its end too: what dies later is not meant."""
        return Filter(
            function=self.function,
            reason=self.reason,
            error=self.error,
            since_ms=max(0, self.since.unix_ms(now_ms)) if self.since else 0,
            until_ms=min(now_ms, max(0, self.until.unix_ms(now_ms))) if self.until else now_ms,
        )


def _choice_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the options that choose letters; it receives them as ``choice: Choice``."""

    @wraps(command)
    def collected(
        function: str | None,
        reason: str | None,
        error: str | None,
        since: Moment | None,
        until: Moment | None,
        **others: Any,
    ) -> Any:
        return command(choice=Choice(function, reason, error, since, until), **others)

    for option in reversed(
        (
            click.option("--function", metavar="NAME", help="Those of this function."),
            click.option("--reason", type=click.Choice(REASONS), help="Those that died of this."),
            click.option("--error", metavar="TEXT", help="Those whose error holds this text."),
            click.option("--since", type=MomentType(), help="Those that died since: 2h (ago), or 2026-01-31T12:00Z."),
            click.option(
                "--until", "--older-than", "until", type=MomentType(), help="Those that died before: 7d (ago)."
            ),
        )
    ):
        collected = option(collected)
    return collected


_job_ids = click.argument("job_ids", metavar="[JOB_ID]...", nargs=-1)
_all = click.option("--all", "all_", is_flag=True, help="Every dead letter of the queue.")
_dry_run = click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")


@click.group()
def dlq() -> None:
    """Look at jobs that have failed for good, run them again, or forget them.

    Exits with 1 when something that was asked for could not be done, and with 2 when the command itself is wrong.
    """


@dlq.command("list")
@queue_options
@_choice_options
@click.option("--oldest-first", is_flag=True, help="In the order of their deaths; else the newest come first.")
@click.option("--limit", type=click.IntRange(min=1), default=SHOWN, show_default=True, help="Show so many at most.")
@_all
@output_options
def list_(options: QueueOptions, choice: Choice, oldest_first: bool, limit: int, all_: bool, as_json: bool) -> None:
    """List dead letters."""
    run(options, lambda redis, queue: _list(redis, queue, choice, oldest_first, None if all_ else limit, as_json))


async def _list(redis: Redis, queue: str, choice: Choice, oldest_first: bool, limit: int | None, as_json: bool) -> None:
    now = await now_ms(redis)
    shown: list[DeadLetter] = []
    more = False
    pages = dead_letters.read_pages(redis, queue, choice.filter(now), newest_first=not oldest_first)
    async for page in pages:
        shown += page.letters
        if limit is not None and (len(shown) > limit or (len(shown) == limit and page.cursor is not None)):
            more = True
            break
    shown = shown[:limit]
    if as_json:
        click.echo(to_json([output.document(letter) for letter in shown]))
    elif shown:
        click.echo(output.table(shown, now))
    else:
        click.echo(f"no dead letters in {queue}" if choice.everything else f"no such dead letters in {queue}", err=True)
    if more:
        kept = await dead_letters.count(redis, queue)
        click.echo(
            f"the first {len(shown)} of those asked for; {queue} has {kept} in all. --all shows every one", err=True
        )


@dlq.command()
@queue_options
@click.argument("job_id")
@output_options
def show(options: QueueOptions, job_id: str, as_json: bool) -> None:
    """Show one dead letter with its traceback; with -o json its payload too, in base64."""
    remains = run(options, lambda redis, queue: dead_letters.read(redis, queue, job_id))
    if remains is None:
        raise click.ClickException(f"there is no dead letter of job {job_id!r}")
    click.echo(to_json(output.whole_document(remains)) if as_json else output.details(remains))


@dlq.command()
@queue_options
@_job_ids
@_choice_options
@_all
@_dry_run
@output_options
def retry(
    options: QueueOptions, job_ids: tuple[str, ...], choice: Choice, all_: bool, dry_run: bool, as_json: bool
) -> None:
    """Put jobs back into their queue, due now, with all their tries: those named, those chosen, or all.

    A job is put back whole or not at all. It stays where it is when its payload had expired, or when another job of
    its id is queued.
    """
    _check_choice(job_ids, choice, all_)
    if job_ids:
        outcomes = run(options, lambda redis, queue: dead_letters.retry(redis, queue, job_ids, dry_run=dry_run))
        for job_id, outcome in outcomes.items():
            if outcome is not Outcome.RETRIED:
                click.echo(f"{printable(job_id)}: {_WHY[outcome]}", err=True)
        counts = Counter(outcomes.values())
    else:
        counts = run(options, lambda redis, queue: _retry_chosen(redis, queue, choice, dry_run))
        for outcome in (Outcome.WITHOUT_PAYLOAD, Outcome.QUEUED):
            if counts[outcome]:
                click.echo(f"{counts[outcome]} left: {_WHY[outcome]}", err=True)
    if as_json:
        told = {outcome.value: counts[outcome] for outcome in Outcome}
        click.echo(to_json({"dry_run": dry_run, **told}))
    else:
        click.echo(f"{'would retry' if dry_run else 'retried'} {counts[Outcome.RETRIED]}")
    refused = counts[Outcome.WITHOUT_PAYLOAD] + counts[Outcome.QUEUED] + (counts[Outcome.MISSING] if job_ids else 0)
    if refused:
        raise SystemExit(1)


async def _retry_chosen(redis: Redis, queue: str, choice: Choice, dry_run: bool) -> Counter[Outcome]:
    counts: Counter[Outcome] = Counter()
    chosen = choice.filter(await now_ms(redis))
    async for letters in _in_batches(redis, queue, chosen, "Looking" if dry_run else "Retrying"):
        job_ids = [letter.job_id for letter in letters]
        outcomes = await dead_letters.retry(redis, queue, job_ids, until_ms=chosen.until_ms, dry_run=dry_run)
        counts.update(outcomes.values())
    return counts


@dlq.command()
@queue_options
@_job_ids
@_choice_options
@_all
@_dry_run
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_options
def purge(
    options: QueueOptions,
    job_ids: tuple[str, ...],
    choice: Choice,
    all_: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget dead letters for good: those named, those chosen, or all."""
    _check_choice(job_ids, choice, all_)
    purged = run(options, lambda redis, queue: _purge(redis, queue, job_ids, choice, dry_run, yes))
    if as_json:
        click.echo(to_json({"dry_run": dry_run, "purged": purged}))
    else:
        click.echo(f"{'would purge' if dry_run else 'purged'} {purged}")
    if job_ids and purged < len(set(job_ids)):
        click.echo(f"{len(set(job_ids)) - purged} of those named are no dead letters", err=True)
        raise SystemExit(1)


async def _purge(redis: Redis, queue: str, job_ids: tuple[str, ...], choice: Choice, dry_run: bool, yes: bool) -> int:
    chosen = choice.filter(await now_ms(redis))
    if dry_run or not yes:
        found = await _count(redis, queue, job_ids, chosen)
        if dry_run or not found:
            return found
        click.confirm(f"Forget {found} dead letters of {queue} for good?", abort=True, err=True)
    if job_ids:
        return await dead_letters.purge(redis, queue, job_ids)
    if chosen.by_time_alone:
        return await _purge_by_time(redis, queue, chosen)
    purged = 0
    async for letters in _in_batches(redis, queue, chosen, "Purging"):
        names = [letter.job_id for letter in letters]
        purged += await dead_letters.purge(redis, queue, names, until_ms=chosen.until_ms)
    return purged


async def _purge_by_time(redis: Redis, queue: str, chosen: Filter) -> int:
    purged = 0
    total = await dead_letters.count(redis, queue, since_ms=chosen.since_ms, until_ms=chosen.until_ms)
    with _progress("Purging", total) as bar:
        while done := await dead_letters.purge_oldest(redis, queue, since_ms=chosen.since_ms, until_ms=chosen.until_ms):
            purged += done
            bar.update(done)
    return purged


async def _count(redis: Redis, queue: str, job_ids: tuple[str, ...], chosen: Filter) -> int:
    """How many letters are meant."""
    if job_ids:
        return sum([await dead_letters.read(redis, queue, job_id) is not None for job_id in set(job_ids)])
    if chosen.by_time_alone:
        return await dead_letters.count(redis, queue, since_ms=chosen.since_ms, until_ms=chosen.until_ms)
    return sum([len(letters) async for letters in _in_batches(redis, queue, chosen, "Looking")])


async def _in_batches(redis: Redis, queue: str, chosen: Filter, label: str) -> AsyncIterator[tuple[DeadLetter, ...]]:
    """The letters that are meant, oldest first, with a progress bar over all that are looked at."""
    total = await dead_letters.count(redis, queue, since_ms=chosen.since_ms, until_ms=chosen.until_ms)
    with _progress(label, total) as bar:
        async for page in dead_letters.read_pages(redis, queue, chosen, newest_first=False):
            if page.letters:
                yield page.letters
            bar.update(page.seen)


def _progress(label: str, total: int) -> Any:
    return click.progressbar(length=total, label=label, file=sys.stderr, show_pos=True)


def _check_choice(job_ids: tuple[str, ...], choice: Choice, all_: bool) -> None:
    ways = [bool(job_ids), not choice.everything, all_]
    if sum(ways) != 1:
        raise click.UsageError("Say which in one way: job ids, or filters such as --function and --until, or --all.")
