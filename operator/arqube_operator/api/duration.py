"""Durations as people write them: ``90s``, ``5m``, ``1h30m``, ``250ms``.

Source of the format: Gateway API's GEP-2257, a subset of what Go and CEL's ``duration()`` read, so that the API server
and the operator agree on every value: one to four numbers of up to five digits, each with its unit, added up.
Where ages are meant, whole days are known too, as ``14d``; neither Go nor CEL knows a unit for them.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Final

DURATION_PATTERN: Final = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
DURATION_MAX_LENGTH: Final = 4 * len("99999ms")
DAYS_PATTERN: Final = "^[1-9][0-9]{0,2}d$"

_TERM: Final = re.compile("([0-9]{1,5})(h|ms|m|s)")
_MILLISECONDS: Final = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


class InvalidDurationError(ValueError):
    """The text is no duration; the message shows the form."""


@lru_cache(maxsize=1024)  # A decision is made each second, and stands on several.
def parse_duration(text: str) -> float:
    """Seconds that ``text`` stands for.

    Raises:
        InvalidDurationError: ``text`` is not of the form above: a sign, a fraction, a space or no unit.
    """
    if re.fullmatch(DURATION_PATTERN, text) is None:
        raise InvalidDurationError(f"{text!r} is no duration; write it such as 90s, 5m, 1h30m or 250ms")
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in _TERM.findall(text)) / 1000


def parse_age(text: str) -> float:
    """Seconds that ``text`` stands for: 1 to 999 whole days, or a duration.

    Raises:
        InvalidDurationError: It is neither.
    """
    if re.fullmatch(DAYS_PATTERN, text):
        return int(text[:-1]) * 86_400.0
    try:
        return parse_duration(text)
    except InvalidDurationError:
        raise InvalidDurationError(f"{text!r} is no age; write it such as 14d, 36h, 1h30m or 90s") from None


def format_duration(seconds: float) -> str:
    """``seconds`` in the shortest form, rounded to milliseconds: ``5400`` is ``1h30m``, ``0`` is ``0s``.

    From 100,000 hours on the text is for people only: ``parse_duration`` takes no number of six digits.

    Raises:
        ValueError: ``seconds`` is negative or no finite number.
    """
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"a duration is a finite number of seconds from 0, not {seconds}")
    left, terms = round(seconds * 1000), []
    for unit, size in _MILLISECONDS.items():
        count, left = divmod(left, size)
        if count:
            terms.append(f"{count}{unit}")
    return "".join(terms) or "0s"
