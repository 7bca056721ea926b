"""What the site's pages show works: commands run or know their options, Python compiles, manifests are taken."""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.docs.markdown import COMMANDS, REPOSITORY, Block, blocks

from arqube_operator.api.v1alpha1 import TaskQueue

ALL = tuple(blocks())
SLOW_S = 60.0
BIN = Path(sys.executable).parent
GROUPS = {"buildx", "dlq", "jobs", "local", "-m"}
"""Commands with commands of their own; for Python its modules are."""
KNOWN_ELSEWHERE = {"docker", "buildah", "helm", "pip"}
"""Commands that a machine with this test may lack; what they are told is looked at where they are."""


def chosen(*tests: str) -> Any:
    return pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in ALL if b.test.split(" ")[0] in tests])


def in_language(language: str) -> Any:
    return pytest.mark.parametrize("block", [pytest.param(b, id=str(b)) for b in ALL if b.language == language])


def shell(command: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}:{os.environ['PATH']}"
    environ = {**os.environ, "PATH": path, **variables}
    return subprocess.run(command, shell=True, cwd=folder, env=environ, capture_output=True, text=True, check=False)  # noqa: S602


@functools.cache
def help_of(*command: str) -> str | None:
    """What ``command --help`` says, or None where there is no such command on this machine."""
    if shutil.which(command[0], path=f"{BIN}:{os.environ['PATH']}") is None:
        return None
    told = shell(shlex.join([*command, "--help"]), REPOSITORY)
    assert told.returncode == 0, f"{command} --help: {told.stderr}"
    return told.stdout + told.stderr


def test_each_block_of_commands_says_how_it_is_tested() -> None:
    marked = [block for block in ALL if block.language in COMMANDS]
    assert len(marked) > 10
    assert [str(block) for block in marked if not re.fullmatch(r"laptop|run|app|help|skip \S.*", block.test)] == []
    assert [str(block) for block in marked if not block.commands] == []


@chosen("help")
def test_commands_know_their_options(block: Block) -> None:
    for line in block.commands:
        program, *words = shlex.split(line.partition("  #")[0])
        depth = 2 if words[0] in GROUPS else 1
        subcommand, words = words[:depth], words[depth:]
        told = help_of(program, *subcommand)
        if told is None:
            assert program in KNOWN_ELSEWHERE, f"{program} is not installed"
            continue
        told += shell("kubectl options", REPOSITORY).stdout if program == "kubectl" else ""
        for option in (word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)):
            assert re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", told), f"{line}: {option}"
        for file in (word for word in words if word.startswith(("examples/", "charts/", "Dockerfile"))):
            assert (REPOSITORY / file).exists(), f"{line}: {file}"


@chosen("run")
def test_commands_run(block: Block, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    for line in block.commands:
        told = shell(line, tmp_path)
        assert told.returncode == 0, f"{line}\n{told.stdout}{told.stderr}"


@chosen("app")
def test_commands_run_beside_the_quick_starts_app(block: Block, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(next(b.text for b in ALL if b.language == "python"))
    for line in block.commands:
        told = shell(line, tmp_path)
        assert told.returncode == 0, f"{line}\n{told.stdout}{told.stderr}"
        assert "send" in told.stdout + told.stderr, "it tells the app's function"


@in_language("python")
def test_python_compiles(block: Block) -> None:
    compile(block.text, str(block), "exec")


@in_language("yaml")
def test_a_manifest_is_one_that_the_operator_takes(block: Block) -> None:
    body = yaml.safe_load(block.text)
    assert body["kind"] == "TaskQueue", "other YAML has no test"
    body["metadata"].setdefault("namespace", "default")  # as kubectl does
    TaskQueue.from_object(body)
