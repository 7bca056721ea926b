"""``python -m benchmarks.autoscaler``: Arqube's policy against KEDA and the HPA under all loads, simulated.

``--only`` and ``--policies`` choose some, ``--json`` ends with one line of JSON, ``--output`` writes it to a file.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from arqube_local.simulate.loads import SHAPES
from arqube_local.simulate.policies import POLICIES
from arqube_local.simulate.results import Result
from benchmarks.autoscaler.musts import reached
from benchmarks.autoscaler.runs import Figures, measure

SEEDS: Final = 10
LOADS: Final = ("step", "spike", "diurnal", "bursty", "onoff", "deferred", "shortbursts", "long")


def table(figures: Figures) -> str:
    """Each load's figures by policy, then the musts."""
    heading = f"{'':12} {'':11} {'in time %':>9} {'p50 s':>7} {'p95 s':>7} {'pod-h':>7} {'scalings':>8} {'cut':>6}"
    lines = [heading]
    for load, by_policy in figures.items():
        lines += [_row(load if number == 0 else "", *each) for number, each in enumerate(by_policy.items())]
    lines += ["", *(must.row(value, load) for must, value, load in reached(figures))]
    return "\n".join(lines)


def _row(load: str, policy: str, result: Result) -> str:
    return (
        f"{load:12} {policy:11} {100 * result.slo_share:9.2f} {result.p50_wait_s:7.1f} {result.p95_wait_s:7.1f}"
        f" {result.pod_hours:7.2f} {result.scale_events:8.1f} {result.interrupted:6.1f}"
    )


def document(figures: Figures, seeds: int) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "seeds": seeds,
        "loads": {
            load: {policy: asdict(result) for policy, result in by_policy.items()}
            for load, by_policy in figures.items()
        },
        **{must.key: round(value, 4) for must, value, _ in reached(figures)},
    }


def _some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}: choose from {', '.join(known)}")
        return chosen

    return parse


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.autoscaler", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds whose mean counts (%(default)s)")
    parser.add_argument("--only", type=_some_of(SHAPES), default=list(LOADS), help=f"some of {','.join(SHAPES)}")
    parser.add_argument(
        "--policies", type=_some_of(POLICIES), default=list(POLICIES), help=f"some of {','.join(POLICIES)}"
    )
    parser.add_argument("--jobs", type=int, default=2, help="simulations at the same time (%(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    options = parser.parse_args()
    figures = measure(options.only, options.seeds, options.policies, options.jobs)
    print(table(figures))
    if options.output:
        options.output.write_text(json.dumps(document(figures, options.seeds), indent=2) + "\n")
    if options.json:
        print(json.dumps(document(figures, options.seeds)))


if __name__ == "__main__":
    main()
