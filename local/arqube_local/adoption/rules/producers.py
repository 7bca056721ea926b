"""Rules about the code that enqueues jobs and awaits their results."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from arqube_local.adoption.findings import Finding, Level
from arqube_local.adoption.jobs import Job, inside
from arqube_local.adoption.look import Look
from arqube_local.adoption.names import Found, Scope, external_name
from arqube_local.adoption.values import argument, known
from arqube_local.adoption.worker_settings import WorkerSettings

_POOLS: Final = {"arq.create_pool", "arq.connections.create_pool"}
_RESULTS: Final = {"result", "result_info"}
_DEFAULT_QUEUE: Final = "arq:queue"
_DEFAULT_LIFE_MS: Final = 86_400_000
"""arq's ``expires_extra_ms``."""
_NAIVE: Final = {"datetime.datetime.now", "datetime.datetime.today"}


@dataclass(frozen=True, eq=False)
class _Enqueued:
    """A call of ``enqueue_job``."""

    scope: Scope
    call: ast.Call

    @property
    def name(self) -> str | None:
        """The function it asks for, if that stands there."""
        name = known(self.scope, argument(self.call, 0, "function"))
        return name if isinstance(name, str) else None

    def option(self, name: str) -> object:
        """The value of ``_defer_by`` and its like, where it is known."""
        return known(self.scope, argument(self.call, 99, name))


def enqueued_in_a_transaction(look: Look) -> Iterator[Finding]:
    """Jobs that may run before, or without, the commit that they belong to."""
    for function in look.functions:
        commits = [node.lineno for node in inside(function) if isinstance(node, ast.Call) and _calls(node, "commit")]
        within = {
            id(inner)
            for node in inside(function)
            if isinstance(node, ast.With | ast.AsyncWith) and any(_begins(item) for item in node.items)
            for inner in ast.walk(node)
        }
        for node in inside(function):
            if not isinstance(node, ast.Call) or not _calls(node, "enqueue_job"):
                continue
            if id(node) in within or any(line > node.lineno for line in commits):
                yield Finding(
                    "enqueued-before-commit",
                    Level.WARNING,
                    function.scope.at(node),
                    "the job is enqueued before its transaction commits: it may run before the row is there, and runs"
                    " all the same when the commit fails",
                    "enqueue by the outbox of arqube_worker.contrib.outbox, or after the commit",
                )


def unknown_function(look: Look) -> Iterator[Finding]:
    """Jobs that no settings object runs."""
    if not look.settings or not all(look.jobs(each).complete for each in look.settings):
        return
    names = {job.name for job in look.all_jobs}
    for each in _enqueued(look):
        if each.name is None or each.name in names:
            continue
        near = difflib.get_close_matches(each.name, names, n=1)
        yield Finding(
            "unknown-function",
            Level.WARNING,
            each.scope.at(each.call),
            f"no settings here run {each.name!r}: the job waits for a worker that does, and fails after five minutes",
            f"did you mean {near[0]!r}?" if near else "add it to functions, or leave it if another project runs it",
        )


def unread_queue(look: Look) -> Iterator[Finding]:
    """Jobs put into a queue that no settings object reads."""
    queues = {
        settings.known("queue_name", "") if settings.get("queue_name") else _DEFAULT_QUEUE for settings in look.settings
    }
    if not queues or "" in queues:  # one of them cannot be told
        return
    own = {_queue_of(scope, call) for scope, call in _pools(look)}
    for each in _enqueued(look):
        given = argument(each.call, 99, "_queue_name")
        queue = known(each.scope, given) if given is not None else next(iter(own)) if len(own) == 1 else None
        if isinstance(queue, str) and queue not in queues:
            yield Finding(
                "unread-queue",
                Level.WARNING,
                each.scope.at(each.call),
                f"the job goes into the queue {queue!r}, which no settings here read",
                f"use one of {', '.join(sorted(queues))}: by _queue_name, or by default_queue_name of create_pool",
            )


def pool_without_serializer(look: Look) -> Iterator[Finding]:
    """Producers that write what the workers cannot read."""
    custom = [settings for settings in look.settings if settings.get("job_serializer")]
    if not look.settings or (custom and len(custom) < len(look.settings)):
        return
    for scope, call in _pools(look):
        has = argument(call, 99, "job_serializer") is not None
        if has != bool(custom) and not any(each.arg is None for each in call.keywords):
            there, missing = ("the pool", "the settings") if has else ("the settings", "this pool")
            yield Finding(
                "pool-serializer",
                Level.ERROR,
                scope.at(call),
                f"{there} have a job_serializer and {missing} have none, so workers cannot read what is enqueued",
                "give the same job_serializer and job_deserializer to create_pool and to the settings",
            )


