"""Settings objects, their jobs and values, found in a project's text."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from arqube_local.adoption.jobs import jobs_of
from arqube_local.adoption.redis_of import redis_of
from arqube_local.adoption.sources import Project
from arqube_local.adoption.values import Known, Variable, evaluate
from arqube_local.adoption.worker_settings import WorkerSettings, find_worker_settings, import_root

HEAD = """
from arq import cron, func
from arq.connections import RedisSettings

async def send(ctx): ...
async def sweep(ctx): ...
"""


def project(files: dict[str, str]) -> Project:
    return Project.of_texts({path: dedent(text) for path, text in files.items()})


def only(files: dict[str, str]) -> WorkerSettings:
    (settings,) = find_worker_settings(project(files))
    return settings


@pytest.mark.parametrize(
    ("body", "name", "jobs", "max_jobs"),
    [
        pytest.param(
            """
            class WorkerSettings:
                functions = [send, func(sweep, name="tidy")]
                max_jobs = 3
            """,
            "WorkerSettings",
            ["send", "tidy"],
            3,
            id="a class",
        ),
        pytest.param(
            """
            class Base:
                functions = [send]
                max_jobs = 3
            class WorkerSettings(Base):
                functions = Base.functions + [sweep]
            """,
            "WorkerSettings",
            ["send", "sweep"],
            3,
            id="a class whose base holds some of it, and not the base",
        ),
        pytest.param(
            "settings = {'functions': [send], 'max_jobs': 3, 'queue_name': 'mail'}",
            "settings",
            ["send"],
            3,
            id="a dict",
        ),
        pytest.param(
            """
            shared = dict(max_jobs=3, on_startup=sweep)
            worker_settings = {**shared, "functions": [send]}
            """,
            "worker_settings",
            ["send"],
            3,
            id="a dict made of another one",
        ),
        pytest.param(
            """
            def make(functions, *, slots=3):
                class Made:
                    pass
                return type("Made", (), {"functions": [func(each, timeout=9) for each in functions], "max_jobs": slots})
            WorkerSettings = make([send, sweep])
            """,
            "WorkerSettings",
            ["send", "sweep"],
            3,
            id="a class that a function makes of its arguments",
        ),
        pytest.param(
            """
            def worker_settings():
                class Made:
                    functions = (send,)
                    max_jobs = 1 + 2
                return Made
            """,
            "worker_settings",
            ["send"],
            3,
            id="a function that a worker calls itself",
        ),
        pytest.param(
            """
            class Made:
                functions = [send]
                max_jobs = 3
            WorkerSettings = Made()
            """,
            "WorkerSettings",
            ["send"],
            3,
            id="an object",
        ),
        pytest.param(
            """
            class NightlySettings:
                cron_jobs = [cron(sweep, minute=0), cron(send, name="mail", minute=5)]
                max_jobs = 3
            """,
            "NightlySettings",
            ["cron:sweep", "mail"],
            3,
            id="cron jobs alone",
        ),
        pytest.param(
            """
            JOBS = (send,)
            MORE = [*JOBS, sweep]
            class WorkerSettings:
                functions = list(MORE)
                max_jobs: int = 3
            """,
            "WorkerSettings",
            ["send", "sweep"],
            3,
            id="lists that are put together elsewhere",
        ),
    ],
)
def test_settings_are_found(body: str, name: str, jobs: list[str], max_jobs: int) -> None:
    settings = only({"worker.py": HEAD + dedent(body)})
    assert settings.target == f"worker.{name}"
    found = jobs_of(settings)
    assert ([job.name for job in found.all], found.complete) == (jobs, True)
    assert settings.known("max_jobs") == max_jobs


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            "class Form:\n    functions = ['a']\n    title = 'b'", id="a class with functions of another kind"
        ),
        pytest.param("API = {'functions': []}", id="a dict of another kind"),
        pytest.param("class WorkerSettings:\n    max_jobs = 3", id="settings without jobs"),
        pytest.param("def get_settings():\n    return Settings()", id="a function that makes other settings"),
    ],
)
def test_other_things_are_none(body: str) -> None:
    assert find_worker_settings(project({"other.py": body})) == ()


SETTINGS = HEAD + "class WorkerSettings:\n    functions = [send]"


@pytest.mark.parametrize(
    ("files", "target", "root"),
    [
        pytest.param({"worker.py": SETTINGS}, "worker.WorkerSettings", ".", id="a file at the top"),
        pytest.param(
            {"app/__init__.py": "", "app/worker.py": SETTINGS},
            "app.worker.WorkerSettings",
            ".",
            id="a module of a package",
        ),
        pytest.param({"app/__init__.py": SETTINGS}, "app.WorkerSettings", ".", id="a package itself"),
        pytest.param(
            {"src/app/__init__.py": "", "src/app/worker.py": SETTINGS},
            "app.worker.WorkerSettings",
            "src",
            id="below src",
        ),
        pytest.param(
            {"src/app/worker.py": SETTINGS}, "app.worker.WorkerSettings", "src", id="below src, without __init__.py"
        ),
        pytest.param(
            {"backend/jobs/worker.py": "from jobs.names import NAME\n" + SETTINGS, "backend/jobs/names.py": "NAME = 1"},
            "jobs.worker.WorkerSettings",
            "backend",
            id="its imports tell where it stands",
        ),
        pytest.param(
            {"backend/app/worker.py": SETTINGS, "backend/Dockerfile": 'CMD ["arq", "app.worker.WorkerSettings"]'},
            "app.worker.WorkerSettings",
            "backend",
            id="the Dockerfile's command tells",
        ),
        pytest.param(
            {"backend/app/worker.py": SETTINGS, "Procfile": "worker: arq app.worker:WorkerSettings --watch src"},
            "app.worker:WorkerSettings",
            "backend",
            id="a Procfile tells, with a colon",
        ),
    ],
)
def test_the_path_is_the_one_that_arq_is_given(files: dict[str, str], target: str, root: str) -> None:
    settings = only(files)
    assert (settings.target, str(import_root(settings))) == (target, root)


CONFIG = """
import os
from datetime import timedelta
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.config import Config

