"""Loading a WorkerSettings of any shape, laying the environment over it, and what ``check`` says of it."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from arq.connections import RedisSettings

from arqube_queue.connection import RedisAddress
from arqube_worker import check, settings
from arqube_worker.settings import LoadedSettings, SettingsError

OFF = "off, unless the app sets a provider of its own"
HEAD = """
from arq import cron
from arq.connections import RedisSettings

async def send(ctx): ...
async def begin(ctx): ...
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module below a package and return its dotted name; it is forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "app_under_test").mkdir()

    def write(body: str) -> str:
        (tmp_path / "app_under_test" / "worker.py").write_text(HEAD + textwrap.dedent(body))
        return "app_under_test.worker"

    yield write
    for name in set(sys.modules) - before:
        if name.startswith("app_under_test"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("body", "name", "known", "unknown", "inherited"),
    [
        pytest.param(
            """
            class WorkerSettings:
                functions = [send]
                max_jobs = 3
            """,
            ".WorkerSettings",
            {"functions", "max_jobs"},
            (),
            (),
            id="a class",
        ),
        pytest.param(
            """
            class WorkerSettings:
                functions = [send]
            """,
            ":WorkerSettings",
            {"functions"},
            (),
            (),
            id="a class behind a colon",
        ),
        pytest.param(
            """
            class Group:
                class WorkerSettings:
                    functions = [send]
            """,
            ":Group.WorkerSettings",
            {"functions"},
            (),
            (),
            id="a class within a class",
        ),
        pytest.param(
            """
            class Base:
                functions = [send]
                max_jobs = 3
            class WorkerSettings(Base):
                max_jobs = 4
            """,
            ".WorkerSettings",
            {"functions", "max_jobs"},
            (),
            ("functions",),
            id="a class whose base holds some of it",
        ),
        pytest.param(
            "WorkerSettings = {'functions': [send], 'max_job': 3}",
            ".WorkerSettings",
            {"functions"},
            ("max_job",),
            (),
            id="a dict with a misspelt name",
        ),
        pytest.param(
            """
            class Made:
                def __init__(self):
                    self.functions = [send]
                    self._private = 1
            WorkerSettings = Made()
            """,
            ".WorkerSettings",
            {"functions"},
            (),
            (),
            id="an object",
        ),
        pytest.param(
            """
            def make():
                return type("Made", (), {"functions": [send], "helper": 1})
            """,
            ".make",
            {"functions"},
            ("helper",),
            (),
            id="a function that makes a class",
        ),
        pytest.param(
            "import sys\nfunctions = [send]\nqueue_name = 'mail'\nitself = sys.modules[__name__]",
            ".itself",
            {"functions", "queue_name"},
            (),
            (),
            id="a module",
        ),
    ],
)
def test_settings_are_found(
    module: Callable[[str], str],
    body: str,
    name: str,
    known: set[str],
    unknown: tuple[str, ...],
    inherited: tuple[str, ...],
) -> None:
    loaded = settings.load(module(body) + name)
    assert set(loaded.values) == known
    assert (loaded.unknown, loaded.inherited) == (unknown, inherited)


def test_a_hook_in_the_class_behind_an_object_is_called_with_ctx_alone(module: Callable[[str], str]) -> None:
    loaded = settings.load(
        module(
            """
            class Made:
                functions = [send]
                on_startup = begin
                async def on_shutdown(self, ctx): ...
            WorkerSettings = Made()
            """
        )
        + ".WorkerSettings"
    )
    assert loaded.values["on_startup"].__name__ == "begin"
    for hook in ("on_startup", "on_shutdown"):
        loaded.values[hook]({}).close()


