"""Rules about the image that a project's Dockerfile builds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from arqube_local.adoption.dockerfile import Dockerfile, dockerfiles
from arqube_local.adoption.findings import Finding, Level
from arqube_local.adoption.look import Look

_OLDEST: Final = (3, 10)
_PYTHON: Final = re.compile(r"python:?-?(\d+)\.(\d+)")
_SHELLS: Final = {"sh", "bash", "ash", "dash"}


def image(look: Look) -> Iterator[Finding]:
    """What a worker's pod will not do with the image."""
    for each in dockerfiles(look.project):
        yield from _base(each)
        yield from _user(look, each)
        yield from _start(each)


def _base(image: Dockerfile) -> Iterator[Finding]:
    name = image.base.rpartition("/")[2]
    found = _PYTHON.search(image.base)
    if found and (int(found[1]), int(found[2])) < _OLDEST:
        yield Finding(
            "python-version",
            Level.ERROR,
            image.base_at,
            f"the image has Python {found[1]}.{found[2]}, and the worker needs 3.10 or newer",
            "build it on python:3.13-slim or another newer one",
        )
    if "$" not in image.base and "@" not in name and (":" not in name or name.endswith(":latest")):
        yield Finding(
            "base-latest",
            Level.WARNING,
            image.base_at,
            f"{image.base} is another image tomorrow: Python may change under the worker",
            "name a version, such as python:3.13-slim",
        )
    if "alpine" in name:
        yield Finding(
            "musl",
            Level.NOTE,
            image.base_at,
            "Alpine has musl: the worker runs there, as it is pure Python, while packages may have to be compiled",
            "nothing to do, or build on a slim image for ready-made wheels",
        )
    if "distroless" in image.base:
        yield Finding(
            "distroless",
            Level.NOTE,
            image.base_at,
            "the pod runs python3 by its name; a distroless image has it, and no shell to look around with",
            "see that python3 is on PATH and has arq; kubectl debug brings a shell",
        )


def needs_a_user(image: Dockerfile) -> bool:
    """Whether Kubernetes cannot tell by the image that it does not run as root."""
    return not _number_of_user(image) and not ("nonroot" in image.base and image.last("USER") is None)


def _number_of_user(image: Dockerfile) -> int:
    """0 where it is root, has no number, or is not told."""
    user = image.last("USER")
    name = user.text.partition(":")[0].strip("\"'") if user else ""
    return int(name) if name.isdecimal() else 0


def _user(look: Look, image: Dockerfile) -> Iterator[Finding]:
    if any(_names_a_user(each.get("worker", "podTemplate", "spec"), each.container()) for each in look.task_queues):
        return
    if not needs_a_user(image):
        return
    user = image.last("USER")
    name = user.text.partition(":")[0].strip("\"'") if user else ""
    if name in {"", "root", "0"}:
        yield Finding(
            "runs-as-root",
            Level.ERROR,
            user.place if user else image.base_at,
            "the image runs as root, and workers' pods must not: Kubernetes refuses to start the container",
            "add USER 1000:1000 to the Dockerfile, or set securityContext.runAsUser in worker.podTemplate.spec",
        )
    elif user is not None and "$" not in name:
        yield Finding(
            "user-by-name",
            Level.ERROR,
            user.place,
            f"Kubernetes cannot tell that the user {name!r} is not root and refuses to start the container",
            "write the user's number in USER, or set securityContext.runAsUser in worker.podTemplate.spec",
        )


def _names_a_user(pod: object, container: object) -> bool:
    contexts = [each.get("securityContext") for each in (pod, container) if isinstance(each, dict)]
    return any(isinstance(each, dict) and each.get("runAsUser") for each in contexts)


def _start(image: Dockerfile) -> Iterator[Finding]:
    entrypoint, command = image.last("ENTRYPOINT"), image.last("CMD")
    if entrypoint is not None:
        yield Finding(
            "entrypoint-unused",
            Level.WARNING,
            entrypoint.place,
            "a worker's pod starts the worker itself, so what this ENTRYPOINT does besides is not done there",
            "move what the app needs, such as migrations, into a Job or an init container",
        )
    for each in filter(None, (entrypoint, command)):
        words = each.words
        shell = words is None or (words[:1] and words[0].rpartition("/")[2] in _SHELLS and "-c" in words)
        text = each.text if words is None else " ".join(words)
        if shell and "arq" in re.findall(r"[\w-]+", text) and "exec " not in text:
            yield Finding(
                "shell-keeps-signals",
                Level.NOTE,
                each.place,
                "a shell is process 1 here and may keep SIGTERM from the worker; a TaskQueue's pod has none",
                'nothing to do under Arqube; elsewhere write CMD ["arq", "..."] or begin the line with exec',
            )


RULES: Final = (image,)
