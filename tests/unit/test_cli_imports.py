"""What the ``arqube`` command imports, and that its help says of each command what the command says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from arqube_local.cli import main

HEAVY = {"aiohttp", "jsonschema", "kopf", "kubernetes", "matplotlib", "prometheus_client", "pydantic", "structlog"}
HEAVY_WITHOUT_A_QUEUE = {*HEAVY, "arq", "asyncio", "redis", "yaml"}
IMPORTED = """
import sys
from arqube_local.cli import main
main(sys.argv[1:], standalone_mode=False)
print("imported:", *{name.partition(".")[0] for name in sys.modules})
"""


@pytest.mark.parametrize(
    ("command", "heavy"),
    [
        pytest.param(["--help"], HEAVY_WITHOUT_A_QUEUE, id="the list of commands needs none of them"),
        pytest.param(["explain", "--help"], HEAVY_WITHOUT_A_QUEUE, id="the help of explain needs none of its own"),
        pytest.param(["check", "--help"], HEAVY_WITHOUT_A_QUEUE, id="so does that of check"),
        pytest.param(["init", "--help"], HEAVY_WITHOUT_A_QUEUE, id="so does that of init"),
        pytest.param(["dlq", "--help"], HEAVY, id="the help of dlq needs Redis's client at most"),
        pytest.param(["dlq", "list", "--help"], HEAVY, id="so does that of its commands"),
        pytest.param(["record", "--help"], HEAVY, id="so does that of record"),
        pytest.param(
            ["simulate", "--help"], HEAVY - {"pydantic"}, id="that of simulate needs the API's models at most"
        ),
        pytest.param(["local", "down"], HEAVY, id="a cluster is stopped without what runs it"),
    ],
)
def test_a_command_imports_no_more_than_it_uses(command: list[str], heavy: set[str], tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", IMPORTED, *command], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    label, *imported = told.splitlines()[-1].split()
    assert label == "imported:"
    assert "click" in imported
    assert heavy & set(imported) == set()


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    context = click.Context(main)
    formatter = click.HelpFormatter(width=500)
    main.format_commands(context, formatter)
    listed = dict(line.split(maxsplit=1) for line in formatter.getvalue().splitlines()[1:])
    commands = {name: main.get_command(context, name) for name in main.list_commands(context)}
    assert listed == {name: command and command.get_short_help_str(500) for name, command in commands.items()}
