"""``python -m benchmarks.fastapi``: the FastAPI example on the laptop cluster while everything is killed.

``--json`` ends with one line of JSON. README.md tells what is measured, and what makes it exactly one mail.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.fastapi.laptop import staged
from benchmarks.fastapi.report import table
from benchmarks.fastapi.stage import Run, Way, perform
from benchmarks.signals import end_as_by_ctrl_c
from benchmarks.table import machine

RATE: Final = 200.0
SECONDS: Final = 100.0


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"-- {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


async def run(ways: Sequence[Way], rate: float, seconds: float, control_seconds: float) -> list[Run]:
    """One run after the other on one stage."""
    with tempfile.TemporaryDirectory(prefix="arqube-fastapi-") as folder:
        say("starting PostgreSQL, Redis, the cluster and the API")
        async with staged(Path(folder)) as laptop:
            say(f"on {', '.join(laptop.versions)}")
            runs = []
            for way in ways:
                await laptop.until_ready()
                wanted_s = seconds if way is Way.OUTBOX else control_seconds
                runs.append(await perform(laptop, way, rate=rate, seconds=wanted_s, say=say))
            return runs


def main() -> int:
    """Run, and print; 0 when the outbox has kept every promise."""
    end_as_by_ctrl_c()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fastapi", description=__doc__)
    parser.add_argument("--rate", type=float, default=RATE, help="users a second (%(default)g)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long the load is (%(default)g)")
    parser.add_argument("--control-seconds", type=float, help="the same for each way without an outbox; 0 for none")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    options = parser.parse_args()
    control_seconds = options.seconds if options.control_seconds is None else options.control_seconds
    ways = tuple(Way) if control_seconds else (Way.OUTBOX,)
    where = machine()
    runs = asyncio.run(run(ways, options.rate, options.seconds, control_seconds))
    found = {"machine": where, "runs": [each.to_json() for each in runs]}
    print(f"{where}\n\n{table(runs)}")
    if options.output:
        options.output.write_text(json.dumps(found, indent=2) + "\n")
    if options.json:
        print(json.dumps(found))
    return 0 if runs[0].is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
