"""Rules about TaskQueues, and whether they go with the settings that they name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from arqube_local.adoption.dockerfile import dockerfiles
from arqube_local.adoption.environment import variables_of
from arqube_local.adoption.findings import Finding, Level
from arqube_local.adoption.look import Look
from arqube_local.adoption.manifests import Manifest
from arqube_local.adoption.redis_of import LOOPBACK
from arqube_local.adoption.rules.settings import timeouts
from arqube_local.adoption.worker_settings import WorkerSettings
from arqube_operator.api.duration import InvalidDurationError, parse_duration
from arqube_operator.api.v1alpha1 import InvalidTaskQueueError, TaskQueue
from arqube_queue import environment as env

_DEFAULT_CONCURRENCY: Final = 10
_SECRET: Final = re.compile(r"PASSWORD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|CREDENTIALS", re.IGNORECASE)
GIVEN: Final = {
    value
    for name, value in vars(env).items()
    if isinstance(value, str) and value.startswith(("ARQUBE_", "REDIS_QUEUE_")) and name.isupper()
}
"""Variables that the operator gives each worker."""


def invalid(look: Look) -> Iterator[Finding]:
    """What ``kubectl apply`` would refuse."""
    for manifest in look.task_queues:
        metadata = {"namespace": "default", **_mapping(manifest.body.get("metadata"))}
        try:
            TaskQueue.from_object({**manifest.body, "metadata": metadata})
        except InvalidTaskQueueError as error:
            for problem in error.problems:
                path, _, rest = problem.partition(": ")
                fields = [part for part in path.split(".")[1:] if "[" not in part] if path.startswith("spec") else []
                yield Finding(
                    "invalid-task-queue",
                    Level.ERROR,
                    manifest.at(*fields),
                    f"kubectl apply refuses {path}: it {rest or 'is wrong'}",
                    "kubectl explain taskqueue.spec --recursive tells every field",
                )


def settings_path(look: Look) -> Iterator[Finding]:
    """TaskQueues that name settings which are not there."""
    if not look.settings:
        return
    targets = [each.target for each in look.settings]
    for manifest in look.task_queues:
        named = manifest.get("worker", "settings")
        if isinstance(named, str) and look.settings_of(manifest) is None and look.defined_as(manifest) is None:
            near = difflib.get_close_matches(named, targets, n=1, cutoff=0.0)
            yield Finding(
                "settings-not-found",
                Level.ERROR,
                manifest.at("worker", "settings"),
                f"the project has no settings {named!r}, so the worker would end at its start",
                f"did you mean {near[0]!r}?",
            )


def agreement(look: Look) -> Iterator[Finding]:
    """Where a TaskQueue and its settings say different things."""
    for manifest, settings in _pairs(look):
        queue = settings.known("queue_name", None if settings.get("queue_name") else "arq:queue")
        said = manifest.get("queueName") or "arq:queue"
        if queue is not None and said != queue:
            yield Finding(
                "queue-name",
                Level.ERROR,
                manifest.at("queueName"),
                f"the TaskQueue reads {said!r}, and the settings, as likely its producers, say {queue!r}",
                f"set spec.queueName: {queue}",
            )
        most, concurrency = settings.known("max_jobs"), manifest.get("worker", "concurrency") or _DEFAULT_CONCURRENCY
        if isinstance(most, int) and most != concurrency:
            yield Finding(
                "concurrency",
                Level.WARNING,
                manifest.at("worker", "concurrency"),
                f"a worker runs {concurrency} jobs at once by the TaskQueue, which counts, and {most} by max_jobs",
                f"set spec.worker.concurrency: {most}, or change max_jobs to match",
            )


def shutdown(look: Look) -> Iterator[Finding]:
    """Jobs that may outlast the shutdown timeout."""
    for manifest, settings in _pairs(look):
        try:
            timeout_s = parse_duration(str(_mapping(manifest.get("shutdown")).get("timeout", "30s")))
        except InvalidDurationError:
            continue  # told by ``invalid``
        longest = max(timeouts(look, settings), key=lambda each: each.seconds, default=None)
        if longest is not None and longest.seconds > timeout_s:
            yield Finding(
                "timeout-beyond-shutdown",
                Level.WARNING if longest.explicit else Level.NOTE,
                manifest.at("shutdown", "timeout"),
                f"{longest.what} may run {longest.seconds:g} s ({longest.place}), and a stopping worker waits"
                f" {timeout_s:g} s: it is given back then and runs again",
                "raise spec.shutdown.timeout, or see that the job may run twice",
            )


def pods(look: Look) -> Iterator[Finding]:
    """What the pods of a TaskQueue lack."""
    for manifest in look.task_queues:
        image = str(manifest.get("worker", "image") or "")
        if image and "@" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest")):
            yield Finding(
                "image-latest",
                Level.WARNING,
                manifest.at("worker", "image"),
                f"{image!r} names no version: pods that start later may run other code, and nothing can be rolled back",
                "name a tag that does not move, such as :1.4.2",
            )
        container = manifest.container()
        requests = _mapping(_mapping(container.get("resources")).get("requests"))
        if missing := [name for name in ("cpu", "memory") if name not in requests]:
            yield Finding(
                "no-requests",
                Level.WARNING,
                manifest.at("worker", "podTemplate", "spec", "containers"),
                f"the pods request no {' and no '.join(missing)}, so nodes are filled beyond what they can bear",
                "set resources.requests of the container worker in worker.podTemplate",
            )
        if _through_a_shell(container.get("command")):
            yield Finding(
                "shell-swallows-signals",
                Level.ERROR,
                manifest.at("worker", "podTemplate", "spec", "containers"),
                "command starts a shell, which keeps SIGTERM to itself: the worker is killed with its jobs",
                "leave command out, or begin the shell's last line with exec",
            )
        for each in _list(container.get("env")):
            if isinstance(each, Mapping) and _SECRET.search(str(each.get("name"))) and each.get("value"):
                yield Finding(
                    "secret-in-manifest",
                    Level.WARNING,
                    manifest.at("worker", "podTemplate", "spec", "containers"),
                    f"{each['name']} stands in the manifest, for all who may read it",
                    "keep it in a Secret: valueFrom.secretKeyRef",
                )
        if manifest.get("redis", "host") in LOOPBACK:
            yield Finding(
                "redis-loopback",
                Level.NOTE,
                manifest.at("redis", "host"),
                "Redis is on the pod itself: right for arqube local, and wrong in a cluster",
                "name the Redis of the cluster: its Service",
            )


def variables(look: Look) -> Iterator[Finding]:
    """Variables that the app reads and its pods do not have."""
    images = {name for each in dockerfiles(look.project) for name in each.variables}
    for manifest, settings in _pairs(look):
        container = manifest.container()
        if container.get("envFrom"):
            continue  # what a Secret holds cannot be seen from here
        named = (each.get("name") for each in _list(container.get("env")) if isinstance(each, Mapping))
        given = {*map(str, named), *GIVEN, *images}
        place = manifest.at("worker", "podTemplate", "spec", "containers")
        for variable in variables_of(settings):
            if variable.name in given:
                continue
            if variable.required:
                what = f"the app fails without {variable.name} ({variable.place}), and its pods do not have it"
                yield Finding("variable-missing", Level.ERROR, place, what, _give(variable.name))
            elif variable.default in LOOPBACK:
                what = (
                    f"{variable.name} ({variable.place}) is {variable.default} unless it is set: the pod itself, where"
                    " nothing of it runs"
                )
                yield Finding("variable-loopback", Level.WARNING, place, what, _give(variable.name))


def _give(name: str) -> str:
    return f"set {name} in env or envFrom of the container worker in worker.podTemplate"


def _pairs(look: Look) -> Iterator[tuple[Manifest, WorkerSettings]]:
    for manifest in look.task_queues:
        settings = look.settings_of(manifest)
        if settings is not None:
            yield manifest, settings


def _through_a_shell(command: Any) -> bool:
    if not isinstance(command, list) or not command:
        return False
    words = [str(word) for word in command]
    return words[0].rpartition("/")[2] in {"sh", "bash", "ash", "dash"} and not any("exec " in word for word in words)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


RULES: Final = (invalid, settings_path, agreement, shutdown, pods, variables)