def expires_before_due(look: Look) -> Iterator[Finding]:
    """Deferred jobs whose payload is gone when they are due, and due times without a zone."""
    for each in _enqueued(look):
        expires, defer = each.option("_expires"), each.option("_defer_by")
        if isinstance(expires, int | float) and isinstance(defer, int | float) and expires <= defer:
            yield Finding(
                "expires-before-due",
                Level.ERROR,
                each.scope.at(each.call),
                f"the payload expires after {expires:g} s and the job is due after {defer:g} s, so it can never run",
                "make _expires longer than _defer_by: both count from now",
            )
        until = argument(each.call, 99, "_defer_until")
        for node in ast.walk(until) if until is not None else ():
            if isinstance(node, ast.Call) and _is_naive(each.scope, node):
                yield Finding(
                    "naive-due-time",
                    Level.WARNING,
                    each.scope.at(each.call),
                    "_defer_until has no time zone and counts as UTC, so the job is due hours early or late",
                    "use datetime.now(tz=timezone.utc), or _defer_by",
                )


def payload_life(look: Look) -> Iterator[Finding]:
    """Payloads that die while their jobs wait, as the worker does not know how long producers let them live."""
    lives = {settings.known("expires_extra_ms", _DEFAULT_LIFE_MS) for settings in look.settings}
    for scope, call in _pools(look):
        given = known(scope, argument(call, 99, "expires_extra_ms"), _DEFAULT_LIFE_MS)
        if lives and given not in lives:
            yield Finding(
                "payload-life",
                Level.WARNING,
                scope.at(call),
                f"this pool's payloads live {given / 1000:g} s beyond their due time and the settings say otherwise:"
                " the worker takes that for a wish, and lets payloads of waiting jobs expire",
                "set the same expires_extra_ms in the settings, or leave it out in both",
            )


def result_not_kept(look: Look) -> Iterator[Finding]:
    """Results that are awaited and never kept."""
    forgotten = {job.name for settings in look.settings for job in look.jobs(settings).all if _forgets(settings, job)}
    for function in look.functions if forgotten else ():
        for name, call in _awaited(function):
            if name in forgotten:
                yield Finding(
                    "result-not-kept",
                    Level.ERROR,
                    function.scope.at(call),
                    f"the result of {name} is awaited and keep_result is 0: it raises ResultNotFound",
                    "keep results for as long as somebody may ask: keep_result=60 at least",
                )


def _forgets(settings: WorkerSettings, job: Job) -> bool:
    """Whether a job's result is gone as soon as it is there; cron jobs' are by default, and nobody awaits those."""
    if job.cron or True in {job.option("keep_result_forever"), settings.known("keep_result_forever")}:
        return False
    return bool(job.option("keep_result", settings.known("keep_result")) == 0)


def _enqueued(look: Look) -> Iterator[_Enqueued]:
    return (_Enqueued(scope, call) for scope, call in look.calls if _calls(call, "enqueue_job"))


def _pools(look: Look) -> Iterator[tuple[Scope, ast.Call]]:
    for scope, call in look.calls:
        if external_name(scope, call.func) in _POOLS:
            yield scope, call


def _queue_of(scope: Scope, pool: ast.Call) -> str | None:
    """The queue of jobs that name none; None where it cannot be told."""
    given = argument(pool, 99, "default_queue_name")
    return _DEFAULT_QUEUE if given is None else known(scope, given)


def _calls(node: ast.AST, method: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method


def _is_naive(scope: Scope, call: ast.Call) -> bool:
    """Whether it makes a local time that does not say so: ``datetime.now()``."""
    return not call.args and not call.keywords and external_name(scope, call.func) in _NAIVE


def _begins(item: ast.withitem) -> bool:
    """Whether a ``with`` opens a transaction: ``session.begin()``, ``sessionmaker.begin()``, ``engine.begin()``."""
    return _calls(item.context_expr, "begin")


def _awaited(function: Found) -> Iterator[tuple[str, ast.Call]]:
    """The jobs that a function enqueues and whose results it awaits, each by its function's name."""
    jobs: dict[str, str] = {}
    for node in inside(function):
        value = node.value if isinstance(node, ast.Assign) else None
        value = value.value if isinstance(value, ast.Await) else value
        if isinstance(node, ast.Assign) and isinstance(value, ast.Call) and _calls(value, "enqueue_job"):
            name = _Enqueued(function.scope, value).name
            jobs |= {target.id: name for target in node.targets if isinstance(target, ast.Name) and name}
        asked = node.func if isinstance(node, ast.Call) else None
        if isinstance(node, ast.Call) and isinstance(asked, ast.Attribute) and asked.attr in _RESULTS:
            holder = asked.value
            if isinstance(holder, ast.Name) and holder.id in jobs:
                yield jobs[holder.id], node


RULES: Final = (
    enqueued_in_a_transaction,
    unknown_function,
    unread_queue,
    pool_without_serializer,
    expires_before_due,
    payload_life,
    result_not_kept,
)
