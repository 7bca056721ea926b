"""Environment variables as nobody should set them: of the worker, of the operator, and of the commands."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import CollectorRegistry

from arqube_local.cli import main as arqube
from arqube_operator.settings import InvalidSettingsError, read_settings
from arqube_queue import exit_codes
from arqube_worker import cli

KIND = "environments"
SECRET = "n0t-to-be-seen"  # noqa: S105 - looked for where it must not be
DIGITS = "9" * 5000
NO_UTF8 = "mail-\udcff"


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The path of settings that are right; what the command sets up for its process is undone."""
    (tmp_path / "sound_app.py").write_text("async def job(ctx): ...\nclass S: functions = [job]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(cli, "REGISTRY", CollectorRegistry())
    handlers, level = list(logging.root.handlers), logging.root.level
    yield "sound_app.S"
    sys.modules.pop("sound_app", None)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)
    logging.captureWarnings(False)


OF_WORKERS = [
    *(("ARQUBE_HTTP_PORT", value) for value in ("http", "-1", "70000", "\u00b2", DIGITS, "1.5", " 1", "\u0663")),
    *(("ARQUBE_CONCURRENCY", value) for value in ("0", "-1", "ten", "\u00b2", DIGITS, "\u0663", "1e3", "100001")),
    *(("ARQUBE_SHUTDOWN_TIMEOUT", value) for value in ("soon", "-1", "nan", "inf", "1e400", DIGITS, "30s")),
    *(("ARQUBE_DEAD_LETTER_RETENTION", value) for value in ("14d", "nan", "1e308", "-1")),
    *(("ARQUBE_DEAD_LETTER_MAX_ENTRIES", value) for value in ("many", "-1", "\u00b2", DIGITS)),
    *(("ARQUBE_LEASE", value) for value in ("0", "0.5", "short", "1e308", "nan")),
    *(("ARQUBE_UNKNOWN_FUNCTION_GRACE", value) for value in ("-1", "none", "1e308")),
    *(("ARQUBE_UVLOOP", value) for value in ("yes", "TRUE", "1")),
    *(("ARQUBE_LOG_LEVEL", value) for value in ("loud", "5", "\u00b2", "Level 7")),
    ("ARQUBE_LOG_FORMAT", "xml"),
    *(("ARQUBE_REDIS_PORT", value) for value in ("0", "70000", "redis", "\u00b2", DIGITS)),
    *(("ARQUBE_REDIS_DATABASE", value) for value in ("-1", "main", "65536", DIGITS)),
    *(("ARQUBE_REDIS_TLS", value) for value in ("yes", "1")),
    *(
        ("ARQUBE_REDIS_URL", value)
        for value in (
            f"http://:{SECRET}@redis",
            f"redis://:{SECRET}@redis:port",
            f"redis://:{SECRET}/{SECRET}@redis",
            f"redis://:{SECRET}#{SECRET}@redis",
            f"redis://:{SECRET}?{SECRET}@redis",
            f"redis://:{SECRET}@[redis",
            f"redis://:{SECRET}@redis/main",
            f"redis://:{SECRET}@redis?ssl=true",
            f"redis://:{SECRET}\udcff@redis",
            "://",
        )
    ),
    *(("ARQUBE_REDIS_SENTINELS", value) for value in (",", "s1:0", "s1 s2", "s1:port", "[::1", f"user:{SECRET}@s1:1")),
    *((name, NO_UTF8) for name in ("ARQUBE_QUEUE_NAME", "ARQUBE_WORKER_NAME", "ARQUBE_REDIS_HOST")),
    *((name, f"{SECRET}\udcff") for name in ("ARQUBE_REDIS_PASSWORD", "ARQUBE_REDIS_USERNAME")),
]


def named(case: tuple[str, str]) -> str:
    name, value = case
    return f"{name} is {value[:30]!a}".replace(SECRET, "(secret)")


@pytest.mark.parametrize("case", OF_WORKERS, ids=named)
def test_a_worker_refuses_a_variable_by_name(
    app: str, capsys: pytest.CaptureFixture[str], case: tuple[str, str]
) -> None:
    name, value = case
    environ = {"ARQUBE_HTTP_PORT": "0", "ARQUBE_REDIS_HOST": "127.0.0.1", name: value}
    assert cli.run([app], environ) == exit_codes.SETTINGS
    told = capsys.readouterr()
    assert name in told.err
    assert told.err.count("\n") == 1
    assert len(told.err) < 300
    assert "Traceback" not in told.out + told.err
    assert SECRET not in told.out + told.err


