"""Plots for a terminal, of characters alone: no colour, no cursor, so that they can be piped as well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from arqube_queue.history import Sample

SPANS_S: Final = (60, 120, 300, 600, 900)
"""How much time a plot may show, in seconds: the shortest that holds all samples."""
HOLD_S: Final = 15.0
"""A sample stands for the time after it up to the next one, at most so long: beyond that nothing is known."""

_MARGIN: Final = 16


@dataclass(frozen=True, slots=True)
class Glyphs:
    """What a plot is drawn with: bars from empty to full, what is asked for above them, and the axes."""

    bars: str
    asked: str
    side: str
    corner: str
    floor: str


BLOCKS: Final = Glyphs(" ▁▂▃▄▅▆▇█", "░", "│", "└", "─")
ASCII: Final = Glyphs(" .:#", "-", "|", "+", "-")


def glyphs_for(encoding: str | None) -> Glyphs:
    """The best that an output of ``encoding`` can show."""
    try:
        "".join((BLOCKS.bars, BLOCKS.asked, BLOCKS.side, BLOCKS.corner, BLOCKS.floor)).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS


def plot(samples: Sequence[Sample], now_ms: int, width: int, glyphs: Glyphs) -> list[str]:
    """Lines of at most ``width`` characters: what waited, and below it the workers, ready ones and those asked for."""
    if not samples:
        return []
    age_s = (now_ms - samples[0].at_ms) / 1000
    span_s = next((span for span in SPANS_S if age_s <= span), SPANS_S[-1])
    columns = width - _MARGIN
    buckets = _buckets(samples, now_ms, span_s, columns)
    waiting = [_most(bucket, lambda sample: sample.waiting) for bucket in buckets]
    ready = [_most(bucket, lambda sample: sample.ready) for bucket in buckets]
    asked = [_most(bucket, lambda sample: sample.replicas) for bucket in buckets]
    return [
        *_chart("waiting", waiting, None, 4, glyphs),
        *_chart("workers", ready, asked, 3, glyphs),
        " " * _MARGIN + _times(span_s, columns),
        " " * _MARGIN + f"{glyphs.bars[-1]} ready   {glyphs.asked} asked for and not ready",
    ]


def _buckets(samples: Sequence[Sample], now_ms: int, span_s: float, columns: int) -> list[list[Sample]]:
    """For each column the samples within its time, else the one that still stands there."""
    begin_ms, each_ms = now_ms - span_s * 1000, span_s * 1000 / columns
    buckets: list[list[Sample]] = [[] for _ in range(columns)]
    for sample, following in zip(samples, [*samples[1:], None], strict=True):
        until_ms = min(now_ms if following is None else following.at_ms, sample.at_ms + HOLD_S * 1000)
        first = math.floor((sample.at_ms - begin_ms) / each_ms)
        last = math.ceil((until_ms - begin_ms) / each_ms) - 1
        for column in range(max(0, first), min(columns - 1, max(first, last)) + 1):
            buckets[column].append(sample)
    return buckets


def _most(bucket: Sequence[Sample], value: Callable[[Sample], int]) -> int | None:
    return max(map(value, bucket), default=None)


def _chart(
    name: str, values: Sequence[int | None], asked: Sequence[int | None] | None, rows: int, glyphs: Glyphs
) -> list[str]:
    top = max([value for series in (values, asked or ()) for value in series if value is not None], default=0)
    known = "".join(" " if value is None else glyphs.floor for value in values)
    if not top:
        return [f"{name:8}{0:>{_MARGIN - 10}} {glyphs.corner}{known}".rstrip()]
    lines = []
    for row in range(rows - 1, -1, -1):
        label = f"{name:8}{top:>6} " if row == rows - 1 else " " * (_MARGIN - 1)
        cells = [
            _cell(value, wanted, row, rows, top, glyphs)
            for value, wanted in zip(values, asked or [None] * len(values), strict=True)
        ]
        lines.append(f"{label}{glyphs.side}{''.join(cells)}".rstrip())
    return [*lines, f"{0:>{_MARGIN - 2}} {glyphs.corner}{known}".rstrip()]


def _cell(value: int | None, asked: int | None, row: int, rows: int, top: int, glyphs: Glyphs) -> str:
    """One character: how much of the ``row``, counted from below, the value fills, else whether what is asked does."""
    full = len(glyphs.bars) - 1
    level = math.ceil((value or 0) * rows * full / top) - row * full
    if level > 0:
        return glyphs.bars[min(level, full)]
    return glyphs.asked if asked is not None and asked * rows / top > row else " "


def _times(span_s: float, columns: int) -> str:
    """A line that tells the time below its begin, middle and end."""
    begin, middle, end = f"-{_ago(span_s)}", f"-{_ago(span_s / 2)}", "now"
    line = begin.ljust(columns // 2) + middle
    return line.ljust(columns - len(end)) + end


def _ago(seconds: float) -> str:
    return f"{seconds / 60:g}m" if seconds >= 60 else f"{seconds:g}s"
