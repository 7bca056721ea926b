"""The benchmark of scale: by which law a figure grows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from benchmarks.scale import laws
from hypothesis import given
from hypothesis import strategies as st

SIZES = (100, 500, 1000, 5000)


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        pytest.param(lambda _: 7.0, "flat, n^0", id="a constant"),
        pytest.param(lambda n: 5 + 0.5 * math.log2(n), "flat, n^0.07", id="a logarithm"),
        pytest.param(math.sqrt, "below linear, n^0.5", id="a root"),
        pytest.param(lambda n: 3 * n, "linear, n^1", id="a multiple"),
        pytest.param(lambda n: n * math.log2(n), "ABOVE LINEAR, n^1.16", id="a sort"),
        pytest.param(lambda n: n * n / 50, "ABOVE LINEAR, n^2", id="a square"),
    ],
)
def test_a_law_is_told_by_its_exponent(cost: Callable[[int], float], told: str) -> None:
    assert laws.word(laws.exponent(SIZES, [cost(size) for size in SIZES])) == told


@pytest.mark.parametrize(
    ("sizes", "values"),
    [
        pytest.param([100], [3.0], id="one size"),
        pytest.param([100, 100], [3.0, 4.0], id="one size twice"),
        pytest.param([100, 200], [0.0, 4.0], id="a cost of nothing"),
    ],
)
def test_a_law_that_cannot_be_told_is_not(sizes: list[float], values: list[float]) -> None:
    assert laws.exponent(sizes, values) is None
    assert laws.word(None) == "not told"


@given(power=st.floats(0, 3), factor=st.floats(0.01, 1000))
def test_any_power_is_found_again(power: float, factor: float) -> None:
    found = laws.exponent(SIZES, [factor * size**power for size in SIZES])
    assert found == pytest.approx(power, abs=0.011)


def test_what_one_more_adds_leaves_the_constant_part_out() -> None:
    assert laws.marginal(SIZES, [90 + 0.02 * size for size in SIZES]) == pytest.approx(0.02)
