"""Cron expressions in time zones: which are taken, and when they come."""

from __future__ import annotations

import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.cron import (
    CRON_PATTERN,
    FIVE_FIELDS_PATTERN,
    TIME_ZONE_PATTERN,
    is_cron,
    is_time_zone,
    latest_time,
    next_time,
)


def at(text: str, zone: str) -> float:
    """Unix seconds of a time on the clock of ``zone``; with an offset in ``text`` that decides."""
    time = datetime.fromisoformat(text)
    return (time if time.tzinfo else time.replace(tzinfo=ZoneInfo(zone))).timestamp()


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("* * * * *", id="each minute"),
        pytest.param("0 8 * * MON-fri", id="names in either case"),
        pytest.param("0 8  1,15 JAN-MAR/2 0-7", id="lists, ranges and steps"),
        pytest.param("5/20 00 01 01 7", id="a step from a number, zeros in front, Sunday as 7"),
        pytest.param("0 0 29 2 *", id="a day of leap years"),
        pytest.param("0 0 30 2 1", id="a day that no year has, or Mondays"),
    ],
)
def test_takes(expression: str) -> None:
    assert re.fullmatch(CRON_PATTERN, expression)
    assert re.fullmatch(FIVE_FIELDS_PATTERN, expression)
    assert is_cron(expression)


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("", id="nothing"),
        pytest.param("@daily", id="a nickname"),
        pytest.param("0 8 * *", id="four fields"),
        pytest.param("0 0 8 * * *", id="six fields"),
        pytest.param(" 0 8 * * *", id="a space in front"),
        pytest.param("60 8 * * *", id="minute 60"),
        pytest.param("0 24 * * *", id="hour 24"),
        pytest.param("0 8 0 * *", id="day 0"),
        pytest.param("0 8 * 13 *", id="month 13"),
        pytest.param("0 8 * * 8", id="weekday 8"),
        pytest.param("0 8 * * L", id="an extension"),
        pytest.param("0 8 * * MON#1", id="an extension of weekdays"),
        pytest.param("*/0 8 * * *", id="steps of 0"),
        pytest.param("0 8-20, * * *", id="a list that goes on"),
        pytest.param("0 8 ? * *", id="a question mark"),
    ],
)
def test_the_form_refuses(expression: str) -> None:
    assert not re.fullmatch(CRON_PATTERN, expression)


@pytest.mark.parametrize(
    "expression",
    [
        pytest.param("0 20-8 * * *", id="hours run backwards"),
        pytest.param("0 8 * * FRI-MON", id="days run backwards"),
        pytest.param("0 8 30 2 *", id="a day that no year has"),
        pytest.param("0 8 31 4,6 *", id="a day that these months do not have"),
    ],
)
def test_refuses_times_that_never_come(expression: str) -> None:
    assert re.fullmatch(CRON_PATTERN, expression)
    assert not is_cron(expression)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        pytest.param("Europe/Berlin", True, id="a city"),
        pytest.param("America/Argentina/Buenos_Aires", True, id="three parts"),
        pytest.param("Etc/GMT+3", True, id="an offset by name"),
        pytest.param("Europe/Berln", False, id="misspelt"),
        pytest.param("Europe", False, id="an area alone"),
        pytest.param("Local", False, id="that of whoever reads it"),
    ],
)
def test_knows_time_zones(name: str, known: bool) -> None:
    assert re.fullmatch(TIME_ZONE_PATTERN, name)
    assert is_time_zone(name) is known


@pytest.mark.parametrize(
    "name", ["", "+02:00", "europe/berlin", "/etc/localtime", "../UTC", "Europe/", "Europe/../UTC"]
)
def test_the_form_refuses_what_is_no_name_of_a_time_zone(name: str) -> None:
    assert not re.fullmatch(TIME_ZONE_PATTERN, name)


@pytest.mark.parametrize(
    ("expression", "zone", "now", "latest", "following"),
    [
        pytest.param(
            "0 8 * * 1-5", "UTC", "2026-11-23T08:00", "2026-11-23T08:00", "2026-11-24T08:00", id="the minute itself"
        ),
        pytest.param(
            "0 8 * * 1-5", "UTC", "2026-11-23T07:59:59.9", "2026-11-20T08:00", "2026-11-23T08:00", id="just before"
        ),
        pytest.param(
            "0 8 * * 1-5", "UTC", "2026-11-23T08:00:59.9", "2026-11-23T08:00", "2026-11-24T08:00", id="just after"
        ),
        pytest.param(
            "0 8 * * *",
            "Asia/Kathmandu",
            "2026-01-01T03:00",
            "2025-12-31T08:00",
            "2026-01-01T08:00",
            id="a clock",
        ),
        pytest.param(
            "0 8 * * *",
            "Europe/Berlin",
            "2026-03-29T09:00",
            "2026-03-29T08:00+02:00",
            "2026-03-30T08:00+02:00",
            id="the clock of summer from its first day on",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-29T04:00",
            "2026-03-29T03:00+02:00",
            "2026-03-30T02:30+02:00",
            id="a time that the clock skips comes right after the gap",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-25T02:10+01:00",
            "2026-10-25T02:30+02:00",
            "2026-10-26T02:30+01:00",
            id="a time that the clock shows twice comes once, and that is seen before it comes again",
        ),
        pytest.param(
            "*/30 * * * *",
            "Europe/Berlin",
            "2026-10-25T02:10+01:00",
            "2026-10-25T02:00+01:00",
            "2026-10-25T02:30+01:00",
            id="each half hour comes in both of them",
        ),
        pytest.param("0 0 29 2 *", "UTC", "2026-01-01T00:00", "2024-02-29T00:00", "2028-02-29T00:00", id="years away"),
    ],
)
def test_finds_the_times_around_now(expression: str, zone: str, now: str, latest: str, following: str) -> None:
    assert latest_time(expression, zone, at(now, zone)) == at(latest, zone)
    assert next_time(expression, zone, at(now, zone)) == at(following, zone)


@given(
    expression=st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 */6 * * *", "15 8 * * MON", "0 0,12 1,15 * *"]),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "America/Havana", "Africa/Cairo", "Asia/Kathmandu"]),
    now=st.floats(1_700_000_000, 1_900_000_000),
)
def test_looking_back_from_the_next_time_finds_it_and_the_latest_before_it(
    expression: str, zone: str, now: float
) -> None:
    latest, following = latest_time(expression, zone, now), next_time(expression, zone, now)
    assert latest is not None
    assert following is not None
    assert latest <= now < following
    assert latest_time(expression, zone, following) == following
    assert latest_time(expression, zone, following - 1) == latest
    assert next_time(expression, zone, latest) == following
