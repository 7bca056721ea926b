"""The chart: for each load the policies side by side, in pod-hours, jobs late, waits and jobs cut."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from arqube_local.simulate.results import Result
from benchmarks.autoscaler.runs import Figures

_COLOURS: Final = {"arqube": "#1f6feb", "keda-tuned": "#57606a", "keda": "#9aa4b2", "hpa": "#d0d7de"}
_PANELS: Final[tuple[tuple[str, Callable[[Result], float]], ...]] = (
    ("pod-hours", lambda result: result.pod_hours),
    ("% of jobs late", lambda result: 100 * (1 - result.slo_share)),
    ("p95 wait, s", lambda result: result.p95_wait_s),
    ("jobs interrupted", lambda result: result.interrupted),
)


def draw(figures: Figures, path: Path) -> None:
    """Write the chart to ``path`` as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    loads = list(figures)
    policies = list(next(iter(figures.values())))
    height = 0.8 / len(policies)
    figure, panels = pyplot.subplots(
        1, len(_PANELS), figsize=(14, 0.24 * len(loads) * len(policies) + 1.4), sharey=True, layout="constrained"
    )
    for axes, (title, value) in zip(panels, _PANELS, strict=True):
        for number, policy in enumerate(policies):
            places = [place + (number - (len(policies) - 1) / 2) * height for place in range(len(loads))]
            values = [value(figures[load][policy]) for load in loads]
            bars = axes.barh(places, values, height=0.92 * height, color=_COLOURS[policy], label=policy)
            axes.bar_label(bars, labels=[f"{each:.3g}" for each in values], padding=2, fontsize=7)
        axes.margins(x=0.16)
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(loads)), loads)
    panels[0].invert_yaxis()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(policies), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
