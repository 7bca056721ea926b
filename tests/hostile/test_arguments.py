"""Arguments that no command can use: each ends with a usage error or a sentence, never with a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from arqube_local.cli import main as arqube
from arqube_local.redis_server import RedisServer
from arqube_operator import check as operator_check
from arqube_worker import cli as worker
from arqube_worker.contrib.outbox.__main__ import main as relay

KIND = "arguments"
DIGITS = "9" * 5000
REDIS = "--redis {redis}"
FILES = {
    "empty": "",
    "null.yaml": "null",
    "text.yaml": "just a text",
    "bytes": "\udcff\udcfe\x00",
    "broken.yaml": "a: [b",
    "tag.yaml": "!!python/object/apply:os.system [exit]",
    "list.yaml": "- 1\n- 2",
    "pod.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: a}",
    "bad.yaml": "apiVersion: arqube.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a}\nspec: {redis: {}}",
    "future.yaml": "apiVersion: arqube.dev/v9\nkind: TaskQueue\nmetadata: {name: a}\nspec: {}",
    "itself.yaml": "&a [*a]",
    "good.yaml": (
        "apiVersion: arqube.dev/v1alpha1\nkind: TaskQueue\nmetadata: {name: a}\n"
        "spec: {redis: {host: redis}, worker: {image: app, settings: app.S}}"
    ),
    "words.csv": "when,what\nsoon,much\n",
    "negative.csv": "at_s\n-5\n",
    "nan.csv": "at_s\nnan\n",
    "huge.csv": f"at_s\n{DIGITS}\n",
}
COMMANDS = {
    "no such command": "frobnicate",
    "no such option": "queues --frobnicate",
    "an option without its value": "queues --redis",
    "a command of a group that is not there": "dlq frobnicate",
    "no queue is named": "queues",
    "a TaskQueue and a Redis": "queues --taskqueue a --redis redis://redis",
    "a namespace without a TaskQueue": "queues -n default --redis redis://redis",
    "a URL that is none": "queues --redis redis:6379",
    "a URL of another scheme": "queues --redis http://redis",
    "a URL with a port in words": "queues --redis redis://redis:port",
    "a Redis that is not there": "queues --redis redis://127.0.0.1:1",
    "a Redis whose name is none": "queues --redis redis://a..b",
    "a kubeconfig that is not there": "explain a --kubeconfig /nowhere/kubeconfig",
    "a kubeconfig that is a folder": "explain a --kubeconfig {folder}",
    "bytes that are no text": f"jobs show a\udcff {REDIS}",
    "a job that is none": f"jobs show nowhere {REDIS}",
    "jobs of a state nobody knows": f"jobs list --state sleeping {REDIS}",
    "a limit in words": f"jobs list --limit many {REDIS}",
    "a negative limit": f"jobs list --limit -1 {REDIS}",
    "a limit of 5,000 digits": f"jobs list --limit {DIGITS} {REDIS}",
    "cancel nothing": f"jobs cancel {REDIS}",
    "retry what is not there": f"jobs retry nowhere {REDIS}",
    "dead letters since a word": f"dlq list --since yesterday {REDIS}",
    "dead letters since a negative time": f"dlq list --since -1d {REDIS}",
    "dead letters since 5,000 digits": f"dlq list --since {DIGITS}d {REDIS}",
    "dead letters of a reason nobody knows": f"dlq list --reason bored {REDIS}",
    "a dead letter that is not there": f"dlq show nowhere {REDIS}",
    "retry neither some nor all": f"dlq retry {REDIS}",
    "purge neither some nor all": f"dlq purge {REDIS}",
    "an output nobody writes": f"queues -o xml {REDIS}",
    "record for no time": "record a --for 0s",
    "record for ever": f"record a --for {DIGITS}h",
    "record for a word": "record a --for long",
    "record into a folder that is not there": "record a --for 1s -o /nowhere/arrivals.csv --kubeconfig {folder}/empty",
    "simulate nothing": "simulate",
    "simulate a file that is not there": "simulate -f /nowhere.yaml --load spike",
    "simulate a folder": "simulate -f {folder} --load spike",
    **{
        f"simulate {name}": f"simulate -f {{folder}}/{name} --load spike"
        for name in FILES
        if name != "good.yaml" and not name.endswith(".csv")
    },
    "a load nobody knows": "simulate -f {folder}/good.yaml --load frobnicate",
    **{
        f"a load of {name}": f"simulate -f {{folder}}/good.yaml --load {{folder}}/{name}"
        for name in FILES
        if name.endswith(".csv") or name in ("empty", "bytes")
    },
    "check what is not there": "check /nowhere/project",
    "check a file": "check {folder}/empty",
    "init what is not there": "init /nowhere/project",
    "init a folder without settings": "init {folder}",
    "a cluster on a port that is none": "local up --api-port 70000",
    "a cluster of an app that is not there": "local up --app-dir /nowhere",
    "a cluster with a manifest that is not there": "local up -f /nowhere.yaml",
    "a cluster with a manifest that is none": "local up --state-dir {folder}/state -f {folder}/broken.yaml",
    "the state of no cluster": "local status --state-dir {folder}/nowhere",
    "a state that is a file": "local status --state-dir {folder}/empty",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    return tmp_path


@pytest.mark.parametrize("case", COMMANDS.values(), ids=COMMANDS.keys())
def test_arqube_ends_with_a_sentence(
    folder: Path, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.delenv("ARQUBE_REDIS_URL", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(folder / "nowhere"))
    address = f"redis://{redis_server.address.host}:{redis_server.address.port}"
    arguments = [part.format(folder=folder, redis=address) for part in case.split()]
    done = CliRunner().invoke(arqube, arguments)
    assert isinstance(done.exception, SystemExit), done.exception or done.output
    assert done.exit_code in (1, 2), done.output
    assert "Traceback" not in done.output
    assert done.output.strip()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param([], id="no settings"),
        pytest.param(["a.S", "b.S"], id="two settings"),
        pytest.param(["a.S", "--port", "http"], id="a port in words"),
        pytest.param(["a.S", "--port", "-1"], id="a negative port"),
        pytest.param(["a.S", "--port", "70000"], id="a port that is none"),
        pytest.param(["a.S", "--frobnicate"], id="an option nobody knows"),
        pytest.param(["check"], id="nothing to check"),
        pytest.param(["check", "a.S", "--frobnicate"], id="an option of check nobody knows"),
    ],
)
def test_arqube_worker_ends_with_2(capsys: pytest.CaptureFixture[str], case: list[str]) -> None:
    try:
        code: object = worker.run(case, {})
    except SystemExit as exit_:
        code = exit_.code
    assert code == 2
    told = capsys.readouterr().err
    assert told.strip()
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("case", "words"),
    [
        pytest.param([], "RELAY", id="no relay"),
        pytest.param(["relay"], "write module:name", id="no name"),
        pytest.param([":relay"], "write module:name", id="no module"),
        pytest.param(["nowhere_to_be_found:relay"], "cannot be imported", id="a module that is not there"),
        pytest.param(["..relay:relay"], "cannot be imported", id="a relative module"),
        pytest.param(["rel\0ay:relay"], "write module:name", id="a null byte"),
        pytest.param(["broken_relay:relay"], "SyntaxError", id="a module that is not Python"),
        pytest.param(["leaving_relay:relay"], "SystemExit", id="a module that ends the process"),
        pytest.param(["failing_relay:relay"], "ValueError: no database", id="a function that fails"),
        pytest.param(["os:sep"], "is no Relay but str", id="a text"),
        pytest.param(["os:getcwd"], "is no Relay but str", id="a function that makes a text"),
        pytest.param(["os:nowhere"], "cannot be imported", id="a name that is not there"),
    ],
)
def test_the_relay_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: list[str], words: str
) -> None:
    (tmp_path / "broken_relay.py").write_text("def (")
    (tmp_path / "leaving_relay.py").write_text("import sys; sys.exit(0)")
    (tmp_path / "failing_relay.py").write_text("def relay(): raise ValueError('no database')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        relay(case)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(["--within", "long"], id="a time in words"),
        pytest.param(["--within", "nan", "http://127.0.0.1:1"], id="a time that is no number"),
        pytest.param(["--within", "0", "not a URL"], id="a URL that is none"),
        pytest.param(["--within", "0", "ftp://127.0.0.1"], id="a URL of another scheme"),
    ],
)
def test_the_check_of_an_installed_operator_fails_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: list[str]
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    try:
        code: object = operator_check.main(case)
    except SystemExit as exit_:
        code = exit_.code
    assert code in (1, 2)
    assert capsys.readouterr().err.strip()
