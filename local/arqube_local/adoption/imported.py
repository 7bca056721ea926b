"""What ``arqube-worker check`` says of a settings object in the project's own Python, which imports it.

The runtime is laid out as it is for a pod, so that what cannot run there cannot run here for the same reason.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from arqube_local.adoption.findings import Finding, Level
from arqube_local.adoption.sources import ProjectError
from arqube_local.adoption.worker_settings import WorkerSettings, import_root
from arqube_worker.inject.__main__ import lay_out

_TIMEOUT_S = 120.0


def report(settings: WorkerSettings, folder: Path, python: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """What the worker would do: the report of ``arqube-worker check``, or ``{"error": ...}``.

    Args:
        settings: What to import.
        folder: Of the project.
        python: The interpreter that has the project's packages.
        environ: What the app finds in its environment.

    Raises:
        ProjectError: ``python`` cannot be run, or does not answer.
    """
    with tempfile.TemporaryDirectory(prefix="arqube-check-") as runtime:
        lay_out(Path(runtime))
        # Where it is run is another folder than this one.
        interpreter = str(Path(python).absolute()) if os.sep in python else python
        command = [interpreter, str(Path(runtime, "run.py")), "check", settings.target, "--json"]
        try:
            done = subprocess.run(  # noqa: S603 - the user names the Python
                command,
                cwd=folder / import_root(settings),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except OSError as error:
            raise ProjectError(f"{python}: {error.strerror}: name one such as .venv/bin/python") from None
        except subprocess.TimeoutExpired:
            return {"error": f"importing it took longer than {_TIMEOUT_S:g} s"}
    lines = done.stdout.splitlines()
    try:
        found = json.loads(lines[-1])  # the app may print while it is imported
    except (IndexError, ValueError):
        found = None
    if isinstance(found, dict):
        return found
    last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
    return {"error": last}


def finding(settings: WorkerSettings, found: Mapping[str, Any]) -> Finding | None:
    """What is wrong by a report; None where the settings would run."""
    if "error" not in found:
        return None
    return Finding(
        "not-importable",
        Level.ERROR,
        settings.place,
        f"a worker with {settings.target} ends at its start: {found['error']}",
        "mend what it names; give --python the Python that has the project's packages",
    )
