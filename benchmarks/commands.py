"""Run a command to its end, and say what went wrong."""

from __future__ import annotations

import shlex
import subprocess


def run(*command: str, stdin: str | None = None, timeout_s: float = 180, check: bool = True) -> str:
    """The command's output.

    Raises:
        SystemExit: It failed; with its error output.
    """
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s)  # noqa: S603
    if check and result.returncode != 0:
        raise SystemExit(f"{shlex.join(command)}: exit {result.returncode}\n{result.stderr[-4000:]}")
    return result.stdout
