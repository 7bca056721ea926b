"""Draws a dashboard as Grafana lays it out, from what a Prometheus knows of a span of time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from arqube_local.monitoring.grafana import WIDTH
from arqube_local.monitoring.prometheus import Prometheus, Series, fill_in

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMN_IN: Final = 0.7
_ROW_IN: Final = 0.36
_HEAD: Final = 1.6
"""Rows for the title of the page."""
_COLORS: Final = ("#3274d9", "#f2994a", "#56a64b", "#a352cc", "#e0b400", "#0aa4a4", "#e02f44", "#8f3bb8", "#705da0")
_INK, _PALE, _FRAME, _PAGE, _GOOD, _BAD = "#24292e", "#6a737d", "#d8dce2", "#f4f5f7", "#37872d", "#c4162a"
_SHORT: Final = 14
"""Longest legend of a pod: its name's end tells it."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A series with its legend."""

    legend: str
    series: Series


async def results(
    prometheus: Prometheus,
    dashboard: Mapping[str, Any],
    values: Mapping[str, str],
    span: tuple[float, float],
    step_s: float,
) -> dict[int, list[list[Drawn]]]:
    """What each panel shows: by its id, for each of its queries, the series between the two Unix times of ``span``."""
    found: dict[int, list[list[Drawn]]] = {}
    for panel in dashboard["panels"]:
        answers = []
        for target in panel.get("targets", ()):
            series = await prometheus.range(fill_in(target["expr"], values), *span, step_s)
            answers.append([Drawn(_legend(target.get("legendFormat", ""), each.labels), each) for each in series])
        found[panel["id"]] = answers
    return found


