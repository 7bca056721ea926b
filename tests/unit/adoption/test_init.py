"""``arqube init``: what it writes, why, and that the API takes it."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from arqube_local.adoption.draft import drafts
from arqube_local.adoption.yaml_text import duration, manifest
from arqube_local.apiserver.schema import Schema
from arqube_local.cli import main
from arqube_operator.api.v1alpha1 import InvalidTaskQueueError, TaskQueue
from builders.project import WELL_WRITTEN, look

REPOSITORY = Path(__file__).parents[3]
PROJECTS = sorted(path for path in (REPOSITORY / "tests/projects").iterdir() if path.is_dir())
JOB = "async def send(ctx): ...\n"


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", *arguments])


def written(changed: dict[str, str]) -> tuple[dict[str, Any], str]:
    """The TaskQueue of a project made of these files alone, and its text."""
    text = manifest(drafts(look(changed, without=tuple(WELL_WRITTEN.keys() - changed.keys()))))
    (body,) = yaml.safe_load_all(text)
    return body["spec"], text


def crd_schema() -> Schema:
    definition = yaml.safe_load((REPOSITORY / "crds/taskqueues.arqube.dev.yaml").read_text())
    return Schema(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])


@pytest.mark.parametrize("folder", PROJECTS, ids=lambda path: path.name)
def test_the_api_takes_what_is_written_once_the_image_is_known(folder: Path) -> None:
    bodies = list(yaml.safe_load_all(init(str(folder), "-o", "-").stdout))
    schema = crd_schema()
    for body in bodies:
        body["metadata"]["namespace"] = "default"
        image = body["spec"]["worker"]["image"]
        if "CHANGE" in image:
            with pytest.raises(InvalidTaskQueueError) as refused:
                TaskQueue.from_object(body)
            assert "spec.worker.image: must be a container image" in str(refused.value)
            assert len(refused.value.problems) == 1, "nothing else is wrong"
            assert [each.field for each in schema.problems(body)] == ["spec.worker.image"]
            body["spec"]["worker"]["image"] = "registry.example/app:1"
        TaskQueue.from_object(body)
        assert schema.pruned(body)[1] == []
        assert schema.problems(body) == []
    assert len({body["metadata"]["name"] for body in bodies}) == len(bodies)


def test_the_values_are_those_of_the_settings_and_say_where_they_stand() -> None:
    spec, text = written({path: text for path, text in WELL_WRITTEN.items() if path != "taskqueue.yaml"})
    assert spec["queueName"] == "mail"
    assert spec["worker"]["settings"] == "app.worker.WorkerSettings"
    assert spec["worker"]["concurrency"] == 20
    assert spec["worker"]["image"] == "mailer:1.4.2"
    assert spec["shutdown"]["timeout"] == "1m"
    assert spec["worker"]["podTemplate"]["spec"]["containers"][0]["envFrom"] == [{"secretRef": {"name": "mailer"}}]
    assert "securityContext" not in spec["worker"]["podTemplate"]["spec"], "the image has a user of its own"
    lines = {line.split(":")[0].strip(): line for line in text.splitlines()}
    assert lines["concurrency"].endswith("# max_jobs (app/worker.py:26)")
    assert lines["settings"].endswith("# as Dockerfile:8 starts it")
    assert "# the app fails without DATABASE_URL: they belong into this Secret" in text


@pytest.mark.parametrize(
    ("settings", "others", "field", "value"),
    [
        pytest.param("max_jobs = 7", {}, ("worker", "concurrency"), 7, id="max_jobs"),
        pytest.param("", {}, ("worker", "concurrency"), 10, id="arq's max_jobs"),
        pytest.param("queue_name = 'arq:mail'", {}, ("queueName",), "arq:mail", id="queue_name"),
        pytest.param("", {}, ("shutdown", "timeout"), "5m", id="arq's job_timeout"),
        pytest.param("job_timeout = 90.5", {}, ("shutdown", "timeout"), "91s", id="a job_timeout with a fraction"),
        pytest.param("job_completion_wait = 600", {}, ("shutdown", "timeout"), "10m", id="job_completion_wait"),
        pytest.param("job_timeout = 400_000", {}, ("shutdown", "timeout"), "24h", id="a job_timeout of days"),
        pytest.param("redis_settings = RedisSettings('cache', 6380)", {}, ("redis", "host"), "cache", id="a host"),
        pytest.param("redis_settings = RedisSettings('cache', 6380)", {}, ("redis", "port"), 6380, id="a port"),
        pytest.param(
            "redis_settings = RedisSettings.from_dsn('redis://cache:6380/3')",
            {},
            ("redis", "database"),
            3,
            id="a database",
        ),
        pytest.param("redis_settings = RedisSettings()", {}, ("redis", "host"), "redis", id="a host on the pod itself"),
        pytest.param(
            "redis_settings = RedisSettings(os.environ['HOST'])",
            {".env.example": 'HOST="queue.internal"'},
            ("redis", "host"),
            "queue.internal",
            id="a host in an example of the environment",
        ),
        pytest.param(
            "",
            {"pyproject.toml": "[project]\nname = 'Mail_Room'\nversion = '2.0'", "Dockerfile": "FROM python:3.13-slim"},
            ("worker", "image"),
            "mail-room:2.0",
            id="an image with the project's name and version",
        ),
        pytest.param(
            "",
            {"Dockerfile": "FROM python:3.13-slim\nUSER app"},
            ("worker", "podTemplate", "spec", "securityContext"),
            {"runAsUser": 1000, "runAsGroup": 1000},
            id="a user, where the image has none by number",
        ),
    ],
)
def test_a_field_comes_from_the_settings(
    settings: str, others: dict[str, str], field: tuple[str, ...], value: Any
) -> None:
    body = f"import os\nfrom arq.connections import RedisSettings\n{JOB}class WorkerSettings:\n"
    body += f"    functions = [send]\n    {settings}\n"
    found, _ = written({"worker.py": body, **others})
    for name in field:
        found = found[name]
    assert found == value


def test_the_app_finds_its_redis_by_its_own_variables() -> None:
    body = "import os\nfrom arq.connections import RedisSettings\n" + JOB
    body += "class WorkerSettings:\n    functions = [send]\n"
    body += "    redis_settings = RedisSettings(os.getenv('CACHE', 'cache'), int(os.getenv('CACHE_PORT', '6380')))\n"
    spec, _ = written({"worker.py": body})
    (container,) = spec["worker"]["podTemplate"]["spec"]["containers"]
    assert container["env"] == [{"name": "CACHE", "value": "cache"}, {"name": "CACHE_PORT", "value": "6380"}]


def test_no_password_is_written() -> None:
    body = (
        "import os\nfrom arq.connections import RedisSettings\n"
        + JOB
        + "class WorkerSettings:\n    functions = [send]\n"
    )
    body += "    redis_settings = RedisSettings.from_dsn(os.getenv('URL', 'redis://:hunter2@cache:6379/0'))\n"
    spec, text = written({"worker.py": body})
    assert spec["redis"]["host"] == "cache"
    assert "hunter2" not in text


def test_what_cannot_be_read_is_marked() -> None:
    body = JOB + "class WorkerSettings:\n    functions = [send]\n    max_jobs = compute()\n    queue_name = name()\n"
    (draft,) = drafts(look({"worker.py": body}, without=tuple(WELL_WRITTEN)))
    assert draft.open == ("spec.worker.image", "spec.queueName", "spec.worker.concurrency", "spec.redis.host")
    assert manifest([draft]).count("CHANGE") == 5, "once in the heading, and once for each"


def test_each_settings_object_gets_a_name_of_its_own() -> None:
    head = "from arq import cron\n" + JOB
    text = manifest(
        drafts(
            look(
                {
                    "mail/settings.py": head + "class WorkerSettings:\n    functions = [send]\n",
                    "post/settings.py": head + "class WorkerSettings:\n    functions = [send]\n",
                    "night.py": head + "class NightShiftSettings:\n    cron_jobs = [cron(send, minute=0)]\n",
                },
                without=tuple(WELL_WRITTEN),
            )
        )
    )
    names = [body["metadata"]["name"] for body in yaml.safe_load_all(text)]
    assert names == ["mail", "night-shift", "post"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(45, "45s"), (90, "90s"), (120, "2m"), (3600, "1h"), (5400, "90m"), (0.2, "1s"), (86_400, "24h")],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def app(tmp_path: Path) -> Path:
    (tmp_path / "worker.py").write_text(
        dedent(
            """
            from arq.worker import func

            async def send(ctx): ...

            def several(seconds):
                return [func(send, timeout=seconds)]

            class WorkerSettings:
                functions = several(70)
                max_jobs = len("seven")
            """
        )
    )
    return tmp_path


def test_a_file_is_not_written_over_unless_it_is_asked_for(app: Path) -> None:
    assert init(str(app)).exit_code == 0
    path = app / "taskqueue.yaml"
    path.write_text("mine")
    refused = init(str(app))
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert path.read_text() == "mine"
    assert init(str(app), "--force").exit_code == 0
    assert path.read_text().startswith("#")


def test_the_standard_output_holds_the_yaml_alone(app: Path) -> None:
    done = init(str(app), "-o", "-")
    assert yaml.safe_load(done.stdout)["kind"] == "TaskQueue"
    assert "look at spec.worker.image" in done.stderr
    assert not (app / "taskqueue.yaml").exists()


def test_another_file_may_be_named(app: Path) -> None:
    assert init(str(app), "-o", str(app / "queue.yaml")).exit_code == 0
    assert (app / "queue.yaml").exists()
    assert "No such file or directory" in init(str(app), "-o", str(app / "none" / "queue.yaml")).output


def test_with_a_python_the_settings_are_imported(app: Path) -> None:
    done = init(str(app), "-o", "-", "--python", sys.executable)
    assert done.exit_code == 0, done.output
    spec = yaml.safe_load(done.stdout)["spec"]
    assert spec["worker"]["concurrency"] == 5
    assert spec["shutdown"]["timeout"] == "70s"


def test_settings_that_cannot_be_imported_are_told(app: Path) -> None:
    (app / "worker.py").write_text((app / "worker.py").read_text() + "import no_such_library")
    done = init(str(app), "-o", "-", "--python", sys.executable)
    assert done.exit_code == 1
    assert "No module named 'no_such_library'" in done.output


def test_a_folder_without_settings_is_told(tmp_path: Path) -> None:
    assert "holds no Python" in init(str(tmp_path)).output
    (tmp_path / "a.py").write_text("A = 1")
    done = init(str(tmp_path))
    assert done.exit_code == 1
    assert "holds no settings for a worker" in done.output
