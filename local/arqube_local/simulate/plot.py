"""The picture of a simulation: the load, and below it each policy's pods and waits on the same scales."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from arqube_local.simulate.loads import Load
from arqube_local.simulate.results import Course, Result, percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS: Final = 180
_PAID, _READY, _WAIT, _LOAD = "#c3ccd8", "#1f6feb", "#8250df", "#57606a"
_TARGET: Final = "#d1242f"


def draw(
    load: Load, results: Mapping[str, Result], courses: Mapping[str, Course], max_wait_s: float, path: Path
) -> None:
    """Write the picture to ``path`` as PNG.

    Raises:
        OSError: It cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    unit_s, unit = (3600.0, "h") if load.seconds > 3 * 3600 else (60.0, "min")
    figure = pyplot.figure(figsize=(13, 2.0 + 1.9 * len(courses)), layout="constrained")
    grid = figure.add_gridspec(1 + len(courses), 2)
    top = figure.add_subplot(grid[0, :])
    _draw_load(top, load, unit_s)
    pods = waits = None
    for number, (policy, course) in enumerate(courses.items(), start=1):
        pods = figure.add_subplot(grid[number, 0], sharex=top, sharey=pods)
        _draw_pods(pods, policy, results[policy], course, unit_s)
        waits = figure.add_subplot(grid[number, 1], sharex=top, sharey=waits)
        _draw_waits(waits, policy, results[policy], course, load, max_wait_s, unit_s)
    top.set_xlim(0, load.seconds / unit_s)
    for axes in figure.axes:
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    for axes in figure.axes[-2:]:
        axes.set_xlabel(unit, fontsize=9)
    keys = [key for axes in figure.axes[-2:] for key in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles, labels = zip(*keys, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=len(keys), fontsize=9, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
    pyplot.close(figure)


def _draw_load(axes: Axes, load: Load, unit_s: float) -> None:
    width_s = load.seconds / _BINS
    counts = [0] * _BINS
    due = [arrival.due_s for arrival in load.arrivals]
    due += [due_s for cron in load.crons for due_s in cron.due_s]
    for due_s in due:
        if due_s < load.seconds:
            counts[int(due_s / width_s)] += 1
    starts = [number * width_s / unit_s for number in range(_BINS)]
    axes.fill_between(starts, [count / width_s for count in counts], step="post", color=_LOAD, alpha=0.8, linewidth=0)
    axes.set_title(f"{load.name}: jobs due a second", fontsize=10, loc="left")


def _draw_pods(axes: Axes, policy: str, result: Result, course: Course, unit_s: float) -> None:
    times = [sample.at_s / unit_s for sample in course.samples]
    axes.fill_between(
        times,
        [sample.pods for sample in course.samples],
        step="post",
        color=_PAID,
        linewidth=0,
        label="pods paid for",
    )
    ready = [sample.ready for sample in course.samples]
    axes.step(times, ready, where="post", color=_READY, linewidth=1.2, label="pods ready")
    axes.set_title(
        f"{policy}: pods  ({result.pod_hours:.1f} pod-hours, {result.scale_events:g} changes,"
        f" {result.interrupted:g} jobs interrupted)",
        fontsize=10,
        loc="left",
    )


def _draw_waits(
    axes: Axes, policy: str, result: Result, course: Course, load: Load, max_wait_s: float, unit_s: float
) -> None:
    width_s = load.seconds / _BINS
    bins: list[list[float]] = [[] for _ in range(_BINS)]
    for due_s, wait_s in course.waits:
        bins[min(_BINS - 1, int(due_s / width_s))].append(wait_s)
    starts = [number * width_s / unit_s for number in range(_BINS)]
    axes.step(
        starts,
        [percentile(waits, 0.95) if waits else 0.0 for waits in bins],
        where="post",
        color=_WAIT,
        linewidth=1.2,
        label="95 % of the jobs due then waited at most",
    )
    axes.axhline(max_wait_s, color=_TARGET, linestyle="--", linewidth=1, label=f"target, {max_wait_s:g} s")
    axes.set_title(
        f"{policy}: wait in s  ({100 * result.slo_share:.2f} % in time, p95 {result.p95_wait_s:.1f} s)",
        fontsize=10,
        loc="left",
    )