config = Config(".env")
HOUR = 60 * 60

class Base(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="APP_")
    workers: int = 4

class Settings(Base):
    secret: str
    port: int = Field(default=6380)
    url: str = Field("redis://cache:6379/2", validation_alias="CACHE_URL")
    host: str = config("REDIS_QUEUE_HOST", default="localhost")

settings = Settings()

def get_settings() -> Settings:
    return settings
"""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'mail'", "mail"),
        ("2 * config.HOUR", 7200),
        ("-1", -1),
        ("f'arq:{config.HOUR}'", "arq:3600"),
        ("timedelta(minutes=2, seconds=5)", 125),
        ("[1, 'a']", (1, "a")),
        ("unknown()", None),
        ("1 / 0", None),
    ],
)
def test_a_value_is_what_stands_there(expression: str, value: Any) -> None:
    assert _value(expression) == (None if value is None else Known(value))


@pytest.mark.parametrize(
    ("expression", "name", "default", "required"),
    [
        ("os.environ['HOST']", "HOST", None, True),
        ("os.environ.get('HOST', 'redis')", "HOST", "redis", False),
        ("os.getenv('HOST')", "HOST", None, False),
        ("os.getenv('HOST') or 'redis'", "HOST", "redis", False),
        ("int(os.getenv('PORT', '6379'))", "PORT", "6379", False),
        ("config.config('HOST')", "HOST", None, True),
        ("config.settings.host", "REDIS_QUEUE_HOST", "localhost", False),
        ("config.settings.port", "APP_PORT", 6380, False),
        ("config.settings.url", "CACHE_URL", "redis://cache:6379/2", False),
        ("config.settings.workers", "APP_WORKERS", 4, False),
        ("config.settings.secret", "APP_SECRET", None, True),
        ("config.get_settings().port", "APP_PORT", 6380, False),
    ],
)
def test_a_variable_is_told_with_its_default(expression: str, name: str, default: Any, required: bool) -> None:
    value = _value(expression)
    assert isinstance(value, Variable)
    assert (value.name, value.default, value.required) == (name, default, required)


@pytest.mark.parametrize(
    ("expression", "host", "port", "variables"),
    [
        pytest.param("RedisSettings()", "localhost", 6379, [], id="arq's defaults"),
        pytest.param("RedisSettings('cache', 6380)", "cache", 6380, [], id="by position"),
        pytest.param(
            "RedisSettings(host=config.settings.host, port=config.settings.port)",
            "localhost",
            6380,
            ["REDIS_QUEUE_HOST", "APP_PORT"],
            id="by an app's settings",
        ),
        pytest.param("RedisSettings.from_dsn(config.settings.url)", "cache", 6379, ["CACHE_URL"], id="by a URL"),
        pytest.param("config.redis()", "redis", 6379, [], id="by a function"),
        pytest.param("config.places.redis", "localhost", 6379, ["REDIS_QUEUE_HOST"], id="by a property"),
        pytest.param("unknown()", None, None, None, id="in a way that cannot be told"),
    ],
)
def test_where_redis_is_told(expression: str, host: str | None, port: int | None, variables: list[str] | None) -> None:
    more = """
class Places:
    server = settings

    @property
    def redis(self):
        return RedisSettings(host=self.server.host)

places = Places()

def redis():
    return RedisSettings("redis")
"""
    found = redis_of(
        only(
            {
                "config.py": f"from arq.connections import RedisSettings\n{CONFIG}{more}",
                "worker.py": f"import config\n{HEAD}\nclass WorkerSettings:\n"
                f"    functions = [send]\n    redis_settings = {expression}",
            }
        )
    )
    if variables is None:
        assert found is None
    else:
        assert found is not None
        assert (found.known_host, found.known_port) == (host, port)
        assert [each.name for each in found.variables] == variables


def _value(expression: str) -> Known | Variable | None:
    body = f"import os\nfrom datetime import timedelta\nimport config\n{HEAD}\n"
    body += f"class WorkerSettings:\n    functions = [send]\n    ctx = {expression}\n"
    found = only({"config.py": CONFIG, "worker.py": body}).expression("ctx")
    assert found is not None
    return evaluate(*found)
