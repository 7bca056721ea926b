"""``python -m benchmarks.chaos.campaign``: many runs with one seed after the other, and what they come to together.

Each run is a process of its own. Its figures are written as soon as it has ended, so a campaign that was broken off
goes on where it was, and runs that were broken off run again. Exit code 1 when a promise is broken in any run.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.chaos.__main__ import parser
from benchmarks.chaos.chart import draw_chart
from benchmarks.chaos.checker import PROMISES
from benchmarks.chaos.page import filled, table
from benchmarks.signals import end_as_by_ctrl_c
from benchmarks.table import machine

RUNS: Final = 20
LONGEST_RUN_S: Final = 900


def options() -> argparse.Namespace:
    """What the command line says."""
    found = argparse.ArgumentParser(prog="python -m benchmarks.chaos.campaign", description=__doc__, parents=[parser()])
    found.add_argument("--runs", type=int, default=RUNS, help="how many (%(default)s)")
    found.add_argument("--first-seed", type=int, required=True, help="the seed of the first run; the others follow")
    found.add_argument("--output", type=Path, required=True, help="JSON of all runs; runs that stand there are kept")
    found.add_argument("--repeats", type=Path, help="CSV to which each repeated run is added, with the fault behind it")
    found.add_argument("--page", type=Path, help="Markdown whose section of the last campaign is written anew")
    found.add_argument("--chart", type=Path, help="write a plot to this file")
    return found.parse_args()


def run_once(seed: int, chosen: argparse.Namespace) -> dict[str, Any]:
    """One run's figures; ``{"seed": ..., "broken_off": ...}`` for one that did not come to its end."""
    command = [sys.executable, "-m", "benchmarks.chaos", f"--seed={seed}", "--json"]
    command += [f"--jobs={chosen.jobs}", f"--faults={chosen.faults}", f"--seconds={chosen.seconds}"]
    command += [f"--setup={chosen.setup}"] if chosen.setup else []
    command += [f"--only={','.join(chosen.only)}"] if chosen.only else []
    command += [f"--keep={chosen.keep}"] if chosen.keep else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        try:
            told, _ = process.communicate(timeout=LONGEST_RUN_S)
        except BaseException:
            process.terminate()
            raise
    sys.stdout.write(told)
    last = told.strip().rsplit("\n", 1)[-1]
    if not last.startswith("{"):
        return {"seed": seed, "broken_off": f"exit code {process.returncode}"}
    figures: dict[str, Any] = json.loads(last)
    return figures


def sum_up(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of all runs together: pure."""
    ended, faults, repeats, violations = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    recovery: defaultdict[str, list[float]] = defaultdict(list)
    whole = [run for run in runs if "broken_off" not in run]
    for run in whole:
        ended.update(run["ended"])
        faults.update(run["faults"])
        repeats.update(run["repeats"])
        violations.update(run["violations"])
        for name, times in run["recovery_s"].items():
            recovery[name] += times
    return {
        "runs": len(runs),
        "broken_off": len(runs) - len(whole),
        "jobs": sum(run["acknowledged"] for run in whole),
        "starts": sum(run["starts"] for run in whole),
        "blows": faults.total(),
        "seconds": round(sum(run["seconds"] for run in whole)),
        "ended": dict(sorted(ended.items())),
        "faults": {
            name: {
                "blows": count,
                "repeats": repeats[name],
                "recovery_median_s": round(median(recovery[name]), 2) if recovery[name] else None,
                "recovery_most_s": round(max(recovery[name]), 2) if recovery[name] else None,
            }
            for name, count in sorted(faults.items())
        },
        "repeats": repeats.total(),
        "violations": {promise: violations[promise] for promise in PROMISES},
    }


def is_clean(summary: dict[str, Any]) -> bool:
    """There were runs, all came to their ends, and no promise was broken in any."""
    return summary["runs"] > 0 and not summary["broken_off"] and not any(summary["violations"].values())


def main() -> int:
    """Run what has not run yet, and sum up."""
    end_as_by_ctrl_c()
    chosen = options()
    found: dict[str, Any] = {"machine": machine(), "runs": []}
    if chosen.output.exists():
        found = json.loads(chosen.output.read_text())
    found["runs"] = [run for run in found["runs"] if "broken_off" not in run]
    seeds = {run["seed"] for run in found["runs"]}
    for seed in range(chosen.first_seed, chosen.first_seed + chosen.runs):
        if seed in seeds:
            continue
        figures = run_once(seed, chosen)
        repeated = figures.pop("repeated", [])
        if chosen.repeats:
            _list(chosen.repeats, seed, repeated)
        found["runs"].append(figures)
        found["summary"] = sum_up(found["runs"])
        _write(chosen.output, found)
    summary = sum_up(found["runs"])
    print(f"{summary['jobs']:,} jobs, {summary['blows']} blows in {summary['runs']} runs\n\n{table(summary)}")
    if chosen.chart:
        draw_chart(summary, chosen.chart)
    if chosen.page:
        command = shlex.join(["python", "-m", "benchmarks.chaos.campaign", *sys.argv[1:]])
        chosen.page.write_text(filled(chosen.page.read_text(), summary, command))
    return 0 if is_clean(summary) else 1


def _list(path: Path, seed: int, repeated: list[tuple[str, str, float]]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        if new:
            lines.writerow(("seed", "job", "fault", "seconds from the blow until it began again"))
        lines.writerows((seed, *each) for each in repeated)


def _write(path: Path, found: dict[str, Any]) -> None:
    """All or nothing, whatever becomes of this process."""
    new = path.with_suffix(".new")
    new.write_text(json.dumps(found, indent=1) + "\n")
    os.replace(new, path)  # noqa: PTH105


if __name__ == "__main__":
    sys.exit(main())
