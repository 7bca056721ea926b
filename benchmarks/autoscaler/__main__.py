"""``python -m benchmarks.autoscaler``: Arqube's policy against KEDA and the HPA under all loads, simulated.

``--traces`` adds public traces, ``--only`` and ``--policies`` choose some, ``--json`` ends with one line of JSON,
``--output`` writes it to a file, ``--chart`` draws it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from arqube_local.simulate.loads import SHAPES
from arqube_local.simulate.policies import POLICIES
from arqube_local.simulate.results import Result
from benchmarks.autoscaler import chart, traces
from benchmarks.autoscaler.musts import reached
from benchmarks.autoscaler.runs import Figures, measure
from benchmarks.signals import end_as_by_ctrl_c

SEEDS: Final = 10
LOADS: Final = ("step", "spike", "diurnal", "bursty", "onoff", "deferred", "shortbursts", "long")
"""The shapes that the policy was tuned on. ``cron`` is left to ``--only``: KEDA cannot know when a cron job is due."""


def table(figures: Figures) -> str:
    """Each load's figures by policy."""
    width = max(map(len, figures))
    heading = f"{'':{width}} {'':11} {'in time %':>9} {'p50 s':>7} {'p95 s':>7} {'pod-h':>7} {'scalings':>8} {'cut':>6}"
    lines = [heading]
    for load, by_policy in figures.items():
        for number, (policy, result) in enumerate(by_policy.items()):
            lines.append(f"{load if number == 0 else '':{width}} {policy:11} {_figures(result)}")
    return "\n".join(lines)


def _figures(result: Result) -> str:
    return (
        f"{100 * result.slo_share:9.2f} {result.p50_wait_s:7.1f} {result.p95_wait_s:7.1f}"
        f" {result.pod_hours:7.2f} {result.scale_events:8.1f} {result.interrupted:6.1f}"
    )


def musts(title: str, figures: Figures) -> str:
    """Whether each must is met by the loads of ``figures``."""
    rows = [must.row(value, load) for must, value, load in reached(figures)]
    return "\n".join(["", f"{title + ':':58} {'value':>8} {'must':>8}", *rows]) if rows else ""


def document(seeds: int, figures: Figures, parts: Mapping[str, Figures]) -> dict[str, Any]:
    """The same for JSON, with the musts of each part of the loads."""
    return {
        "seeds": seeds,
        "loads": {
            load: {policy: _rounded(result) for policy, result in by_policy.items()}
            for load, by_policy in figures.items()
        },
        "musts": {
            part: {must.key: round(value, 4) for must, value, _ in reached(some)} for part, some in parts.items()
        },
    }


def _rounded(result: Result) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(result).items()}


def _choose(names: str | None, known: Collection[str], everything: Collection[str], what: str) -> list[str]:
    if names is None:
        return list(everything)
    chosen = names.split(",")
    if unknown := [name for name in chosen if name not in known]:
        raise SystemExit(f"there is no {what} {', '.join(unknown)}: choose from {', '.join(known)}")
    return chosen


def main() -> None:
    """Simulate, print, and draw."""
    end_as_by_ctrl_c()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscaler", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds whose mean counts (%(default)s)")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="folder with public traces; see README.md")
    parser.add_argument("--only", help=f"some of {','.join(SHAPES)} and the names of traces; default: all but cron")
    parser.add_argument("--policies", help=f"some of {','.join(POLICIES)}; default: all")
    parser.add_argument("--jobs", type=int, default=2, help="simulations at the same time (%(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    parser.add_argument("--chart", type=Path, help="draw the comparison to this PNG file")
    options = parser.parse_args()

    files: Mapping[str, Path] = traces.find(options.traces) if options.traces else {}
    chosen = _choose(options.only, [*SHAPES, *files], [*LOADS, *files], "load")
    policies = _choose(options.policies, POLICIES, POLICIES, "policy")
    figures = measure({name: files.get(name) for name in chosen}, options.seeds, policies, options.jobs)

    shapes = {load: by_policy for load, by_policy in figures.items() if load in LOADS}
    public = {load: by_policy for load, by_policy in figures.items() if load in files}
    parts = {"shapes": shapes, "traces": public, "all": shapes | public}

    print(table(figures), *(musts(part, some) for part, some in parts.items()), sep="\n")
    if options.chart:
        chart.draw(figures, options.chart)
    whole = document(options.seeds, figures, parts)
    if options.output:
        options.output.write_text(json.dumps(whole, indent=2) + "\n")
    if options.json:
        print(json.dumps(whole))


if __name__ == "__main__":
    main()
