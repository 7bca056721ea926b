"""The last minutes of a queue as lines of a picture: points for an SVG, in which the console's style draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from arqube_queue.history import Sample

WIDTH: Final = 720
HEIGHT: Final = 96
SPAN_MS: Final = 15 * 60 * 1000
"""Milliseconds from the left edge to the right one: as long as samples are kept."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure over time.

    Attributes:
        name: What is drawn.
        points: ``x,y`` pairs as SVG's polyline takes them, from the left.
        area: The same closed along the bottom, as its polygon.
        most: The largest value, which is at the top.
        last: The newest value.
    """

    name: str
    points: str
    area: str
    most: int
    last: int


def lines(samples: Sequence[Sample], now_ms: int) -> tuple[Line, ...]:
    """Waiting jobs, running jobs and ready workers of ``samples``, oldest first, up to ``now_ms``."""
    recent = [sample for sample in samples if now_ms - SPAN_MS <= sample.at_ms]
    if len(recent) < 2:
        return ()
    return (
        _line("waiting", [(sample.at_ms, sample.waiting) for sample in recent], now_ms),
        _line("running", [(sample.at_ms, sample.running) for sample in recent], now_ms),
        _line("workers ready", [(sample.at_ms, sample.ready) for sample in recent], now_ms),
    )


def _line(name: str, values: list[tuple[int, int]], now_ms: int) -> Line:
    most = max(value for _, value in values)
    points = [
        (min(WIDTH, WIDTH - (now_ms - at_ms) * WIDTH / SPAN_MS), HEIGHT - value * HEIGHT / max(1, most))
        for at_ms, value in values
    ]
    drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    area = f"{points[0][0]:.1f},{HEIGHT} {drawn} {points[-1][0]:.1f},{HEIGHT}"
    return Line(name, drawn, area, most, values[-1][1])