OF_OPERATORS = [
    *(("ARQUBE_HTTP_PORT", value) for value in ("http", "0", "70000", "\u00b2", DIGITS, "-1")),
    *(("ARQUBE_CONSOLE_PORT", value) for value in ("\u00b2", "0", DIGITS)),
    *(("ARQUBE_OPERATOR_NAMESPACE", value) for value in ("a/b", "Shop", "a" * 64, NO_UTF8, "a\n")),
    *(("ARQUBE_WATCH_NAMESPACES", value) for value in ("shop;mail", "../kube-system", "shop,Mail", "*")),
    *(("ARQUBE_LEASE_NAME", value) for value in ("../../secrets/x", "My Lease", "a" * 254, NO_UTF8, "-a")),
    *(("ARQUBE_OPERATOR_IDENTITY", value) for value in ("a\nb", NO_UTF8, "a" * 254)),
    *(("ARQUBE_LOG_LEVEL", value) for value in ("loud", "critical", "\u00b2")),
    *(("ARQUBE_WORKER_IMAGE", value) for value in ("my image", "a\nb")),
]


@pytest.mark.parametrize("case", OF_OPERATORS, ids=named)
def test_an_operator_refuses_a_variable_by_name(case: tuple[str, str]) -> None:
    name, value = case
    with pytest.raises(InvalidSettingsError, match=name) as caught:
        read_settings({name: value})
    assert len(str(caught.value)) < 400


OF_CONSOLES = [("ARQUBE_CONSOLE_SHOW_ARGUMENTS", "maybe"), ("ARQUBE_CONSOLE_TOKEN_FILE", "/nowhere/token")]


@pytest.mark.parametrize("case", OF_CONSOLES, ids=named)
def test_an_operator_with_a_console_refuses_a_variable_by_name(case: tuple[str, str]) -> None:
    name, value = case
    with pytest.raises(InvalidSettingsError, match=name):
        read_settings({"ARQUBE_CONSOLE_PORT": "8081", name: value})


@pytest.mark.parametrize("case", ["ARQUBE_HTTP_PORT", "ARQUBE_CONSOLE_PORT"])
def test_an_operator_whose_port_is_taken_says_so_and_ends(tmp_path: Path, case: str) -> None:
    (tmp_path / "kubeconfig").write_text(
        '{"apiVersion": "v1", "kind": "Config", "current-context": "a", "users": [{"name": "a", "user": {}}],'
        ' "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],'
        ' "clusters": [{"name": "a", "cluster": {"server": "http://127.0.0.1:1"}}]}'
    )
    with socket.create_server(("0.0.0.0", 0)) as taken, socket.create_server(("0.0.0.0", 0)) as free:  # noqa: S104
        ports = {"ARQUBE_HTTP_PORT": str(free.getsockname()[1])}
        free.close()
        done = subprocess.run(
            [sys.executable, "-m", "arqube_operator"],
            env={**os.environ, "KUBECONFIG": str(tmp_path / "kubeconfig"), **ports, case: str(taken.getsockname()[1])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 2
    assert f"arqube-operator: {case}: " in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


OF_COMMANDS = [case for case in OF_WORKERS if case[0].startswith("ARQUBE_REDIS_") or case[0] == "ARQUBE_QUEUE_NAME"]


@pytest.mark.parametrize("case", OF_COMMANDS, ids=named)
def test_a_command_refuses_a_variable_by_name(case: tuple[str, str]) -> None:
    name, value = case
    environ = {"ARQUBE_REDIS_HOST": "127.0.0.1", "ARQUBE_REDIS_PORT": "1", name: value}
    with pytest.MonkeyPatch.context() as patch:
        for variable, text in environ.items():
            patch.setenv(variable, text)
        done = CliRunner().invoke(arqube, ["queues"])
    assert done.exit_code in (1, 2)
    assert isinstance(done.exception, SystemExit), done.exception
    assert name in done.output
    assert SECRET not in done.output
