"""Rules about the settings objects themselves."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from arqube_local.adoption.findings import Finding, Level, Place
from arqube_local.adoption.look import Look
from arqube_local.adoption.redis_of import LOOPBACK, redis_of
from arqube_local.adoption.values import Known
from arqube_local.adoption.worker_settings import WorkerSettings
from arqube_worker.settings import DEFAULT_SHUTDOWN_TIMEOUT_S, OURS, PARAMETERS

DEFAULT_JOB_TIMEOUT_S: Final = 300.0
"""arq's."""


def broken_python(look: Look) -> Iterator[Finding]:
    """Files that are no Python: nothing in them could be looked at."""
    for place, problem in look.project.broken.items():
        yield Finding(
            "broken-python",
            Level.ERROR,
            place,
            f"this is no Python {sys.version_info.major}.{sys.version_info.minor}: {problem}",
            "mend it, or run arqube under the project's newer Python; nothing else of the file was looked at",
        )


def no_settings(look: Look) -> Iterator[Finding]:
    """A project that has none."""
    if look.project.modules and not look.settings:
        yield Finding(
            "no-settings",
            Level.ERROR,
            Place(next(iter(look.project.modules), ".")),
            "no settings for a worker were found: a class, dict or factory with functions or cron_jobs",
            "name the folder that holds the app, or write a WorkerSettings",
        )


def no_jobs(look: Look) -> Iterator[Finding]:
    """Settings without a job: arq refuses to start with them."""
    for settings in look.settings:
        jobs = look.jobs(settings)
        if jobs.complete and not jobs.all:
            yield Finding(
                "no-jobs",
                Level.ERROR,
                settings.place,
                f"{settings.target} has neither functions nor cron jobs, so a worker refuses to start",
                "list at least one job in functions or cron_jobs",
            )


