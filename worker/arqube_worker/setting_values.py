"""What each of arq's settings may hold.

arq takes most values without a look: a wrong one fails at the first job, at every job, or lets the worker idle for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import timedelta, tzinfo
from numbers import Real
from typing import Any, Final, NamedTuple

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
    "queue_read_limit": _Kind(
        "a whole number of at least 1, or None", lambda value: value is None or _is_whole(value, 0, math.inf)
    ),
    "max_tries": _Tries,
    "max_burst_jobs": _Kind(
        "a whole number, -1 for any number of jobs", lambda value: value is None or _is_whole(value, -1, math.inf)
    ),
    "expires_extra_ms": _Kind(
        "a whole number of milliseconds, from 0 to 1e12", lambda value: _is_whole(value, 0, LONGEST_S * 1000)
    ),
    "queue_name": _Kind(
        "the queue's name, text that is not empty", lambda value: value is None or (isinstance(value, str) and value)
    ),
    "health_check_key": _Kind("a text, or None", lambda value: value is None or isinstance(value, str)),
    **dict.fromkeys(("on_startup", "on_shutdown", "on_job_start", "on_job_end", "after_job_end"), _Hook),
    **dict.fromkeys(("job_serializer", "job_deserializer"), _Callable),
    "ctx": _Kind("a dict, or None", lambda value: value is None or isinstance(value, dict)),
    "timezone": _Kind("a time zone of datetime's, or None", lambda value: value is None or isinstance(value, tzinfo)),
}
"""Those that are not named may be anything, or arq itself looks at them."""
_OF_FUNCTIONS: Final[Mapping[str, tuple[str, _Kind]]] = {
    "timeout_s": ("timeout", _Timeout),
    "keep_result_s": ("keep_result", _Lifetime),
    "max_tries": ("max_tries", _Tries),
}
"""By arq's attribute: the argument of ``arq.func`` and ``arq.cron``. None leaves it to the settings."""


def problem_of_settings(values: Mapping[str, Any]) -> str | None:
    """What is wrong with the first of ``values`` that cannot be used, with the remedy; None when all can be."""
    for name, kind in _KINDS.items():
        if name in values and not kind.fits(values[name]):
            return f"{name} must be {kind.wanted}, not {_shown(values[name])}"
    return None


def problem_of_functions(functions: Mapping[str, Any]) -> str | None:
    """The same for what stands beside functions and cron jobs, by their names."""
    for name, function in functions.items():
        if not isinstance(name, str):
            return f"the name of a function must be a text, not {_shown(name)}"
        for attribute, (argument, kind) in _OF_FUNCTIONS.items():
            value = getattr(function, attribute, None)
            if value is not None and not kind.fits(value):
                return f"{argument} of function {name!r} must be {kind.wanted}, not {_shown(value)}"
    return None


def _shown(value: Any) -> str:
    """A value as an error names it: only numbers and None themselves, as others may be long or a secret."""
    if value is None or isinstance(value, (int, float)):
        try:
            return repr(value)
        except ValueError:  # a number of thousands of digits
            return "such a large number"
    return "an empty text" if value == "" else f"a value of type {type(value).__name__}"
