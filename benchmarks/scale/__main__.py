"""``python -m benchmarks.scale``: what one operator, one queue and one Redis bear, and by which laws that grows.

Three parts: ``operator`` (TaskQueues of one operator), ``heartbeats`` (workers of one queue), ``jobs`` (jobs that wait
or run and dead letters of one queue). ``--output`` keeps the figures of parts that are not measured. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks import table
from benchmarks.scale import chart, fleets, heartbeats, jobs, operators, report
from benchmarks.signals import end_as_by_ctrl_c

PARTS: Final = ("operator", "heartbeats", "jobs")


async def _measure(options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    parts = options.only or PARTS
    with tempfile.TemporaryDirectory(prefix="arqube-benchmark-") as folder:
        if "operator" in parts:
            figures["operator"] = await operators.measure(Path(folder), options.queues)
        if "heartbeats" in parts:
            figures["heartbeats"] = await heartbeats.measure(Path(folder), options.workers)
        if "jobs" in parts:
            figures["fleets"] = await fleets.measure(options.busy_workers)
            figures["jobs"] = await jobs.measure(options.jobs, options.dead_letters)
    return figures


def main() -> None:
    """Measure, print, write and draw."""
    end_as_by_ctrl_c()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", help="measure these parts")
    for name, sizes in (
        ("queues", operators.SIZES),
        ("workers", heartbeats.SIZES),
        ("jobs", jobs.SIZES),
        ("dead-letters", jobs.LETTERS),
        ("busy-workers", fleets.WORKERS),
    ):
        shown = " ".join(map(str, sizes))
        parser.add_argument(f"--{name}", type=int, nargs="+", default=sizes, metavar="N", help=f"sizes ({shown})")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    parser.add_argument("--chart", type=Path, help="draw the laws into this PNG")
    parser.add_argument("--page", type=Path, help="write the tables into this page, between its marks")
    parser.add_argument("--figures", type=Path, metavar="JSON", help="measure nothing: take the figures of this file")
    options = parser.parse_args()
    if options.figures:
        figures = json.loads(options.figures.read_text())
    else:
        figures = {"machine": table.machine(), **asyncio.run(_measure(options))}
        if options.output and options.output.exists():
            figures = {**json.loads(options.output.read_text()), **figures}
    print(report.text(figures))
    if options.output:
        options.output.write_text(json.dumps(figures, indent=1) + "\n")
    if options.chart:
        chart.draw(figures, options.chart)
    if options.page:
        options.page.write_text(report.page(options.page.read_text(), figures))
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
