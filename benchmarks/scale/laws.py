"""The law by which a figure grows: the exponent of the power of the size that fits it best."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

FLAT: Final = 0.15
"""An exponent below which a figure is called flat: it at most doubles while the size grows a hundredfold."""
LINEAR: Final = 1.15
"""One up to which it is called linear, as measuring is not exact."""


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float | None:
    """The slope of the straight line of least squares through the logarithms: 0 is flat, 1 linear, 2 quadratic.

    None where fewer than two sizes or a value that is not above 0 leave it open.
    """
    if len(set(sizes)) < 2 or min(values) <= 0 or min(sizes) <= 0:
        return None
    xs, ys = [math.log(size) for size in sizes], [math.log(value) for value in values]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
    return round(slope, 2) + 0.0  # no -0


def marginal(sizes: Sequence[float], values: Sequence[float]) -> float:
    """What one more of the size adds to the value, by the first and the last of them.

    A figure with a large constant part, such as a process' memory, has an exponent that says little.
    """
    return (values[-1] - values[0]) / (sizes[-1] - sizes[0])


def word(power: float | None) -> str:
    """The law in a word, with its exponent."""
    if power is None:
        return "not told"
    name = (
        "flat" if power <= FLAT else "below linear" if power < 0.85 else "linear" if power <= LINEAR else "ABOVE LINEAR"
    )
    return f"{name}, n^{power:g}"
