"""Recurring times as crontab(5) writes them: five fields, read from the clock of a time zone.

At the change to summer time and back the rules are Debian cron's, as ``cronsim`` has them: a fixed time that the clock
skips comes at the first minute after the gap, one that the clock shows twice comes the first time only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_MONTHS: Final = "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"
_DAYS: Final = "SUN|MON|TUE|WED|THU|FRI|SAT"


def _field(value: str) -> str:
    item = f"([*]|{value}(-{value})?)(/[1-9][0-9]?)?"
    return f"{item}(,{item})*"


CRON_PATTERN: Final = "^{}$".format(
    " +".join(
        map(
            _field,
            (
                "[0-5]?[0-9]",
                "([01]?[0-9]|2[0-3])",
                "(0?[1-9]|[12][0-9]|3[01])",
                f"(0?[1-9]|1[0-2]|(?i:{_MONTHS}))",
                f"([0-7]|(?i:{_DAYS}))",
            ),
        )
    )
)
"""The form of the five fields, in RE2. That ranges go up, and that such a day ever comes, is beyond it."""
FIVE_FIELDS_PATTERN: Final = "^[0-9A-Za-z*/,-]+( +[0-9A-Za-z*/,-]+){4}$"
"""What ``CRON_PATTERN`` implies and a person can read."""
TIME_ZONE_PATTERN: Final = "^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$"
"""The form of a name in the IANA database."""

_LONGEST_STEP_BACK: Final = timedelta(hours=2)
"""The most by which any zone's clock is set back at once, in Antarctica/Troll."""


def is_cron(expression: str) -> bool:
    """Whether ``expression``, of the form ``CRON_PATTERN``, stands for times that come."""
    try:
        CronSim(expression, datetime(1970, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


def is_time_zone(name: str) -> bool:
    """Whether there are rules for ``name``, of the form ``TIME_ZONE_PATTERN``: the system's, or those of tzdata."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def latest_time(expression: str, time_zone: str, now: float) -> float | None:
    """The latest of the times of ``expression`` up to ``now``, itself included; Unix seconds.

    None where there was none within 50 years.
    """
    return _latest_time(expression, time_zone, int(now // 60))


def next_time(expression: str, time_zone: str, now: float) -> float | None:
    """The first of the times of ``expression`` after ``now``; Unix seconds.

    None where there is none within 50 years.
    """
    return _next_time(expression, time_zone, int(now // 60))


# All times are whole minutes, so that what is found holds for a minute: a decision is made each second.
@lru_cache(maxsize=4096)
def _latest_time(expression: str, time_zone: str, minute: int) -> float | None:
    # From beyond any step back: what the clock shows within an hour that comes twice does not tell before from after.
    start = datetime.fromtimestamp(minute * 60, UTC) + _LONGEST_STEP_BACK
    times = CronSim(expression, start.astimezone(ZoneInfo(time_zone)), reverse=True)
    return next((time.timestamp() for time in times if time.timestamp() <= minute * 60), None)


@lru_cache(maxsize=4096)
def _next_time(expression: str, time_zone: str, minute: int) -> float | None:
    times = CronSim(expression, datetime.fromtimestamp(minute * 60, ZoneInfo(time_zone)))
    return next((time.timestamp() for time in times if time.timestamp() > minute * 60), None)
