"""What each of arq's settings may hold.

arq takes most values without a look: a wrong one fails at the first job, at every job, or lets the worker do nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping
from datetime import timedelta, tzinfo
from numbers import Real
from typing import Any, Final, NamedTuple

from arq.cron import CronJob
from arq.typing import WEEKDAYS
from arq.worker import Function

MOST_JOBS: Final = 100_000
"""Jobs at once: one call of a script leases them, and Redis does nothing else meanwhile."""
LONGEST_S: Final = 1e9
"""About 30 years; Redis counts milliseconds in 64 bits."""


class _Kind(NamedTuple):
    """What a value must be, in words, and whether one is."""

    wanted: str
    fits: Callable[[Any], bool]


def _number(value: Any) -> float:
    """The value of a number, NaN for what is none."""
    try:
        return float(value) if isinstance(value, Real) else math.nan
    except OverflowError:
        return math.inf


def _seconds(value: Any) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else _number(value)


def _is_whole(value: Any, least: int, most: float) -> bool:
    number = _number(value)
    return least <= number <= most and (math.isinf(number) or number == int(number))


_Duration: Final = _Kind(
    "a number of seconds or a timedelta, from 0 to 1e9, or None",
    lambda value: value is None or 0 <= _seconds(value) <= LONGEST_S,
)
_Callable: Final = _Kind("a function, or None", lambda value: value is None or callable(value))
_Hook: Final = _Kind("an async function that takes ctx, or None", _Callable.fits)
_Timeout: Final = _Kind(
    "a number of seconds or a timedelta, above 0 and up to 1e9, or None for no timeout",
    lambda value: value is None or 0 < _seconds(value) <= LONGEST_S,
)
_Lifetime: Final = _Kind(
    "a number of seconds or a timedelta, from 0 to 1e9 (keep_result_forever keeps results for ever), or None",
    _Duration.fits,
)
_Tries: Final = _Kind("a whole number of at least 1", lambda value: _is_whole(value, 1, math.inf))

_KINDS: Final[Mapping[str, _Kind]] = {
    "max_jobs": _Kind(f"a whole number from 1 to {MOST_JOBS}", lambda value: _is_whole(value, 1, MOST_JOBS)),
    "job_timeout": _Timeout,
    "keep_result": _Lifetime,
    "poll_delay": _Duration,
    "health_check_interval": _Duration,
    "job_completion_wait": _Duration,
    "queue_read_limit": _Kind("a whole number, or None", lambda value: value is None or _is_whole(value, 0, math.inf)),
    "max_tries": _Tries,
    "max_burst_jobs": _Kind(
        "a whole number, -1 for any number of jobs", lambda value: value is None or _is_whole(value, -1, math.inf)
    ),
    "expires_extra_ms": _Kind(
        "a whole number of milliseconds, from 0 to 1e12", lambda value: _is_whole(value, 0, LONGEST_S * 1000)
    ),
    "queue_name": _Kind(
        "the queue's name, text that is not empty",
        lambda value: value is None or (isinstance(value, str) and value != ""),
    ),
    "health_check_key": _Kind("a text, or None", lambda value: value is None or isinstance(value, str)),
    **dict.fromkeys(("on_startup", "on_shutdown", "on_job_start", "on_job_end", "after_job_end"), _Hook),
    **dict.fromkeys(("job_serializer", "job_deserializer"), _Callable),
    "ctx": _Kind("a dict, or None", lambda value: value is None or isinstance(value, MutableMapping)),
    "timezone": _Kind("a time zone of datetime's, or None", lambda value: value is None or isinstance(value, tzinfo)),
}
"""Those that are not named may be anything, or arq itself looks at them."""
_OF_FUNCTIONS: Final[Mapping[str, tuple[str, _Kind]]] = {
    "timeout_s": ("timeout", _Timeout),
    "keep_result_s": ("keep_result", _Lifetime),
    "max_tries": ("max_tries", _Tries),
}
"""By arq's attribute: the argument of ``arq.func`` and ``arq.cron``. None leaves it to the settings."""


_CRON_FIELDS: Final = {
    "month": (1, 12),
    "day": (1, 31),
    "weekday": (0, 6),
    "hour": (0, 23),
    "minute": (0, 59),
    "second": (0, 59),
    "microsecond": (0, 999_999),
}
_LONGEST_MONTHS: Final = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def problem_of_settings(values: Mapping[str, Any]) -> str | None:
    """What is wrong with the first of ``values`` that cannot be used, with the remedy; None when all can be."""
    for name, kind in _KINDS.items():
        if name in values and not kind.fits(values[name]):
            return f"{name} must be {kind.wanted}, not {_shown(values[name])}"
    for name in ("functions", "cron_jobs"):
        jobs = values.get(name)
        for job in jobs if isinstance(jobs, (list, tuple, set)) else ():
            problem = _problem_of_job(job)
            if problem is not None:
                return problem
    return None


def _problem_of_job(job: Any) -> str | None:
    """The same for what ``arq.func`` and ``arq.cron`` made; arq looks at all else itself."""
    if not isinstance(job, (Function, CronJob)):
        return None
    if not isinstance(job.name, str):
        return f"the name of a function must be a text, not {_shown(job.name)}"
    for attribute, (argument, kind) in _OF_FUNCTIONS.items():
        value = getattr(job, attribute)
        if value is not None and not kind.fits(value):
            return f"{argument} of function {job.name!r} must be {kind.wanted}, not {_shown(value)}"
    return _problem_of_cron(job) if isinstance(job, CronJob) else None


def _problem_of_cron(job: CronJob) -> str | None:
    """arq would look for the next run through thousands of years, and the worker would do nothing else."""
    for name, (first, last) in _CRON_FIELDS.items():
        value = getattr(job, name)
        if value is None or (name == "weekday" and isinstance(value, str) and value.lower() in WEEKDAYS):
            continue
        items = value if isinstance(value, (set, list, tuple)) else (value,)
        if not items or not all(isinstance(item, int) and first <= item <= last for item in items):
            names = f", or one of {', '.join(WEEKDAYS)}" if name == "weekday" else ""
            return f"{name} of cron job {job.name!r} must be from {first} to {last}, or a set of such numbers{names}"
    if job.month is not None and job.day is not None:
        months, days = (value if isinstance(value, (set, list, tuple)) else (value,) for value in (job.month, job.day))
        if min(days) > max(_LONGEST_MONTHS[month - 1] for month in months):
            return f"day of cron job {job.name!r} must be one that its month has: it would never run"
    return None


def _shown(value: Any) -> str:
    """A value as an error names it: only numbers and None themselves, as others may be long or a secret."""
    if value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**20):
        return repr(value)
    if isinstance(value, int):
        return "so large a number"
    return "an empty text" if value == "" else f"a value of type {type(value).__name__}"
