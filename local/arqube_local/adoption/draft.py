"""Decides what a project's TaskQueue says, and why: each value with where it comes from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from arqube_local.adoption.dependencies import project_name
from arqube_local.adoption.dockerfile import dockerfiles
from arqube_local.adoption.environment import variables_of
from arqube_local.adoption.findings import Place
from arqube_local.adoption.look import Look
from arqube_local.adoption.redis_of import LOOPBACK, RedisPlace, redis_of
from arqube_local.adoption.rules.images import needs_a_user
from arqube_local.adoption.rules.manifests import GIVEN
from arqube_local.adoption.rules.settings import timeouts
from arqube_local.adoption.values import Variable
from arqube_local.adoption.worker_settings import WorkerSettings

DEFAULT_QUEUE: Final = "arq:queue"
DEFAULT_CONCURRENCY: Final = 10
_MOST_CONCURRENCY: Final = 1000
_DAY_S: Final = 86_400
_LONGEST_NAME: Final = 50
_COMMON_NAMES: Final = {"app", "arq", "core", "get", "jobs", "main", "make", "settings", "tasks", "worker", "workers"}
"""Names of classes and modules that say nothing of what the worker is for."""
_PLACEHOLDER: Final = "CHANGE ME: such as registry.example/{name}:1.0.0"
"""No image: it holds spaces, so that ``kubectl apply`` refuses it and names the field."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A value of the TaskQueue.

    Attributes:
        value: Of the field.
        why: Where it comes from, as a comment.
        open: Whether a person must look at it first.
    """

    value: Any
    why: str
    open: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A TaskQueue to be written.

    Attributes:
        name: Of the object.
        settings: ``worker.settings``.
        image: ``worker.image``.
        queue: ``queueName``.
        concurrency: ``worker.concurrency``.
        shutdown_s: ``shutdown.timeout`` in seconds.
        host, port, database: Of ``redis``; the port and the database may be None, which leaves them out.
        env: Variables of the container, by name.
        secret: Name of a Secret for the variables that the app needs; None where it needs none.
        user: ``securityContext.runAsUser``; None where the image has a user of its own.
        hints: What else a person should know about the environment, one sentence each.
    """

    name: str
    settings: Choice
    image: Choice
    queue: Choice
    concurrency: Choice
    shutdown_s: Choice
    host: Choice
    port: Choice | None
    database: Choice | None
    env: Mapping[str, Choice]
    secret: Choice | None
    user: Choice | None
    hints: tuple[str, ...]

    @property
    def open(self) -> tuple[str, ...]:
        """Paths of the fields that a person must look at first."""
        fields = {
            "worker.image": self.image,
            "queueName": self.queue,
            "worker.concurrency": self.concurrency,
            "redis.host": self.host,
        }
        return tuple(f"spec.{path}" for path, choice in fields.items() if choice.open)


def drafts(look: Look, reports: Mapping[str, Mapping[str, Any]] | None = None) -> tuple[Draft, ...]:
    """One for each settings object of the project.

    Args:
        look: The project.
        reports: What ``arqube-worker check`` says of each, by target: it goes before what the text says.
    """
    names = _names(look)
    return tuple(
        _draft(look, each, name, (reports or {}).get(each.target, {}))
        for each, name in zip(look.settings, names, strict=True)
    )


def _draft(look: Look, settings: WorkerSettings, name: str, report: Mapping[str, Any]) -> Draft:
    app = _app_name(look)
    host, port, database, env = _redis(look, settings)
    variables = [each for each in variables_of(settings) if each.name not in GIVEN and each.name not in env]
    required = [each.name for each in variables if each.required]
    local = [each for each in variables if not each.required and each.default in LOOPBACK]
    return Draft(
        name=name,
        settings=Choice(
            settings.target,
            f"as {settings.named_at} starts it" if settings.named_at else f"{settings.place}",
        ),
        image=_image(look, app),
        queue=_queue(settings, report),
        concurrency=_concurrency(settings, report),
        shutdown_s=_shutdown(look, settings, report),
        host=host,
        port=port,
        database=database,
        env=env,
        secret=Choice(app, f"the app fails without {', '.join(required)}: they belong into this Secret")
        if required
        else None,
        user=_user(look),
        hints=tuple(
            f"{each.name} is {each.default} unless it is set, which is the pod itself ({each.place})" for each in local
        ),
    )


def _queue(settings: WorkerSettings, report: Mapping[str, Any]) -> Choice:
    if "queue" in report:
        return Choice(report["queue"], "queue_name, as imported")
    found = settings.get("queue_name")
    if found is None:
        return Choice(DEFAULT_QUEUE, "arq's default, as the settings name no queue")
    value = settings.known("queue_name")
    if isinstance(value, str):
        return Choice(value, f"queue_name ({found.place})")
    return Choice(
        DEFAULT_QUEUE, f"CHANGE: queue_name cannot be read from {found.place}; --python imports it", open=True
    )


def _concurrency(settings: WorkerSettings, report: Mapping[str, Any]) -> Choice:
    if "concurrency" in report:
        return Choice(report["concurrency"], "max_jobs, as imported")
    found = settings.get("max_jobs")
    if found is None:
        return Choice(DEFAULT_CONCURRENCY, "arq's default, as the settings have no max_jobs")
    value = settings.known("max_jobs")
    if isinstance(value, int) and 1 <= value <= _MOST_CONCURRENCY:
        return Choice(value, f"max_jobs ({found.place})")
    why = f"CHANGE: max_jobs cannot be read from {found.place}; --python imports it"
    return Choice(DEFAULT_CONCURRENCY, why, open=True)


