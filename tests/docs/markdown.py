"""The blocks of the site's pages, and what a mark above a block says of how it is tested.

A block of commands begins with a line such as ``<!-- test: laptop -->``:

- ``laptop``: its commands run, in the order of the page, against a cluster on this machine.
- ``run``: they run in a copy of the repository's folder for nothing but their exit code.
- ``app``: they run in a folder with the quick start's app.
- ``help``: nothing runs, but the commands are there and know the options.
- ``skip REASON``: nothing is tested.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
PAGES = (
    *("index.md", "adopting.md", "concepts.md", "operations.md", "security.md", "troubleshooting.md", "images.md"),
    *("database.md", "dead-letters.md", "fastapi.md", "jobs.md", "redis.md", "retries.md"),
    *("compatibility.md", "scale.md", "upgrading.md"),
    *("migrating/from-arq.md", "migrating/from-keda.md", "migrating/from-fastapi-boilerplate.md"),
)
"""The pages whose blocks are all tested."""
COMMANDS = {"console", "sh", "bash", "shell"}
_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<test>[^\n]*?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """What stands between two fences: the page, the line, the language, the test that its mark names, the text."""

    page: str
    line: int
    language: str
    test: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The lines after the prompts."""
        return [line.removeprefix("$ ") for line in self.text.splitlines() if line.startswith("$ ")]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks() -> Iterator[Block]:
    """All blocks of ``PAGES``, in order."""
    for page in PAGES:
        text = (DOCS / page).read_text()
        for found in _BLOCK.finditer(text):
            line = text[: found.start()].count("\n") + 1
            yield Block(page, line, found["language"], found["test"] or "", found["text"])
