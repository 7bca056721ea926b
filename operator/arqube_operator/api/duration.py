"""Durations as people write them: ``90s``, ``5m``, ``1h30m``, ``250ms``.

Source of the format: Gateway API's GEP-2257, a subset of what Go and CEL's ``duration()`` read, so that the API server
and the operator agree on every value: one to four numbers of up to five digits, each with its unit, added up.
"""

from __future__ import annotations

import math
import re
from typing import Final

DURATION_PATTERN: Final = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
DURATION_MAX_LENGTH: Final = 4 * len("99999ms")

_TERM: Final = re.compile("([0-9]{1,5})(h|ms|m|s)")
_MILLISECONDS: Final = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}


class InvalidDurationError(ValueError):
    """The text is no duration; the message shows the form."""


def parse_duration(text: str) -> float:
    """Seconds that ``text`` stands for.

    Raises:
        InvalidDurationError: ``text`` is not of the form above: a sign, a fraction, a space or no unit.
    """
    if re.fullmatch(DURATION_PATTERN, text) is None:
        raise InvalidDurationError(f"{text!r} is no duration; write it such as 90s, 5m, 1h30m or 250ms")
    return sum(int(number) * _MILLISECONDS[unit] for number, unit in _TERM.findall(text)) / 1000


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
