"""Draws a campaign: how often each fault struck, what it repeated, and how soon work went on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw_chart(summary: dict[str, Any], path: Path) -> None:
    """Write a plot of ``campaign.sum_up``'s figures to ``path``."""
    faults = dict(reversed(summary["faults"].items()))
    rows = range(len(faults))
    figure = Figure(figsize=(12, 1.2 + 0.22 * len(faults)), layout="constrained")
    blows, repeats, recovery = figure.subplots(1, 3, sharey=True)
    blows.barh(rows, [each["blows"] for each in faults.values()], color="#9aa4b2")
    blows.set_yticks(rows, list(faults), fontsize=8)
    blows.set_ylim(-0.6, len(faults) - 0.4)
    blows.set_title("blows", fontsize=10)
    repeats.barh(rows, [each["repeats"] for each in faults.values()], color="#d1742f")
    repeats.set_xscale("symlog")
    repeats.set_title("runs that began again because of them", fontsize=10)
    recovery.barh(rows, [each["recovery_most_s"] or 0 for each in faults.values()], color="#1f6feb", alpha=0.3)
    recovery.barh(rows, [each["recovery_median_s"] or 0 for each in faults.values()], color="#1f6feb")
    recovery.set_title("seconds until work went on: median, most", fontsize=10)
    for axes in (blows, repeats, recovery):
        axes.spines[["top", "right"]].set_visible(False)
    broken = sum(summary["violations"].values())
    figure.suptitle(
        f"{summary['jobs']:,} jobs, {summary['blows']} blows in {summary['runs']} runs:"
        f" {summary['repeats']:,} runs began again, {broken} promises broken"
    )
    figure.savefig(path, dpi=110)
