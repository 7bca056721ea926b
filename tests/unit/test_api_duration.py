"""Durations: what is one, what it comes to in seconds, and how seconds are written."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.duration import (
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    InvalidDurationError,
    format_duration,
    parse_age,
    parse_duration,
)

TERMS = st.lists(st.tuples(st.integers(0, 99_999), st.sampled_from(["h", "m", "s", "ms"])), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("90s", 90.0, id="seconds beyond a minute"),
        pytest.param("5m", 300.0, id="minutes, not milliseconds"),
        pytest.param("5ms", 0.005, id="milliseconds, not minutes and seconds"),
        pytest.param("1h30m", 5400.0, id="two units"),
        pytest.param("30m1h", 5400.0, id="any order"),
        pytest.param("1h2m3s4ms", 3723.004, id="every unit"),
        pytest.param("5m5m", 600.0, id="the same unit twice is added up"),
        pytest.param("0s", 0.0, id="nothing"),
        pytest.param("99999h", 359_996_400.0, id="the longest number"),
    ],
)
def test_reads(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("30", id="no unit"),
        pytest.param("s", id="no number"),
        pytest.param("1d", id="days"),
        pytest.param("-1s", id="a sign"),
        pytest.param("1.5h", id="a fraction"),
        pytest.param("1h 30m", id="a space within"),
        pytest.param(" 1s", id="a space before"),
        pytest.param("1s\n", id="a line break after"),
        pytest.param("1S", id="a capital"),
        pytest.param("100000s", id="six digits"),
        pytest.param("1h1h1h1h1h", id="five terms"),
        pytest.param("\u0661s", id="a digit of another script"),
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="such as 90s, 5m, 1h30m or 250ms"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("14d", 1_209_600.0, id="days"),
        pytest.param("999d", 86_313_600.0, id="the most days"),
        pytest.param("36h", 129_600.0, id="a duration"),
    ],
)
def test_reads_an_age(text: str, seconds: float) -> None:
    assert parse_age(text) == seconds


@pytest.mark.parametrize("text", ["0d", "1000d", "1.5d", "1d12h", "-1d", "d", "2w", "1d\n", ""])
def test_refuses_what_is_no_age(text: str) -> None:
    with pytest.raises(InvalidDurationError, match="such as 14d, 36h, 1h30m or 90s"):
        parse_age(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        pytest.param(0, "0s", id="nothing"),
        pytest.param(12, "12s", id="whole seconds"),
        pytest.param(60, "1m", id="no empty terms"),
        pytest.param(5400.25, "1h30m250ms", id="several units, the largest first"),
        pytest.param(0.0004, "0s", id="less than half a millisecond"),
        pytest.param(59.9996, "1m", id="rounded up across units"),
        pytest.param(360_000_000, "100000h", id="longer than can be read"),
    ],
)
def test_writes(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize("seconds", [-0.001, math.nan, math.inf])
def test_does_not_write_what_is_no_duration(seconds: float) -> None:
    with pytest.raises(ValueError, match="finite number of seconds from 0"):
        format_duration(seconds)


@given(TERMS)
def test_every_text_of_the_form_is_the_sum_of_its_terms_and_fits_the_schema(terms: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in terms)
    size = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
    assert parse_duration(text) == sum(number * size[unit] for number, unit in terms) / 1000
    assert re.search(DURATION_PATTERN, text)
    assert len(text) <= DURATION_MAX_LENGTH


@given(st.integers(0, 359_996_400_000))
def test_what_is_written_reads_back_to_the_millisecond(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(TERMS)
def test_writing_what_was_read_is_the_one_short_form(terms: list[tuple[int, str]]) -> None:
    short = format_duration(parse_duration("".join(f"{number}{unit}" for number, unit in terms)) % 86_400)
    assert format_duration(parse_duration(short)) == short
