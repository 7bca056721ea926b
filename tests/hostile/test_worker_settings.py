"""WorkerSettings as nobody should write them: each is refused in one sentence that names what to change."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from arqube_queue import exit_codes
from arqube_worker import cli

KIND = "WorkerSettings"
ADDRESS = re.compile("0x[0-9a-f]+")
JOB = "async def job(ctx): ...\n"
IMPORTS = "from arq import cron, func\nfrom arq.connections import RedisSettings\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the app, which is forgotten after the test; so is what the command sets up for its process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    handlers, level = list(logging.root.handlers), logging.root.level
    yield tmp_path
    sys.modules.pop("hostile_app", None)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)


def refusal(folder: Path, body: str, capsys: pytest.CaptureFixture[str], target: str = "hostile_app.S") -> str:
    """What the worker and ``check`` say of a module of ``body``: the same, and without a traceback."""
    (folder / "hostile_app.py").write_text(IMPORTS + JOB + body)
    last_words = folder / "termination"
    environ = {"ARQUBE_HTTP_PORT": "0"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "REGISTRY", CollectorRegistry())
        patch.setenv("ARQUBE_TERMINATION_LOG", str(last_words))
        assert cli.run([target], environ) == exit_codes.SETTINGS
    told = capsys.readouterr()
    sys.modules.pop("hostile_app", None)
    assert cli.run(["check", target], environ) == 1
    checked = capsys.readouterr()
    assert "Traceback" not in told.out + told.err + checked.out + checked.err
    assert told.err.count("\n") == 1
    message = told.err.strip().removeprefix("arqube-worker: ")
    shown = target if target.isprintable() else ascii(target)
    assert ADDRESS.sub("", checked.out.strip()) == ADDRESS.sub("", f"{shown} would not run: {message}")
    assert last_words.read_text() == told.err.strip()[:1000]
    return message


AT_IMPORT = {
    "it is not Python": ("def (", "SyntaxError"),
    "it holds a null byte": ("x = '\0'", "null bytes"),
    "it ends the process well": ("import sys; sys.exit(0)", "keep scripts below if __name__ == '__main__'"),
    "it ends the process with a text": ("import sys; sys.exit('no database')", "no database; it must not end"),
    "it raises KeyboardInterrupt": ("raise KeyboardInterrupt", "failed: KeyboardInterrupt"),
    "it raises GeneratorExit": ("raise GeneratorExit", "failed: GeneratorExit"),
    "it raises what is no Exception": ("class Odd(BaseException): ...\nraise Odd('x')", "failed: Odd: x"),
    "it recurses without end": ("def f(): f()\nf()", "RecursionError"),
    "its error cannot be told": (
        "class E(Exception):\n  def __str__(self): raise RuntimeError\nraise E",
        "failed: E (",
    ),
    "its error has many lines": ("raise ValueError('one\\ntwo\\nthree')", "one two three"),
    "it imports what is not there": ("import nowhere_to_be_found", "No module named 'nowhere_to_be_found'"),
    "its factory exits": ("import sys\ndef S(): sys.exit(3)", "must not end the process"),
    "its factory raises": ("def S(): raise ValueError('later')", "ValueError: later"),
    "its factory makes nothing": ("def S(): return None", "holds none of arq's settings"),
    "its factory needs an argument": ("def S(a): return {}", "needs arguments or awaiting"),
    "its factory must be awaited": ("async def S(): return {}", "needs arguments or awaiting"),
    "it has no such name": ("T = 1", "has no 'S'"),
    "its names cannot be looked up": ("def __getattr__(name): raise RuntimeError('no')", "cannot be looked up"),
    "it is None": ("S = None", "holds none of arq's settings"),
    "it is a number": ("S = 1", "holds none of arq's settings"),
    "it is a list": ("S = [job]", "holds none of arq's settings"),
    "it is a dict of numbers": ("S = {1: 2}", "holds none of arq's settings"),
    "a class that answers for no attribute": (
        "class M(type):\n  def __getattribute__(c, n): raise RuntimeError(n)\nclass S(metaclass=M): functions = [job]",
        "cannot be read: RuntimeError",
    ),
    "a property that raises": (
        "class K:\n  functions = [job]\n  @property\n  def max_jobs(self): raise RuntimeError('later')\nS = K()",
        "cannot be read: RuntimeError: later",
    ),
}


@pytest.mark.parametrize("case", AT_IMPORT.values(), ids=AT_IMPORT.keys())
def test_a_module_that_does_not_give_settings_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], case: tuple[str, str]
) -> None:
    body, words = case
    assert words in refusal(folder, body, capsys)


TARGETS = {
    "a dot": (".", "names no settings"),
    "a colon": (":S", "names no settings"),
    "a module alone": ("hostile_app:", "names no settings"),
    "a relative module": ("..hostile_app:S", "importing '..hostile_app' failed"),
    "a null byte": ("hostile\0app:S", "names no settings"),
    "a path": ("./hostile_app.py:S", "failed"),
    "bytes that are no text": ("hostile_\udcff.S", "names no settings"),
    "a module of the standard library": ("os.path", "holds none of arq's settings"),
}


@pytest.mark.parametrize("case", TARGETS.values(), ids=TARGETS.keys())
def test_a_target_that_names_no_settings_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], case: tuple[str, str]
) -> None:
    target, words = case
    assert words in refusal(folder, "", capsys, target)


FUNCTIONS = {
    "there are none": ("functions = []", "at least one function"),
    "they are None": ("functions = None", "not iterable"),
    "they are a text": ("functions = 'job'", "module path"),
    "they are one function": ("functions = job", "not iterable"),
    "one is a number": ("functions = [1]", "not a coroutine function"),
    "one is None": ("functions = [None]", "not a coroutine function"),
    "one is nowhere": ("functions = ['nowhere_to_be_found.job']", "No module named"),
    "one is a lambda": ("functions = [lambda ctx: 1]", "not a coroutine function"),
    "one is a generator": ("async def g(ctx): yield\n  functions = [g]", "not a coroutine function"),
    "one has a timeout in words": ("functions = [func(job, timeout='10s')]", "timeout of function 'job' must be"),
    "one has no time at all": ("functions = [func(job, timeout=-1)]", "above 0"),
    "one has no tries": ("functions = [func(job, max_tries=0)]", "max_tries of function 'job'"),
    "one keeps results in words": ("functions = [func(job, keep_result='1d')]", "keep_result of function 'job'"),
    "one has a number for a name": ("functions = [func(job, name=5)]", "must be a text"),
    "a cron job is a function": ("cron_jobs = [job]", "arq refuses the settings"),
    "a cron job has a day in words": ("cron_jobs = [cron(job, weekday='someday')]", "weekday of cron job 'cron:job'"),
    "a cron job has an hour that no clock shows": ("cron_jobs = [cron(job, hour=24)]", "must be from 0 to 23"),
    "a cron job has a negative minute": ("cron_jobs = [cron(job, minute={0, -5})]", "minute of cron job"),
    "a cron job has an hour in words": ("cron_jobs = [cron(job, hour='*/2')]", "hour of cron job"),
    "a cron job has no hours": ("cron_jobs = [cron(job, hour=set())]", "hour of cron job"),
    "a cron job has a range of hours": ("cron_jobs = [cron(job, hour=range(3))]", "a set of such numbers"),
    "a cron job is due on the 30th of February": ("cron_jobs = [cron(job, month=2, day=30)]", "would never run"),
    "a cron job is due on the 31st of short months": (
        "cron_jobs = [cron(job, month={4, 6}, day={31})]",
        "one that its month has",
    ),
}


@pytest.mark.parametrize("case", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_functions_that_cannot_run_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], case: tuple[str, str]
) -> None:
    body, words = case
    assert words in refusal(folder, f"class S:\n  {body}", capsys)


VALUES = [
    *(("max_jobs", value) for value in ("'ten'", "0", "-1", "None", "1.5", "float('inf')", "float('nan')", "10**30")),
    *(("max_tries", value) for value in ("'five'", "0", "-1", "None", "[]")),
    *(("job_timeout", value) for value in ("'5m'", "0", "-1", "float('nan')", "10**400", "[]")),
    *(("keep_result", value) for value in ("'1d'", "-1", "float('inf')", "object()")),
    *(("poll_delay", value) for value in ("'slow'", "-1")),
    ("queue_read_limit", "'all'"),
    ("max_burst_jobs", "'some'"),
    ("health_check_interval", "'often'"),
    ("health_check_key", "7"),
    *(("job_completion_wait", value) for value in ("'long'", "float('inf')")),
    *(("expires_extra_ms", value) for value in ("None", "'1d'", "float('inf')", "-1")),
    *(("queue_name", value) for value in ("7", "''", "b'mail'")),
    *((hook, "'startup'") for hook in ("on_startup", "on_shutdown", "on_job_start", "on_job_end", "after_job_end")),
    ("job_serializer", "'json'"),
    ("job_deserializer", "'json'"),
    ("ctx", "[]"),
    ("timezone", "'Europe/Berlin'"),
    ("redis_settings", "'redis://redis'"),
    ("retry_policy", "3"),
]


@pytest.mark.parametrize("case", VALUES, ids=lambda case: " is ".join(case))
def test_a_value_that_no_worker_can_use_is_refused_by_name(
    folder: Path, capsys: pytest.CaptureFixture[str], case: tuple[str, str]
) -> None:
    name, value = case
    message = refusal(folder, f"class S:\n  functions = [job]\n  {name} = {value}", capsys)
    assert f"{name} must be " in message
    assert ", not " in message
    assert len(message) < 300