def _shutdown(look: Look, settings: WorkerSettings, report: Mapping[str, Any]) -> Choice:
    wait_s, found = settings.known("job_completion_wait"), settings.get("job_completion_wait")
    if found is not None and isinstance(wait_s, int | float) and wait_s:
        choice = Choice(float(wait_s), f"job_completion_wait ({found.place})")
    elif jobs := [job for job in report.get("functions", ()) if job["timeout_s"] is not None]:
        longest = max(jobs, key=lambda job: float(job["timeout_s"]))
        choice = Choice(float(longest["timeout_s"]), f"so long {longest['name']} may run, as imported")
    else:
        given = max(timeouts(look, settings), key=lambda each: each.seconds)
        source = f"{given.place}" if given.explicit else "arq's default timeout"
        choice = Choice(given.seconds, f"so long {given.what} may run ({source})")
    return Choice(min(max(choice.value, 1.0), _DAY_S), choice.why)


def _redis(look: Look, settings: WorkerSettings) -> tuple[Choice, Choice | None, Choice | None, dict[str, Choice]]:
    """Host, port, database, and the variables by which the app finds the same Redis."""
    redis = redis_of(settings)
    if redis is None:
        why = "CHANGE: the settings do not tell where Redis is; this is its name in many clusters"
        return Choice("redis", why, open=True), None, None, {}
    host = _host(look, redis)
    port = redis.known_port or 6379
    database = redis.database
    env: dict[str, Choice] = {}
    for part, value in (("host", redis.host), ("port", redis.port), ("url", redis.url)):
        if isinstance(value, Variable) and value.name not in GIVEN:
            given = {"host": host.value, "port": str(port), "url": f"redis://{host.value}:{port}/{database}"}[part]
            env[value.name] = Choice(given, f"for the app's own connections ({value.place})")
    return (
        host,
        Choice(port, f"{redis.place}"),
        Choice(database, f"{redis.place}") if database else None,
        env,
    )


def _host(look: Look, redis: RedisPlace) -> Choice:
    for variable in redis.variables:
        if variable is redis.host and (given := _in_env_files(look, variable.name)) and given[0] not in LOOPBACK:
            return Choice(given[0], f"{variable.name} in {given[1]}")
    known = redis.known_host
    if known and known not in LOOPBACK:
        kind = f"default of {redis.variables[0].name}" if redis.variables else "as the settings say"
        return Choice(known, f"{kind} ({redis.place})")
    for path, text in look.project.texts_named(r"(docker-)?compose.*\.ya?ml"):
        if re.search(r"^  redis:", text, re.MULTILINE):
            return Choice("redis", f"its name in {path}; CHANGE it if the cluster's Service has another one", open=True)
    said = f"{known} ({redis.place}) is the pod itself in a cluster" if known else f"{redis.place} does not tell"
    return Choice("redis", f"CHANGE to the cluster's Redis: {said}", open=True)


def _in_env_files(look: Look, name: str) -> tuple[str, Place] | None:
    for path, text in look.project.texts_named(r"\.env(\.example|\.sample)?"):
        for number, line in enumerate(text.splitlines(), 1):
            if found := re.fullmatch(rf"\s*(?:export\s+)?{re.escape(name)}\s*=\s*[\"']?([^\"'#\s]+)[\"']?.*", line):
                return found[1], Place(path, number)
    return None


def _image(look: Look, app: str) -> Choice:
    named, built = project_name(look.project), dockerfiles(look.project)
    if built and named is not None and re.fullmatch(r"[\w.-]+", named[1]) and named[1] != "latest":
        return Choice(f"{app}:{named[1]}", f"what {built[0].path} builds, with the version of pyproject.toml")
    what = f"the image that {built[0].path} builds" if built else "the image of the app: no Dockerfile was found"
    return Choice(_PLACEHOLDER.format(name=app), f"{what}; kubectl apply refuses this until it is one", open=True)


def _user(look: Look) -> Choice | None:
    for each in dockerfiles(look.project):
        if needs_a_user(each):
            return Choice(1000, f"{each.path} names no user by a number other than 0, and pods must not run as root")
    return None


def _names(look: Look) -> list[str]:
    """A name for each: of its class, else of its package, else of the project."""
    own = [_own_name(each) for each in look.settings]
    counts = Counter(name for name, _ in own)
    app = _app_name(look)
    seen: Counter[str] = Counter()
    names = []
    for name, package in own:
        chosen = name if name and counts[name] == 1 else package if len(own) > 1 and package else app
        seen[chosen] += 1
        names.append(chosen if seen[chosen] == 1 else f"{chosen}-{seen[chosen]}")
    return names


def _own_name(settings: WorkerSettings) -> tuple[str, str]:
    """What is particular in the names of its class and of the modules that it stands in; empty where nothing is."""
    *holders, last = settings.target.replace(":", ".").split(".")
    words = re.sub(r"(Worker)?_?(Settings|settings|SETTINGS)$", "", last)
    words = _dns(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", words))
    particular = [each for each in map(_dns, holders) if each not in _COMMON_NAMES]
    return "" if words in _COMMON_NAMES else words, particular[-1] if particular else ""


def _app_name(look: Look) -> str:
    named = project_name(look.project)
    return _dns(named[0] if named else look.project.name) or "app"


def _dns(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[: _LONGEST_NAME - 3].strip("-")
