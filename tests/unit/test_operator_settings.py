"""The operator's environment, and what it says of bad values."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from arqube_operator.__main__ import main
from arqube_operator.settings import ConsoleSettings, InvalidSettingsError, read_settings


def test_an_empty_environment_is_enough() -> None:
    settings = read_settings({})

    assert (settings.namespace, settings.http_port, settings.scopes) == ("default", 8080, (None,))
    assert settings.identity
    assert settings.runtime_image == f"arqube-worker:{version('arqube')}"


def test_the_chart_s_environment_is_read() -> None:
    settings = read_settings(
        {
            "ARQUBE_OPERATOR_NAMESPACE": "arqube",
            "ARQUBE_OPERATOR_IDENTITY": "arqube-operator-0",
            "ARQUBE_WATCH_NAMESPACES": "shop, mail,shop",
            "ARQUBE_HTTP_PORT": "9000",
            "ARQUBE_LOG_LEVEL": "DEBUG",
            "ARQUBE_WORKER_IMAGE": "mirror:5000/arqube-worker@sha256:00",
        }
    )

    assert settings.scopes == ("shop", "mail")
    assert (settings.namespace, settings.identity) == ("arqube", "arqube-operator-0")
    assert (settings.http_port, settings.log_level) == (9000, "debug")
    assert settings.runtime_image == "mirror:5000/arqube-worker@sha256:00"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("ARQUBE_HTTP_PORT", "http", id="a port that is no number"),
        pytest.param("ARQUBE_HTTP_PORT", "70000", id="a port out of range"),
        pytest.param("ARQUBE_WATCH_NAMESPACES", "Shop", id="a namespace with a capital"),
        pytest.param("ARQUBE_OPERATOR_NAMESPACE", "a/b", id="a namespace with a slash"),
        pytest.param("ARQUBE_LOG_LEVEL", "loud", id="an unknown level"),
        pytest.param("ARQUBE_WORKER_IMAGE", "arqube worker", id="an image with a space"),
    ],
)
def test_a_bad_value_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettingsError, match=variable):
        read_settings({variable: value})


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param("shard=a", id="a value"),
        pytest.param("shard == a,tier!=batch", id="two requirements"),
        pytest.param("example.com/shard in (a, b), shard notin (c)", id="sets of values"),
        pytest.param("shard, !legacy", id="a label that is there, and one that is not"),
        pytest.param("shard=", id="an empty value"),
    ],
)
def test_a_label_selector_is_read(selector: str) -> None:
    environ = {"ARQUBE_WATCH_LABEL_SELECTOR": selector, "ARQUBE_LEASE_NAME": "shard-a"}

    assert read_settings(environ).watch_label_selector == selector
    assert read_settings({"ARQUBE_WATCH_LABEL_SELECTOR": " "}).watch_label_selector == ""


@pytest.mark.parametrize(
    "selector",
    [
        pytest.param("shard=a b", id="a value with a space"),
        pytest.param("shard in a", id="a set without parentheses"),
        pytest.param("shard in ()", id="an empty set"),
        pytest.param("shard=a,,tier=b", id="an empty requirement"),
        pytest.param("shard>1", id="an order of values"),
        pytest.param("/shard=a", id="a label with an empty prefix"),
        pytest.param("shard=" + "a" * 64, id="a value that is too long"),
    ],
)
def test_a_bad_label_selector_is_named_with_the_remedy(selector: str) -> None:
    environ = {"ARQUBE_WATCH_LABEL_SELECTOR": selector, "ARQUBE_LEASE_NAME": "shard-a"}

    with pytest.raises(InvalidSettingsError, match=r"^ARQUBE_WATCH_LABEL_SELECTOR: .* write it as in shard=a"):
        read_settings(environ)


def test_shards_must_not_stand_for_one_lease() -> None:
    with pytest.raises(InvalidSettingsError, match=r"^ARQUBE_LEASE_NAME must be set where .* another name for each"):
        read_settings({"ARQUBE_WATCH_LABEL_SELECTOR": "shard=a"})


@pytest.mark.parametrize(
    ("argument", "code", "told"),
    [
        pytest.param("--help", 0, "ARQUBE_*", id="help says what configures it"),
        pytest.param("--version", 0, version("arqube"), id="its version"),
        pytest.param("--verbose", 2, "unrecognized arguments: --verbose", id="an unknown option starts nothing"),
    ],
)
def test_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str, code: int, told: str
) -> None:
    monkeypatch.setattr("sys.argv", ["arqube-operator", argument])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr()
    assert ended.value.code == code
    assert told in output.out + output.err


def test_the_console_is_off_unless_it_has_a_port(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("0123456789abcdef")

    assert read_settings({"ARQUBE_CONSOLE_TOKEN_FILE": str(token)}).console is None
    assert read_settings({"ARQUBE_CONSOLE_PORT": "8081"}).console == ConsoleSettings(8081, None, show_arguments=False)
    environ = {
        "ARQUBE_CONSOLE_PORT": "8081",
        "ARQUBE_CONSOLE_TOKEN_FILE": str(token),
        "ARQUBE_CONSOLE_SHOW_ARGUMENTS": "True",
    }
    assert read_settings(environ).console == ConsoleSettings(8081, token, show_arguments=True)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        pytest.param("ARQUBE_CONSOLE_PORT", "web", id="a port that is no number"),
        pytest.param("ARQUBE_CONSOLE_TOKEN_FILE", "/nowhere/token", id="a token that is not mounted"),
        pytest.param("ARQUBE_CONSOLE_SHOW_ARGUMENTS", "some", id="a word for a switch"),
    ],
)
def test_a_bad_value_of_the_console_names_its_variable(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettingsError, match=variable):
        read_settings({"ARQUBE_CONSOLE_PORT": "8081", variable: value})
