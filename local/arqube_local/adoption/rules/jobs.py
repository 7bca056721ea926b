"""Rules about the functions that are run as jobs, and what they call."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from typing import Final

from arqube_local.adoption.findings import Finding, Level
from arqube_local.adoption.jobs import Job, calls, inside, reached
from arqube_local.adoption.look import Look
from arqube_local.adoption.names import Found, Missing, Scope, external_name, resolve
from arqube_local.adoption.values import argument, known
from arqube_local.adoption.worker_settings import WorkerSettings

_RETRY: Final = {"arq.Retry", "arq.worker.Retry"}
_POLICY: Final = "arqube_worker.retries."
_BLOCKING: Final = {
    "time.sleep": "await asyncio.sleep() in its place",
    "subprocess.run": "use asyncio.create_subprocess_exec() in its place",
    "subprocess.call": "use asyncio.create_subprocess_exec() in its place",
    "subprocess.check_call": "use asyncio.create_subprocess_exec() in its place",
    "subprocess.check_output": "use asyncio.create_subprocess_exec() in its place",
    "os.system": "use asyncio.create_subprocess_shell() in its place",
    "smtplib.SMTP": "use aiosmtplib in its place, or await asyncio.to_thread() around it",
    "smtplib.SMTP_SSL": "use aiosmtplib in its place, or await asyncio.to_thread() around it",
    "psycopg2.connect": "use asyncpg or psycopg's AsyncConnection in its place",
    "psycopg.connect": "use psycopg's AsyncConnection in its place",
    "pymysql.connect": "use aiomysql in its place",
    "pymongo.MongoClient": "use pymongo's AsyncMongoClient in its place",
    "redis.Redis": "use redis.asyncio in its place; ctx['redis'] is arq's own",
    "redis.StrictRedis": "use redis.asyncio in its place; ctx['redis'] is arq's own",
    "redis.from_url": "use redis.asyncio in its place; ctx['redis'] is arq's own",
    "urllib.request.urlopen": "use httpx.AsyncClient in its place, or await asyncio.to_thread() around it",
    "input": "take the answer as an argument of the job",
}
_HTTP: Final = {"get", "post", "put", "patch", "delete", "head", "options", "request", "Session"}
_CLIENTS: Final = {"httpx.AsyncClient", "httpx.Timeout", "aiohttp.ClientTimeout", "aiohttp.ClientSession"}
_CANCELLATIONS: Final = {"BaseException", "asyncio.CancelledError", "asyncio.exceptions.CancelledError"}
_CRON_PARTS: Final = ("month", "day", "weekday", "hour")


def function_missing(look: Look) -> Iterator[Finding]:
    """Entries whose function is not there."""
    for job in look.all_jobs:
        if isinstance(job.function, Missing):
            yield Finding(
                "function-missing",
                Level.ERROR,
                job.place,
                f"{job.function.module.path} has no {job.function.name!r}, so the settings cannot be imported",
                "import or write it, or take it out of the list",
            )


def no_coroutine(look: Look) -> Iterator[Finding]:
    """Plain functions, which arq refuses, and functions that cannot take ctx."""
    for job in look.all_jobs:
        function = job.body
        if function is None:
            continue
        if isinstance(function.node, ast.FunctionDef) and not function.node.decorator_list:
            yield Finding(
                "no-coroutine",
                Level.ERROR,
                function.place,
                f"{function.node.name} is no coroutine function, so a worker refuses to start",
                "write async def; what blocks goes into await asyncio.to_thread(...)",
            )
        elif isinstance(function.node, ast.AsyncFunctionDef) and not _takes_ctx(function.node.args):
            yield Finding(
                "no-ctx",
                Level.ERROR,
                function.place,
                f"{function.node.name} takes no argument, and is called with ctx: each of its jobs would fail",
                f"write async def {function.node.name}(ctx, ...)",
            )


def blocking_call(look: Look) -> Iterator[Finding]:
    """Calls that stop the whole worker while they last."""
    for function in look.run_by_jobs:
        for call in calls(function):
            name = external_name(function.scope, call.func)
            library, _, last = name.partition(".")
            if library in {"requests", "httpx"} and last in _HTTP:
                remedy = "use httpx.AsyncClient in its place, or await asyncio.to_thread() around it"
            elif name in _BLOCKING:
                remedy = _BLOCKING[name]
            else:
                continue
            yield Finding(
                "blocking-call",
                Level.WARNING,
                function.scope.at(call),
                f"{name}() blocks the loop: all other jobs of the worker stand still meanwhile",
                remedy,
            )


def endless_request(look: Look) -> Iterator[Finding]:
    """Clients that wait for ever."""
    for function in look.run_by_jobs:
        for call in calls(function):
            name = external_name(function.scope, call.func)
            if name in _CLIENTS and any(
                each.arg in {"timeout", "total"} and isinstance(each.value, ast.Constant) and each.value.value is None
                for each in call.keywords
            ):
                yield Finding(
                    "endless-request",
                    Level.WARNING,
                    function.scope.at(call),
                    f"{name}() without a timeout holds its slot until the job's own timeout",
                    "give it a timeout of some seconds, and retry",
                )


def swallowed_cancellation(look: Look) -> Iterator[Finding]:
    """Handlers that keep a job running past its timeout, an abort or a stop."""
    for function in look.run_by_jobs:
        for node in inside(function):
            if not isinstance(node, ast.ExceptHandler) or any(isinstance(each, ast.Raise) for each in ast.walk(node)):
                continue
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {"BaseException" if each is None else external_name(function.scope, each) for each in caught}
            if names & _CANCELLATIONS:
                yield Finding(
                    "swallowed-cancellation",
                    Level.WARNING,
                    function.scope.at(node),
                    "this swallows cancellation, so timeouts, aborts and stops do not end the job",
                    "catch Exception in its place, or raise again at the handler's end",
                )


def tries(look: Look) -> Iterator[Finding]:
    """Numbers of tries that do not go with what the jobs raise."""
    for settings in look.settings:
        most = settings.known("max_tries")
        for job in look.jobs(settings).all:
            if job.body is None:
                continue
            allowed = job.option("max_tries", 1 if job.cron else most)
            raises = any(_raises_retry(each) for each in reached(job.body))
            if raises and allowed == 1:
                yield Finding(
                    "retry-without-tries",
                    Level.ERROR,
                    job.place,
                    f"{job.name} raises Retry and has one try{' as a cron job' if job.cron else ''}: it fails for good"
                    " the first time",
                    "allow more: func(..., max_tries=5) or cron(..., max_tries=5)",
                )
            elif isinstance(allowed, int) and allowed > 1 and not raises and not _has_policy(settings, job):
                yield Finding(
                    "tries-without-retry",
                    Level.NOTE,
                    job.place,
                    f"{job.name} has {allowed} tries and never raises Retry: any exception is final all the same",
                    "raise Retry(defer=...) where another try may help, or use arqube_worker.retries",
                )


def cron_jobs(look: Look) -> Iterator[Finding]:
    """Cron jobs that hide each other, or run more often than they look."""
    for settings in look.settings:
        crons = [job for job in look.jobs(settings).all if job.cron]
        names = Counter(job.name for job in crons)
        for job in crons:
            if names[job.name] > 1 and job is not next(each for each in crons if each.name == job.name):
                yield Finding(
                    "cron-names",
                    Level.ERROR,
                    job.place,
                    f"another cron job is named {job.name!r} too: one of them hides the other",
                    "give it a name of its own: cron(..., name=...)",
                )
            if job.option("unique") is False:
                yield Finding(
                    "cron-not-unique",
                    Level.WARNING,
                    job.place,
                    f"{job.name} has unique=False, so each worker runs it at each time: as often as there are pods",
                    "leave unique out, unless each pod really must run it",
                )
            given = [part for part in _CRON_PARTS if part in job.options]
            if given and "minute" not in job.options:
                yield Finding(
                    "cron-each-minute",
                    Level.WARNING,
                    job.place,
                    f"{job.name} names {' and '.join(given)} and no minute, so it runs in every minute of that time",
                    "add minute=0",
                )


def writes_into_the_image(look: Look) -> Iterator[Finding]:
    """Files below a root file system that cannot be written."""
    for module in look.project.modules.values():
        scope = Scope(look.project, module)
        for call in (node for node in ast.walk(module.tree) if isinstance(node, ast.Call)):
            name = external_name(scope, call.func)
            if name.startswith("logging.") and name.endswith("FileHandler"):
                path, what = argument(call, 0, "filename"), f"{name}()"
            elif name == "logging.basicConfig" and (path := argument(call, 99, "filename")) is not None:
                what = "logging.basicConfig(filename=...)"
            else:
                continue
            if not str(known(scope, path, "")).startswith("/tmp/"):  # noqa: S108 - a path that is looked for
                yield Finding(
                    "writes-into-the-image",
                    Level.WARNING,
                    module.at(call),
                    f"{what} writes a file, and the workers' root file system is read-only: importing it may fail",
                    "log to the standard output, or write below /tmp or a volume of podTemplate",
                )


def _takes_ctx(arguments: ast.arguments) -> bool:
    return bool(arguments.posonlyargs or arguments.args or arguments.vararg)


def _raises_retry(function: Found) -> bool:
    return any(
        external_name(function.scope, node.exc.func if isinstance(node.exc, ast.Call) else node.exc) in _RETRY
        for node in inside(function)
        if isinstance(node, ast.Raise) and node.exc is not None
    )


def _has_policy(settings: WorkerSettings, job: Job) -> bool:
    """Whether ordinary exceptions run the job again, by ``arqube_worker.retries``."""
    if settings.get("retry_policy") is not None:
        return True
    function = job.body
    for decorator in getattr(function.node, "decorator_list", []) if function else []:
        found = resolve(function.scope, decorator) if function else None
        made = found.node if isinstance(found, Found) else None  # policy = RetryPolicy(...), then @policy
        if isinstance(found, Found) and isinstance(made, ast.Call):
            named = external_name(found.scope, made.func)
            if named.startswith(_POLICY):
                return True
    return False


RULES: Final = (
    function_missing,
    no_coroutine,
    blocking_call,
    endless_request,
    swallowed_cancellation,
    tries,
    cron_jobs,
    writes_into_the_image,
)
