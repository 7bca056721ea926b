"""The bar chart of the throughput."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def draw(jobs_per_s: Mapping[str, float], path: Path) -> None:
    """Write ``jobs_per_s`` by contender as bars, fastest at the top, to ``path``."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = sorted(jobs_per_s.items(), key=lambda row: row[1])
    colours = ["#1f6feb" if label.startswith("arqube") else "#9aa4b2" for label, _ in rows]
    figure, axes = pyplot.subplots(figsize=(8, 0.42 * len(rows) + 1.2), layout="constrained")
    bars = axes.barh([label for label, _ in rows], [value for _, value in rows], color=colours)
    axes.bar_label(bars, labels=[f"{value:,.0f}" for _, value in rows], padding=4)
    axes.margins(x=0.12)
    axes.set_title("No-op jobs a second, one worker process, results kept")
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    pyplot.close(figure)
