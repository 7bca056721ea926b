"""``python -m benchmarks.chaos``: one run under fire. docs/reliability.md tells what it proves.

Prints its seed; the same seed gives the same jobs and the same schedule of faults. Exit code 1: a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import structlog

from benchmarks.chaos import checker
from benchmarks.chaos.every_fault import FAULTS
from benchmarks.chaos.faults import Setup
from benchmarks.chaos.run import Report, Wanted, perform
from benchmarks.chaos.schedule import draw_setup
from benchmarks.signals import end_as_by_ctrl_c
from benchmarks.table import machine

JOBS: Final = 50_000
BLOWS: Final = 25
SECONDS: Final = 60.0
SHOWN: Final = 4
"""Violations of each promise that are told in full."""


def parser() -> argparse.ArgumentParser:
    """The options of a run, which the campaign shares."""
    found = argparse.ArgumentParser(add_help=False)
    found.add_argument("--jobs", type=int, default=JOBS, help="jobs of a run (%(default)s)")
    found.add_argument("--faults", type=int, default=BLOWS, help="blows of a run (%(default)s)")
    found.add_argument("--seconds", type=float, default=SECONDS, help="how long the load of a run is (%(default)g)")
    found.add_argument("--keep", type=Path, help="folder for books and logs of a run that breaks a promise")
    found.add_argument("--setup", choices=[each.name.lower() for each in Setup], help="of Redis; drawn by default")
    found.add_argument(
        "--only", type=lambda text: text.split(","), help="kinds of faults, by their names or beginnings"
    )
    return found


def wanted(options: argparse.Namespace, seed: int) -> Wanted:
    """The run that the options ask for.

    Raises:
        SystemExit: ``--only`` names no fault.
    """
    chosen = {
        name: fault
        for name, fault in FAULTS.items()
        if options.only is None or any(name.startswith(each) for each in options.only)
    }
    if not chosen:
        raise SystemExit("\n  ".join(["--only: no fault is called so; there are:", *sorted(FAULTS)]))
    setup = Setup[options.setup.upper()] if options.setup else draw_setup(seed)
    return Wanted(seed, setup, options.jobs, options.faults, options.seconds, chosen)


def say(text: str) -> None:
    """Tell how far it is."""
    print(f"-- {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def tell(report: Report) -> None:
    """Print the figures and, of what is broken, the whole history."""
    verdict = report.verdict
    told = f"{verdict.acknowledged} of {verdict.planned} jobs acknowledged"
    print(f"{told}, {verdict.starts} starts in {report.seconds:.0f} s")
    print(f"ended: {', '.join(f'{count} {name}' for name, count in sorted(verdict.ended.items()))}")
    print(f"blows: {len(report.struck)}; at rest after {report.drain_s and round(report.drain_s, 1)} s")
    for name, count in sorted(Counter(each.fault for each in report.struck).items()):
        again = sum(each.fault == name for each in verdict.repeats)
        times = report.recoveries.get(name, ())
        went_on = f", {max(times):6.2f} s at most until work went on" if times else ""
        print(f"  {name:45}{count:3} times, {again:6} runs repeated{went_on}")
    for promise in checker.PROMISES:
        broken = verdict.count(promise)
        print(f"{promise:45} {'yes' if not broken else f'NO, {broken} times'}")
    for violation in checker.some_of_each(verdict.violations, SHOWN):
        print(f"\n{violation.promise}: {violation.what}\n  {violation.detail}")
        if job := report.jobs.get(violation.what):
            events = checker.history(job)
            for at, text in events:
                print(f"  {at:.3f} {text}")
            first, last = events[0][0], events[-1][0]
            for each in report.struck:
                if each.began <= last and each.healed >= first:
                    print(f"  {each.began:.3f} to {each.healed:.3f} {each.fault} {each.victims or ''}")


def main() -> int:
    """Run once."""
    end_as_by_ctrl_c()
    # The cluster on this machine has much to say about an API server that is struck on purpose.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    arguments = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__, parents=[parser()])
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6), help="drawn by default")  # noqa: S311
    arguments.add_argument("--json", action="store_true", help="end with one line of JSON")
    options = arguments.parse_args()
    print(f"{machine()}\nseed {options.seed}", flush=True)
    report = asyncio.run(perform(wanted(options, options.seed), say, keep=options.keep))
    tell(report)
    if options.json:
        print(json.dumps(report.to_json()))
    return 0 if report.is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