def draw(
    dashboard: Mapping[str, Any], shown: Mapping[int, list[list[Drawn]]], span: tuple[float, float], path: Path
) -> None:
    """Write the picture to ``path`` as PNG.

    Raises:
        OSError: It cannot be written.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) + _HEAD
    figure = pyplot.figure(figsize=(WIDTH * _COLUMN_IN, rows * _ROW_IN), facecolor=_PAGE)
    figure.text(0.008, 1 - 0.7 / rows, dashboard["title"], fontsize=17, weight="bold", color=_INK, va="center")
    figure.text(0.992, 1 - 0.7 / rows, dashboard["description"], fontsize=10, color=_PALE, va="center", ha="right")
    for panel in dashboard["panels"]:
        _place(figure, panel, shown[panel["id"]], span, rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, format="png", facecolor=_PAGE)
    pyplot.close(figure)


def _place(
    figure: Figure, panel: Mapping[str, Any], answers: list[list[Drawn]], span: tuple[float, float], rows: float
) -> None:
    from matplotlib.patches import Rectangle

    place = panel["gridPos"]
    left, width = place["x"] / WIDTH, place["w"] / WIDTH
    top, height = 1 - (place["y"] + _HEAD) / rows, place["h"] / rows
    if panel["type"] == "row":
        figure.text(0.008, top - height / 2, panel["title"], fontsize=12, weight="bold", color=_PALE, va="center")
        return
    gap_x, gap_y = 0.003, 0.12 / rows
    corner = (left + gap_x, top - height + gap_y)
    frame = Rectangle(corner, width - 2 * gap_x, height - 2 * gap_y, facecolor="white", edgecolor=_FRAME, zorder=-1)
    figure.add_artist(frame)
    figure.text(left + 0.008, top - 0.75 / rows, panel["title"], fontsize=10, weight="bold", color=_INK, va="center")
    if panel["type"] in ("stat", "table"):
        inside = (left + 0.006, top - height + 0.25 / rows, width - 0.012, height - 1.4 / rows)
    else:
        inside = (left + 0.045, top - height + 1.9 / rows, width - 0.055, height - 3.3 / rows)
    axes = figure.add_axes(inside)
    {"stat": _stat, "table": _table, "heatmap": _heatmap, "timeseries": _lines}[panel["type"]](
        axes, panel, answers, span
    )


def _lines(axes: Axes, panel: Mapping[str, Any], answers: list[list[Drawn]], span: tuple[float, float]) -> None:
    drawn = [each for answer in answers for each in answer]
    unit = panel["fieldConfig"]["defaults"]["unit"]
    custom = panel["fieldConfig"]["defaults"]["custom"]
    moments = sorted({at for each in drawn for at, _ in each.series.points})
    base = dict.fromkeys(moments, 0.0)
    for number, each in enumerate(drawn):
        color = _COLORS[number % len(_COLORS)]
        points = dict(each.series.points)
        times = [at - span[0] for at in moments]
        if custom["stacking"]["mode"] == "normal":
            before = [base[at] for at in moments]
            for at in moments:
                base[at] += points.get(at, 0.0)
            axes.fill_between(times, before, [base[at] for at in moments], color=color, alpha=0.55, linewidth=0)
            axes.plot(times, [base[at] for at in moments], color=color, linewidth=0.8, label=each.legend)
        else:
            axes.plot(
                times, [points.get(at, math.nan) for at in moments], color=color, linewidth=1.3, label=each.legend
            )
    _time_axis(axes, span)
    axes.set_ylim(0, panel["fieldConfig"]["defaults"].get("max", None))
    axes.margins(y=0.1)
    axes.yaxis.set_major_formatter(lambda value, _: _in_unit(value, unit))
    axes.grid(axis="y", color="#eceef1", linewidth=0.8)
    axes.set_axisbelow(True)
    if drawn:
        handles, names = axes.get_legend_handles_labels()
        axes.legend(
            handles[:8],
            names[:8],
            loc="upper center",
            bbox_to_anchor=(0.5, -0.13),
            ncols=min(4, len(drawn)),
            fontsize=7,
            frameon=False,
            handlelength=1.2,
            columnspacing=1.0,
        )


def _stat(axes: Axes, panel: Mapping[str, Any], answers: list[list[Drawn]], span: tuple[float, float]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    axes.axis("off")
    for each in answers[0]:
        times, values = zip(*((at - span[0], value) for at, value in each.series.points), strict=True)
        warned = [step["value"] for step in defaults["thresholds"]["steps"] if step["value"] is not None]
        color = _BAD if any(values[-1] >= value for value in warned) else _GOOD
        axes.fill_between(times, values, color=color, alpha=0.15, linewidth=0)
        axes.plot(times, values, color=color, linewidth=1)
        axes.set_xlim(0, span[1] - span[0])
        axes.set_ylim(0, max(*values, 1) * 2.2)
        text = _in_unit(values[-1], defaults["unit"])
        axes.text(0.5, 0.6, text, transform=axes.transAxes, ha="center", va="center", fontsize=22, color=color)


def _table(axes: Axes, panel: Mapping[str, Any], answers: list[list[Drawn]], span: tuple[float, float]) -> None:
    names = list(panel["transformations"][1]["options"]["renameByName"].values())
    seconds = {
        one["matcher"]["options"] for one in panel["fieldConfig"]["overrides"] if one["properties"][0]["id"] == "unit"
    }
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name, answer in zip(names, answers, strict=True):
        for each in answer:
            key = (each.series.labels["namespace"], each.series.labels["taskqueue"])
            value = each.series.points[-1][1]
            cells.setdefault(key, {})[name] = _in_unit(value, "s" if name in seconds else "short")
    axes.axis("off")
    heads = ["namespace", "taskqueue", *names]
    body = [[*key, *(found.get(name, "") for name in names)] for key, found in sorted(cells.items())]
    for column, head in enumerate(heads):
        at = (column + 0.15) / len(heads)
        axes.text(at, 0.9, head, fontsize=9, color=_PALE, weight="bold", va="center")
        for line, row in enumerate(body):
            color = _COLORS[0] if head == "taskqueue" else _INK
            axes.text(at, 0.72 - 0.17 * line, row[column], fontsize=10, color=color, va="center")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    for line in range(len(body) + 1):
        axes.axhline(0.81 - 0.17 * line, color=_FRAME, linewidth=0.8)


def _heatmap(axes: Axes, panel: Mapping[str, Any], answers: list[list[Drawn]], span: tuple[float, float]) -> None:
    """Prometheus's buckets are cumulative: a cell is what a bucket holds beyond the one below."""
    import numpy as np

    buckets = sorted(answers[0], key=lambda each: float(each.series.labels["le"]))
    moments = sorted({at for each in buckets for at, _ in each.series.points})
    sums = np.array([[dict(each.series.points).get(at, 0.0) for at in moments] for each in buckets])
    counts = np.diff(sums, axis=0, prepend=0).clip(min=0)
    used = [number for number, row in enumerate(counts) if row.max() > 0]
    last = max(used, default=0) + 1
    counts = counts[:last]
    axes.imshow(
        np.where(counts > 0.01, counts, np.nan),
        aspect="auto",
        origin="lower",
        cmap="Blues",
        vmin=-counts.max() * 0.15,
        extent=(moments[0] - span[0], moments[-1] - span[0], -0.5, last - 0.5),
        interpolation="nearest",
    )
    names = [
        _in_unit(float(each.series.labels["le"]), panel["fieldConfig"]["defaults"]["unit"]) for each in buckets[:last]
    ]
    axes.set_yticks(range(last), names)
    _time_axis(axes, span)


def _time_axis(axes: Axes, span: tuple[float, float]) -> None:
    axes.set_xlim(0, span[1] - span[0])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s")
    axes.tick_params(labelsize=7.5, colors=_PALE, length=2)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(_FRAME)


def _legend(form: str, labels: Mapping[str, str]) -> str:
    text = form
    for name, value in labels.items():
        short = value if name != "pod" or len(value) <= _SHORT else f"…{value[-_SHORT:]}"
        text = text.replace("{{" + name + "}}", short)
    return text


def _in_unit(value: float, unit: str) -> str:
    """``value`` about as Grafana shows it."""
    if math.isinf(value):
        return "∞"
    if unit == "s":
        return (
            f"{value * 1000:.3g} ms" if 0 < value < 1 else f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"
        )
    if unit == "percentunit":
        return f"{100 * value:.3g} %"
    if unit == "bytes":
        return f"{value / 2**20:.4g} MiB"
    number = f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{number} {unit.removeprefix('suffix: ')}" if unit.startswith("suffix: ") else number


def spans_whole(shown: Mapping[int, Sequence[Sequence[Drawn]]]) -> bool:
    """Whether every query of every panel has data."""
    return all(answer for answers in shown.values() for answer in answers)
