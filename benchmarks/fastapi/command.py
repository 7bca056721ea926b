"""The command line of the run, wherever it happens: one way of creating users after the other on one stage."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from benchmarks.fastapi.report import table
from benchmarks.fastapi.stage import Run, Stage, Way, perform
from benchmarks.signals import end_as_by_ctrl_c
from benchmarks.table import machine

RATE: Final = 200.0
SECONDS: Final = 100.0

Staged = Callable[[], AbstractAsyncContextManager[Stage]]


def command(program: str, description: str | None, staged: Staged) -> int:
    """Read the options, run, and print; 0 when the outbox has kept every promise."""
    end_as_by_ctrl_c()
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--rate", type=float, default=RATE, help="users a second (%(default)g)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the load is (%(default)g)")
    parser.add_argument("--control-seconds", type=float, help="the same for each way without an outbox; 0 for none")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    options = parser.parse_args()
    control_seconds = options.seconds if options.control_seconds is None else options.control_seconds
    ways = tuple(Way) if control_seconds else (Way.OUTBOX,)
    where = machine()
    versions, runs = asyncio.run(_run(staged, ways, options.rate, options.seconds, control_seconds))
    found = {"machine": where, "versions": versions, "runs": [each.to_json() for each in runs]}
    print(f"{where}\n{', '.join(versions)}\n\n{table(runs)}")
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n")
    if options.json:
        print(json.dumps(found))
    return 0 if runs[0].is_kept else 1


def _say(text: str) -> None:
    print(f"-- {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def _run(
    staged: Staged, ways: Sequence[Way], rate: float, seconds: float, control_seconds: float
) -> tuple[tuple[str, ...], list[Run]]:
    _say("setting the stage")
    async with staged() as stage:
        runs = []
        for way in ways:
            await stage.until_ready()
            wanted_s = seconds if way is Way.OUTBOX else control_seconds
            runs.append(await perform(stage, way, rate=rate, seconds=wanted_s, say=_say))
        return stage.versions, runs
