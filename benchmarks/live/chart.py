"""The chart: the load, each side's pods, and each job's wait, over the time of the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from benchmarks.live.fleet import Fleet
from benchmarks.live.load import Job

_COLOURS: Final = {"arqube": "#1f6feb", "keda": "#d1742f"}
_LABELS: Final = {"arqube": "Arqube", "keda": "KEDA's metric and the HPA, tuned"}
_BIN_S: Final = 5.0


def draw(
    jobs: Sequence[Job],
    fleets: Sequence[Fleet],
    waited: Mapping[str, Sequence[tuple[float, float]]],
    begin: float,
    path: Path,
) -> None:
    """Write the chart to ``path`` as PNG; ``begin`` is the load's start by the monotonic clock."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, (load, pods, waits) = pyplot.subplots(
        3, 1, figsize=(10, 7.5), sharex=True, layout="constrained", height_ratios=(1, 2, 2)
    )
    end_s = max(fleet.pods.times[-1] for fleet in fleets) - begin
    edges = [number * _BIN_S for number in range(int(end_s / _BIN_S) + 2)]
    load.hist([job.at_s for job in jobs], bins=edges, weights=[1 / _BIN_S] * len(jobs), color="#9aa4b2")
    load.set_ylabel("jobs a second")
    for fleet in fleets:
        name = fleet.side.name
        times = [max(0.0, at - begin) for at in fleet.pods.times]
        pods.step([*times, end_s], [*fleet.pods.values, fleet.pods.now], where="post", color=_COLOURS[name])
        pods.fill_between(
            [*times, end_s], [*fleet.pods.values, fleet.pods.now], step="post", color=_COLOURS[name], alpha=0.12
        )
        due, wait = zip(*waited[name], strict=True)
        waits.scatter(due, wait, s=9, alpha=0.5, color=_COLOURS[name], label=_LABELS[name], edgecolors="none")
    pods.set_ylabel("pods, from creation to end")
    waits.set_ylabel("seconds a job waited")
    waits.set_xlabel("seconds from the start; a job stands at the time it was due")
    waits.set_xlim(0, end_s)
    for axes in (load, pods, waits):
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = waits.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, markerscale=2)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
