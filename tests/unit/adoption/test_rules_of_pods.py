"""What ``arqube check`` finds in Dockerfiles and TaskQueues."""

from __future__ import annotations

import pytest

from builders.project import WELL_WRITTEN, assert_found, case, found, replaced

IMAGE, QUEUE = "Dockerfile", "taskqueue.yaml"


def image(*pairs: tuple[str, str]) -> dict[str, str]:
    return replaced(IMAGE, *pairs)


def queue(*pairs: tuple[str, str]) -> dict[str, str]:
    return replaced(QUEUE, *pairs)


@pytest.mark.parametrize(
    ("changed", "rule", "level", "path", "line"),
    [
        case(
            "the image has an old Python",
            image(("FROM python:3.13-slim\n", "FROM python:3.9-slim\n")),
            "python-version",
            "error",
            IMAGE,
            "3.9",
        ),
        case(
            "the version of the image's Python is an argument",
            image(
                ("FROM python:3.13-slim AS build", "ARG PYTHON=3.9\n        FROM python:${PYTHON}-slim AS build"),
                ("FROM python:3.13-slim\n", "FROM build\n"),
            ),
            "python-version",
            "error",
            IMAGE,
            "${PYTHON}",
        ),
        case(
            "the base image may be another one tomorrow",
            image(("FROM python:3.13-slim\n", "FROM python\n")),
            "base-latest",
            "warning",
            IMAGE,
            "FROM python",
        ),
        case(
            "the image is built on Alpine",
            image(("FROM python:3.13-slim\n", "FROM python:3.13-alpine\n")),
            "musl",
            "note",
            IMAGE,
            "alpine",
        ),
        case(
            "the image has no shell",
            image(("FROM python:3.13-slim\n", "FROM gcr.io/distroless/python3-debian12:nonroot\n")),
            "distroless",
            "note",
            IMAGE,
            "distroless",
        ),
        case(
            "the image runs as root",
            image(("        USER 1000:1000\n", "")),
            "runs-as-root",
            "error",
            IMAGE,
            "FROM python:3.13-slim",
        ),
        case("the image goes back to root", image(("1000:1000", "root")), "runs-as-root", "error", IMAGE, "USER root"),
        case(
            "the image's user has a name alone", image(("1000:1000", "app")), "user-by-name", "error", IMAGE, "USER app"
        ),
        case(
            "an entrypoint does more than start",
            image(("CMD [", 'ENTRYPOINT ["./migrate-and-run.sh"]\n        CMD [')),
            "entrypoint-unused",
            "warning",
            IMAGE,
            "ENTRYPOINT",
        ),
        case(
            "a shell starts the worker",
            image(('CMD ["arq", "app.worker.WorkerSettings"]', "CMD arq app.worker.WorkerSettings")),
            "shell-keeps-signals",
            "note",
            IMAGE,
            "CMD arq",
        ),
        case(
            "a TaskQueue is not valid",
            queue(("concurrency: 20", "concurrency: 0")),
            "invalid-task-queue",
            "error",
            QUEUE,
            "concurrency",
        ),
        case(
            "a TaskQueue names settings that are not there",
            queue(("app.worker.WorkerSettings", "app.workers.WorkerSettings")),
            "settings-not-found",
            "error",
            QUEUE,
            "app.workers",
        ),
        case(
            "a TaskQueue reads another queue",
            queue(("queueName: mail", "queueName: mails")),
            "queue-name",
            "error",
            QUEUE,
            "mails",
        ),
        case(
            "a TaskQueue has another concurrency than the settings",
            queue(("concurrency: 20", "concurrency: 5")),
            "concurrency",
            "warning",
            QUEUE,
            "concurrency: 5",
        ),
        case(
            "a job may outlast the shutdown timeout",
            queue(("timeout: 60s", "timeout: 30s")),
            "timeout-beyond-shutdown",
            "warning",
            QUEUE,
            "timeout: 30s",
        ),
        case(
            "a TaskQueue's image has no version",
            queue(("mailer:1.4.2", "mailer:latest")),
            "image-latest",
            "warning",
            QUEUE,
            ":latest",
        ),
        case(
            "pods ask for no memory",
            queue(("{cpu: 100m, memory: 256Mi}", "{cpu: 100m}")),
            "no-requests",
            "warning",
            QUEUE,
            "containers:",
        ),
        case(
            "a shell keeps SIGTERM from the worker",
            queue(
                (
                    "resources:",
                    'command: ["sh", "-c", "arqube-worker app.worker.WorkerSettings"]\n  ' + " " * 18 + "resources:",
                )
            ),
            "shell-swallows-signals",
            "error",
            QUEUE,
            "containers:",
        ),
        case(
            "a password stands in the manifest",
            queue(("env:\n", 'env:\n                      - {name: MAIL_PASSWORD, value: "x"}\n')),
            "secret-in-manifest",
            "warning",
            QUEUE,
            "containers:",
        ),
        case(
            "a TaskQueue's Redis is the pod itself",
            queue(("host: redis", "host: 127.0.0.1")),
            "redis-loopback",
            "note",
            QUEUE,
            "host:",
        ),
        case(
            "the pods lack a variable that the app needs",
            queue(("DATABASE_URL", "DATABASE")),
            "variable-missing",
            "error",
            QUEUE,
            "containers:",
        ),
        case(
            "the pods lack a variable of pydantic's settings",
            {
                "app/config.py": WELL_WRITTEN["app/config.py"]
                + """
        from pydantic_settings import BaseSettings, SettingsConfigDict


        class Settings(BaseSettings):
            model_config = SettingsConfigDict(env_prefix="MAIL_")
            sender: str


        settings = Settings()
    """
            },
            "variable-missing",
            "error",
            QUEUE,
            "containers:",
        ),
        case(
            "a variable is the pod itself unless it is set",
            {
                "app/config.py": WELL_WRITTEN["app/config.py"]
                + '\n        CACHE = os.getenv("CACHE_HOST", "localhost")\n'
            },
            "variable-loopback",
            "warning",
            QUEUE,
            "containers:",
        ),
    ],
)
def test_it_is_found_where_it_stands(changed: dict[str, str], rule: str, level: str, path: str, line: str) -> None:
    assert_found(changed, rule, level, path, line)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        pytest.param(
            replaced("app/config.py", ("DATABASE_URL = os", 'os.environ["TZ"] = "UTC"\n        DATABASE_URL = os')),
            "variable-missing",
            id="a variable that the app sets itself",
        ),
        pytest.param(
            {"app/__init__.py": "from .worker import WorkerSettings"}
            | queue(("app.worker.WorkerSettings", "app:WorkerSettings")),
            "settings-not-found",
            id="a package has its worker's settings",
        ),
        pytest.param(
            {"app/other.py": "import app.worker\n\nOther = unknown(app.worker.WorkerSettings)"}
            | queue(("app.worker.WorkerSettings", "app.other.Other")),
            "settings-not-found",
            id="the settings are computed",
        ),
        pytest.param(
            image(("1000:1000", "app"))
            | queue(("containers:", "securityContext: {runAsUser: 7}\n                containers:")),
            "user-by-name",
            id="the TaskQueue gives a user by number",
        ),
        pytest.param(
            image(("CMD [", 'CMD ["sh", "-c", "exec arq app.worker.WorkerSettings"]\n        # [')),
            "shell-keeps-signals",
            id="a shell that gives its process away",
        ),
        pytest.param(
            queue(("mailer:1.4.2", "mailer@sha256:" + "0" * 64)), "image-latest", id="an image is named by its digest"
        ),
        pytest.param(
            queue(
                ("DATABASE_URL", "DATABASE"), ("env:", "envFrom: [{secretRef: {name: app}}]\n                    env:")
            ),
            "variable-missing",
            id="a Secret may hold the variable",
        ),
        pytest.param(
            queue(("DATABASE_URL", "DATABASE")) | image(("USER 1000", "ENV DATABASE_URL=sqlite://\n        USER 1000")),
            "variable-missing",
            id="the image has the variable",
        ),
        pytest.param(
            {"chart/templates/queue.yaml": "# arqube.dev/v1alpha1\nkind: {{ .Values.kind }}\n"},
            "invalid-task-queue",
            id="a template of a chart",
        ),
    ],
)
def test_it_is_not_found_where_nothing_is_wrong(changed: dict[str, str], rule: str) -> None:
    assert [each for each in found(changed) if each.rule == rule] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param("name: mail\n", "name: [mail]\n", id="a name that is a list"),
        pytest.param("name: worker", "name: 3", id="a container whose name is a number"),
        pytest.param(
            "resources: {requests: {cpu: 100m, memory: 256Mi}}", "resources: 5", id="resources that are a number"
        ),
        pytest.param("redis:\n            host: redis", "redis: here", id="redis that is a string"),
        pytest.param("shutdown:\n            timeout: 60s", "shutdown: 60s", id="a shutdown that is a string"),
        pytest.param("timeout: 60s", "timeout: soon", id="a timeout that is none"),
        pytest.param("settings: app.worker.WorkerSettings", "settings: [1]", id="settings that are a list"),
        pytest.param("image: registry.example/mailer:1.4.2", "image: 2026-01-01", id="an image that is a date"),
    ],
)
def test_values_of_another_kind_bring_nothing_down(old: str, new: str) -> None:
    assert [each for each in found(queue((old, new))) if each.place.file == QUEUE]


def test_an_environment_of_another_kind_brings_nothing_down() -> None:
    text = WELL_WRITTEN[QUEUE].replace("- {name: DATABASE_URL, valueFrom: {secretKeyRef: {name: app, key: url}}}", "5")
    assert {each.rule for each in found({QUEUE: text})} == {"variable-missing"}