@pytest.mark.parametrize(
    ("target", "body", "message"),
    [
        pytest.param("no_such_app.Settings", "", "there is no module 'no_such_app'", id="no module"),
        pytest.param("app_under_test.other.Settings", "", "no module 'app_under_test.other'", id="no submodule"),
        pytest.param(
            "app_under_test.worker.Missing", "class MailSettings: ...", "it has MailSettings", id="another name"
        ),
        pytest.param("Settings", "", "write module.WorkerSettings", id="no module in the target"),
        pytest.param(":Settings", "", "write module.WorkerSettings", id="nothing before the colon"),
        pytest.param(
            "app_under_test.worker.Settings",
            "import no_such_library",
            "No module named 'no_such_library'",
            id="the module's own import fails",
        ),
        pytest.param("app_under_test.worker.Settings", "1 / 0", "ZeroDivisionError", id="the module raises"),
        pytest.param("app_under_test.worker.Settings", "Settings = 3", "none of arq's settings", id="a number"),
        pytest.param(
            "app_under_test.worker.make", "def make(x): ...", "needs arguments", id="a function with an argument"
        ),
        pytest.param("app_under_test.worker.make", "def make(): 1 / 0", "ZeroDivisionError", id="a factory raises"),
    ],
)
def test_bad_targets_are_told(module: Callable[[str], str], target: str, body: str, message: str) -> None:
    module(body)
    with pytest.raises(SettingsError, match=message):
        settings.load(target)


OWN = RedisSettings(host="own", port=7)


@pytest.mark.parametrize(
    ("values", "environ", "queue", "slots", "redis", "timeout_s"),
    [
        pytest.param({}, {}, None, None, RedisSettings(), 30, id="nothing said: arq's defaults and 30 s"),
        pytest.param(
            {"redis_settings": OWN, "queue_name": "mail", "max_jobs": 3, "job_completion_wait": 90},
            {},
            "mail",
            3,
            OWN,
            90,
            id="the settings stand where the environment says nothing",
        ),
        pytest.param(
            {"redis_settings": OWN, "queue_name": "mail", "max_jobs": 3, "job_completion_wait": 90},
            {
                "ARQUBE_REDIS_HOST": "theirs",
                "ARQUBE_QUEUE_NAME": "post",
                "ARQUBE_CONCURRENCY": "8",
                "ARQUBE_SHUTDOWN_TIMEOUT": "1.5",
            },
            "post",
            8,
            RedisAddress(host="theirs"),
            1.5,
            id="the environment wins",
        ),
        pytest.param(
            {"redis_settings": OWN},
            {"ARQUBE_QUEUE_NAME": "", "ARQUBE_CONCURRENCY": "", "ARQUBE_SHUTDOWN_TIMEOUT": ""},
            None,
            None,
            OWN,
            30,
            id="empty variables say nothing",
        ),
        pytest.param({}, {"ARQUBE_SHUTDOWN_TIMEOUT": "0"}, None, None, RedisSettings(), 0, id="no time to finish"),
    ],
)
def test_the_environment_is_laid_over_the_settings(
    values: dict[str, Any],
    environ: dict[str, str],
    queue: str | None,
    slots: int | None,
    redis: RedisSettings | RedisAddress,
    timeout_s: float,
) -> None:
    found = settings.configure(LoadedSettings("app:S", values), environ)
    assert found.options.get("queue_name") == queue
    assert found.options.get("max_jobs") == slots
    assert found.redis == redis
    assert found.shutdown_timeout_s == timeout_s


