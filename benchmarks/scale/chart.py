"""The picture of a run: what grows with TaskQueues, with workers and with jobs, on logarithmic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.scale.report import power

_COLOURS: Final = ("#1f6feb", "#d1742f", "#2da44e", "#8250df", "#9aa4b2")

Lines = Sequence[tuple[str, str]]
"""What a line is called, and the figure it shows."""

_OPERATOR: Final[tuple[tuple[str, Lines], ...]] = (
    ("operator: MiB, requests a second", (("memory", "peak_mib"), ("API requests/s", "api_requests_per_s"))),
    ("operator: cores", (("CPU", "cpu_cores"),)),
    (
        "operator: seconds",
        (
            ("start: all queues read", "start_all_read_s"),
            ("kill -9: all queues read", "takeover_all_read_s"),
            ("burst to /scale p99", "burst_p99_s"),
            ("burst to /scale p50", "burst_p50_s"),
        ),
    ),
)
_HEARTBEATS: Final[Lines] = (
    ("snapshot, in Redis", "snapshot_server_ms"),
    ("snapshot until read", "snapshot_wall_ms"),
    ("one pass", "pass_ms"),
    ("turn, function unknown", "unknown_function_turn_server_ms"),
    ("turn", "turn_server_ms"),
)
_JOBS: Final[Lines] = (
    ("snapshot", "snapshot_server_ms"),
    ("turn of 100 jobs", "claim_server_ms"),
    ("turn, 10,000 running first", "running_claim_server_ms"),
    ("payloads kept, last page", "keep_last_page_server_ms"),
    ("enqueue", "enqueue_server_ms"),
)
_FLEETS: Final[Lines] = (("calls", "calls_a_claim"), ("milliseconds of Redis", "claim_server_ms"))


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Write the picture of the parts that were measured to ``path`` as PNG."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    panels: list[tuple[str, str, Lines, Sequence[Mapping[str, Any]]]] = []
    if operator := figures.get("operator"):
        panels += [(title, "queues", lines, operator["sizes"]) for title, lines in _OPERATOR]
    if heartbeats := figures.get("heartbeats"):
        panels.append(("workers of one queue: milliseconds", "workers", _HEARTBEATS, heartbeats["sizes"]))
    if fleets := figures.get("fleets"):
        panels.append(("jobs that run: a claim of 10", "running", _FLEETS, fleets))
    if jobs := figures.get("jobs"):
        panels.append(("jobs of one queue: milliseconds of Redis", "jobs", _JOBS, jobs["jobs"]))
    rows = -(-len(panels) // 3)
    figure, grid = pyplot.subplots(
        rows, min(3, len(panels)), figsize=(15, 4.4 * rows), layout="constrained", squeeze=False
    )
    for axes, (title, size, lines, measured) in zip(grid.flat, panels, strict=False):
        sizes = [each[size] for each in measured]
        for (what, key), colour in zip(lines, _COLOURS, strict=False):
            exponent = power(size, key, measured)
            label = what if exponent is None else f"{what}: $n^{{{exponent:g}}}$"
            axes.plot(sizes, [each[key] for each in measured], marker="o", color=colour, label=label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_title(title)
        axes.set_xlabel(size.replace("_", " ").replace("queues", "TaskQueues"))
        axes.grid(which="major", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