def unknown_setting(look: Look) -> Iterator[Finding]:
    """Names that arq drops in silence."""
    for settings in look.settings:
        for name, found in settings.own.items():
            if name.startswith("_") or name in PARAMETERS | OURS or not isinstance(found.node, ast.expr):
                continue
            near = difflib.get_close_matches(name, PARAMETERS | OURS, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else "move it out of the settings, or begin it with _"
            yield Finding(
                "unknown-setting",
                Level.WARNING,
                found.place,
                f"arq knows no setting {name!r} and drops it in silence",
                remedy,
            )


def inherited_settings(look: Look) -> Iterator[Finding]:
    """Settings that stand in a base class."""
    for settings in look.settings:
        if names := ", ".join(name for name in settings.inherited if name in PARAMETERS):
            yield Finding(
                "inherited-settings",
                Level.NOTE,
                settings.place,
                f"{names}: inherited, which counts under Arqube and is dropped by plain arq",
                "nothing to do, unless plain arq runs these settings too: repeat them in the class then",
            )


def ends_by_itself(look: Look) -> Iterator[Finding]:
    """A worker that ends once the queue is empty is restarted again and again."""
    for settings in look.settings:
        if settings.known("burst") is True:
            yield Finding(
                "burst",
                Level.ERROR,
                _at(settings, "burst"),
                "a burst worker ends when its queue is empty, and Kubernetes starts it again and again",
                "take burst out of the settings; scaling to zero is the TaskQueue's: scaling.minReplicas: 0",
            )


def loopback_redis(look: Look) -> Iterator[Finding]:
    """Settings that look for Redis in the pod itself."""
    for settings in look.settings:
        redis = redis_of(settings)
        if redis is None:
            if settings.get("redis_settings") is None and settings.get("redis_pool") is None:
                yield Finding(
                    "redis-unset",
                    Level.NOTE,
                    settings.place,
                    "the settings do not say where Redis is, so outside a TaskQueue it is localhost",
                    "nothing to do for the worker: spec.redis says it; producers need an address of their own",
                )
            continue
        if not redis.variables and redis.known_host in LOOPBACK:
            yield Finding(
                "redis-loopback",
                Level.WARNING,
                redis.place,
                f"Redis is looked for at {redis.known_host}, which is the pod itself in a cluster: the worker is told"
                " another address by its TaskQueue, but what the app makes of these settings is not",
                'read it from the environment: os.environ.get("REDIS_QUEUE_HOST", "localhost")',
            )


def pickled_payloads(look: Look) -> Iterator[Finding]:
    """Whoever writes to Redis runs code in a worker that unpickles."""
    for settings in look.settings:
        serializer, deserializer = settings.get("job_serializer"), settings.get("job_deserializer")
        if (serializer is None) != (deserializer is None):
            there, missing = ("job_serializer", "job_deserializer")[:: 1 if serializer else -1]
            yield Finding(
                "half-a-serializer",
                Level.ERROR,
                _at(settings, there),
                f"{there} is set and {missing} is not, so what is written in one form is read in another",
                f"set {missing} too; arqube_worker.serializers has pairs for JSON and MessagePack",
            )
        elif serializer is None:
            yield Finding(
                "pickled-payloads",
                Level.NOTE,
                settings.place,
                "payloads are pickles, so whoever may write to this Redis may run code in the worker",
                "keep Redis to yourself, or use a serializer of arqube_worker.serializers on both sides",
            )


def signals_off(look: Look) -> Iterator[Finding]:
    """The template's setting, which is fine here."""
    for settings in look.settings:
        if settings.known("handle_signals") is False:
            yield Finding(
                "handle-signals",
                Level.NOTE,
                _at(settings, "handle_signals"),
                "plain arq dies of SIGTERM with this, jobs and all; Arqube's worker finishes its jobs all the same",
                "nothing to do",
            )


def no_second_run(look: Look) -> Iterator[Finding]:
    """Jobs that a stop interrupts must be able to run again."""
    for settings in look.settings:
        if settings.known("retry_jobs") is False:
            yield Finding(
                "retry-jobs-off",
                Level.WARNING,
                _at(settings, "retry_jobs"),
                "a job that outlasts the shutdown timeout fails for good at each deploy, as it must not run again",
                "leave retry_jobs out and make the jobs safe to run twice, or set shutdown.timeout above the longest",
            )


def without_meaning(look: Look) -> Iterator[Finding]:
    """Settings by which plain arq works around itself."""
    reasons = {
        "queue_read_limit": "this worker looks as far into the queue as it must",
        "poll_delay": "Redis wakes an idle worker, so there is little left to poll",
    }
    for settings in look.settings:
        for name, reason in reasons.items():
            if settings.get(name):
                where = _at(settings, name)
                what = f"{name} has no meaning here: {reason}"
                yield Finding("without-meaning", Level.NOTE, where, what, "nothing to do")


def no_timeout(look: Look) -> Iterator[Finding]:
    """A timeout that is switched off."""
    for settings in look.settings:
        if settings.value("job_timeout") == Known(None):
            yield Finding(
                "no-timeout",
                Level.WARNING,
                _at(settings, "job_timeout"),
                "without a timeout a job that hangs holds its slot for good; and plain arq on the same queue takes jobs"
                " of more than 10 s for dead, and runs them again",
                "write the seconds that no job takes: job_timeout = 86_400",
            )


def shared_queue(look: Look) -> Iterator[Finding]:
    """Workers that take each other's jobs."""
    first: dict[str, WorkerSettings] = {}
    for settings in look.settings:
        queue = settings.known("queue_name") if settings.get("queue_name") else "arq:queue"
        other = first.setdefault(queue, settings) if isinstance(queue, str) else settings
        names, others = ({job.name for job in look.jobs(each).all if not job.cron} for each in (settings, other))
        if names != others and names and others:
            yield Finding(
                "shared-queue",
                Level.WARNING,
                _at(settings, "queue_name"),
                f"{settings.target} and {other.target} read the queue {queue!r} and know different functions: each"
                " takes jobs of the other, and puts them back",
                "give each a queue_name of its own, and enqueue with _queue_name",
            )


def timeout_beyond_shutdown(look: Look) -> Iterator[Finding]:
    """Jobs that may outlast the time a stopping worker has."""
    for settings in look.settings:
        if look.manifests_of(settings):
            continue  # the TaskQueue says how long; see rules.manifests
        wait_s = settings.known("job_completion_wait") or DEFAULT_SHUTDOWN_TIMEOUT_S
        for timeout in timeouts(look, settings):
            if timeout.explicit and timeout.seconds > wait_s:
                yield Finding(
                    "timeout-beyond-shutdown",
                    Level.NOTE,
                    timeout.place,
                    f"{timeout.what} may run {timeout.seconds:g} s, and a stopping worker waits {wait_s:g} s: it is"
                    " given back then and runs again",
                    "set shutdown.timeout of its TaskQueue above it, as arqube init does",
                )


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long a job may run.

    Attributes:
        place: Where that stands.
        what: The job's name, or "any job".
        seconds: How long.
        explicit: Whether somebody has written it down; else it is arq's default.
    """

    place: Place
    what: str
    seconds: float
    explicit: bool


def timeouts(look: Look, settings: WorkerSettings) -> tuple[Timeout, ...]:
    """Those of single jobs, and that of all others if there are any."""
    jobs = look.jobs(settings)
    found, others = [], not jobs.complete
    for job in jobs.all:
        own_s = job.option("timeout")
        if isinstance(own_s, int | float):
            found.append(Timeout(job.place, job.name, float(own_s), True))
        else:
            others = True
    if others:
        timeout_s = settings.known("job_timeout")
        explicit = isinstance(timeout_s, int | float)
        seconds = float(timeout_s) if explicit else DEFAULT_JOB_TIMEOUT_S
        found.append(Timeout(_at(settings, "job_timeout"), "any job", seconds, explicit))
    return tuple(found)


def _at(settings: WorkerSettings, name: str) -> Place:
    """Where one setting stands."""
    found = settings.get(name)
    return settings.place if found is None else found.place


RULES: Final = (
    broken_python,
    no_settings,
    no_jobs,
    unknown_setting,
    inherited_settings,
    ends_by_itself,
    loopback_redis,
    pickled_payloads,
    signals_off,
    no_second_run,
    without_meaning,
    no_timeout,
    shared_queue,
    timeout_beyond_shutdown,
)