@pytest.mark.parametrize(
    ("values", "environ", "message"),
    [
        pytest.param({}, {"ARQUBE_CONCURRENCY": "0"}, "ARQUBE_CONCURRENCY", id="no slot"),
        pytest.param({}, {"ARQUBE_CONCURRENCY": "²"}, "ARQUBE_CONCURRENCY", id="a digit that is no number"),
        pytest.param({}, {"ARQUBE_SHUTDOWN_TIMEOUT": "-1"}, "ARQUBE_SHUTDOWN_TIMEOUT", id="a negative time"),
        pytest.param({}, {"ARQUBE_SHUTDOWN_TIMEOUT": "nan"}, "ARQUBE_SHUTDOWN_TIMEOUT", id="no number"),
        pytest.param({}, {"ARQUBE_SHUTDOWN_TIMEOUT": "30s"}, "number of seconds", id="a unit"),
        pytest.param({}, {"ARQUBE_REDIS_URL": "http://x"}, "ARQUBE_REDIS_URL", id="a URL of another kind"),
        pytest.param({"redis_settings": "redis://x"}, {}, "redis_settings must be arq's", id="a URL as redis_settings"),
    ],
)
def test_bad_values_are_told(values: dict[str, Any], environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings.configure(LoadedSettings("app:S", values), environ)


@pytest.mark.parametrize(
    ("loaded", "environ", "expected"),
    [
        pytest.param(
            LoadedSettings("app:S", {"redis_settings": OWN}, unknown=("max_job",)),
            {},
            ["arq knows no setting 'max_job' and drops it; did you mean 'max_jobs'?"],
            id="a misspelt name",
        ),
        pytest.param(
            LoadedSettings("app:S", {"redis_settings": OWN}, unknown=("zzz",)),
            {},
            ["arq knows no setting 'zzz' and drops it"],
            id="a name like none of arq's",
        ),
        pytest.param(
            LoadedSettings("app:S", {"redis_settings": OWN}, inherited=("functions",)),
            {},
            ["inherited settings count here, but plain arq would miss them: 'functions'"],
            id="an inherited name",
        ),
        pytest.param(
            LoadedSettings("app:S", {"functions": []}),
            {},
            ["neither redis_settings nor the environment says where Redis is: localhost:6379/0 is used"],
            id="Redis is nowhere named",
        ),
        pytest.param(
            LoadedSettings("app:S", {"functions": []}),
            {"ARQUBE_REDIS_HOST": "db"},
            [],
            id="the environment names Redis",
        ),
        pytest.param(LoadedSettings("app:S", {"redis_settings": OWN}), {}, [], id="nothing to say"),
    ],
)
def test_check_warns(loaded: LoadedSettings, environ: dict[str, str], expected: list[str]) -> None:
    assert check.warnings(loaded, settings.configure(loaded, environ)) == expected


def test_check_prints_a_function_without_a_timeout(
    module: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    target = module("class WorkerSettings:\n    functions = [send]\n    job_timeout = None")
    assert check.command([target + ".WorkerSettings"], {}) == 0
    assert "send (no timeout, 5 tries)" in capsys.readouterr().out


def test_check_reports_functions_and_cron_jobs(module: Callable[[str], str]) -> None:
    target = module(
        """
        class WorkerSettings:
            functions = [send]
            cron_jobs = [cron(begin, hour=3)]
            redis_settings = RedisSettings(host="db", password="hush")
            job_timeout = 60
            max_tries = 2
        """
    )
    found = check.report(target + ".WorkerSettings", {})
    assert found["functions"] == [{"name": "send", "timeout_s": 60, "max_tries": 2}]
    (cron_job,) = found["cron_jobs"]
    assert cron_job["name"] == "cron:begin"
    assert "T03:00:00" in cron_job["next_run"]
    assert (found["redis"], found["queue"], found["concurrency"], found["warnings"]) == (
        "db:6379/0",
        "arq:queue",
        10,
        [],
    )
    assert "hush" not in str(found)


@pytest.mark.parametrize(
    ("environ", "loop", "traces"),
    [
        pytest.param({}, "asyncio", OFF, id="nothing asked for"),
        pytest.param({"ARQUBE_UVLOOP": "true"}, "uvloop", OFF, id="uvloop"),
        pytest.param({"OTEL_TRACES_EXPORTER": "otlp,console"}, "asyncio", "sent by otlp, console", id="exporters"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://otel", "OTEL_SDK_DISABLED": "true"},
            "asyncio",
            "off, by OTEL_SDK_DISABLED",
            id="tracing switched off",
        ),
    ],
)
def test_check_tells_of_the_loop_and_of_traces(
    module: Callable[[str], str], environ: dict[str, str], loop: str, traces: str
) -> None:
    found = check.report(module("class S:\n    functions = [send]") + ".S", environ)
    assert (found["loop"], found["traces"]) == (loop, traces)


def test_check_tells_of_two_functions_of_one_name(module: Callable[[str], str]) -> None:
    body = """
        from arq import func
        class S:
            functions = [send, func(begin, name="send"), func(begin, name="begin"), begin]
    """
    found = check.report(module(body) + ".S", {})
    assert found["warnings"][0] == "several functions are named 'send': the last of them runs the jobs of all"
    assert len([each for each in found["warnings"] if "several functions" in each]) == 1


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("class S:\n    functions = []", "at least one function or cron_job", id="nothing to run"),
        pytest.param(
            "def f(ctx): ...\nclass S:\n    functions = [f]", "not a coroutine function", id="a sync function"
        ),
        pytest.param("class S:\n    functions = ['no.such.f']", "No module named", id="a function that is not there"),
        pytest.param("class S:\n    functions = [send]\n    queue_name = None", "queue_name", id="no queue"),
    ],
)
def test_what_arq_would_refuse_is_told(module: Callable[[str], str], body: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        check.report(module(body) + ".S", {})
