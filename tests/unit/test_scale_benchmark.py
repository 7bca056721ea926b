"""The benchmark of scale: by which law a figure grows."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from benchmarks.scale import laws, report
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


def test_the_figures_stand_in_the_page_between_its_marks() -> None:
    sizes = [{key: size * rank for rank, (_, key) in enumerate(report.LETTERS, 1)} for size in (1000, 100_000)]
    letters = [{"dead_letters": each["bytes_a_letter"], **each} for each in sizes]
    figures = {"machine": "2 x a processor", "jobs": {"jobs": [], "dead_letters": letters}}
    begin = "<!-- figures: made by `python -m benchmarks.scale --page docs/scale.md`; do not edit -->\n"
    written = f"# Scale\n\n{begin}of last year\n<!-- end of figures -->\nmore\n"

    page = report.page(written, figures)

    assert page.startswith(f"# Scale\n\n{begin}")
    assert page.endswith("<!-- end of figures -->\nmore\n")
    assert "of last year" not in page
    assert "|   | 1,000 | 100,000 | grows |" in page
    assert "| snapshot, ms of Redis | 2,000 | 200,000 | linear, n^1 |" in page
    assert report.page(page, figures) == page
    assert "snapshot, ms of Redis" in report.text(figures)
    with pytest.raises(ValueError, match="the marks"):
        report.page("# Scale\n", figures)
