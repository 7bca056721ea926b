"""The commands of the site's pages against a cluster on this machine: first the quick start, as a reader follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.docs.markdown import Block, blocks
from tests.docs.test_blocks import shell

from arqube_local.cluster import LaptopCluster
from arqube_local.loopback import free_port

ALL = tuple(blocks())
PORT = "6390"
"""Of Redis in the quick start; each run takes a free one."""


@pytest_asyncio.fixture
async def reader(tmp_path: Path) -> AsyncIterator[tuple[Path, str]]:
    """The folder of somebody who has saved what the quick start shows, with the cluster up; and its kubeconfig."""
    port = free_port()
    quick_start = [block for block in ALL if block.page == "index.md"]
    app, enqueue = (block.text for block in quick_start if block.language == "python")
    (manifest,) = (block.text for block in quick_start if block.language == "yaml")
    (tmp_path / "app.py").write_text(app)
    (tmp_path / "enqueue.py").write_text(enqueue.replace(PORT, str(port)))
    (tmp_path / "taskqueue.yaml").write_text(manifest.replace(PORT, str(port)))
    state = tmp_path / ".arqube"
    async with LaptopCluster(state_dir=state, app_dir=tmp_path, redis_port=port):
        yield tmp_path, str(state / "kubeconfig")


@pytest.mark.timeout(300)
async def test_the_pages_commands_run_one_after_the_other(reader: tuple[Path, str]) -> None:
    folder, kubeconfig = reader
    marked: list[Block] = [block for block in ALL if block.test == "laptop"]
    assert marked[0].page == "index.md", "the quick start makes what the others look at"
    for block in marked:
        for line in block.commands:
            told = await asyncio.to_thread(shell, line, folder, KUBECONFIG=kubeconfig)
            assert told.returncode == 0, f"{block}: {line}\n{told.stdout}{told.stderr}"
            is_silent = line.startswith(("export ", "python ")) or ">" in line
            assert is_silent or told.stdout or told.stderr, f"{block}: {line}: no word"
