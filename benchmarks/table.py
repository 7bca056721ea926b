"""What all benchmarks print: figures beside the ones that must be reached, and on which machine."""

from __future__ import annotations

import contextlib
import operator
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Must:
    """A figure that must be reached.

    Attributes:
        what: What it is, for people.
        key: Its name in the JSON.
        compare: How the value stands to the limit.
        limit: The limit.
    """

    what: str
    key: str
    compare: Callable[[float, float], bool]
    limit: float

    def row(self, value: float) -> str:
        """A line of the table."""
        sign = ">=" if self.compare is operator.ge else "<="
        return f"{self.what:62} {value:>9} {sign + f' {self.limit:g}':>9}  {self.verdict(value)}"

    def verdict(self, value: float) -> str:
        """Whether ``value`` is good enough."""
        return "met" if self.compare(value, self.limit) else "NOT MET"


def rows(musts: Iterable[Must], figures: Mapping[str, Any]) -> list[str]:
    """The lines of the musts that were measured, below their heading."""
    heading = f"{'':62} {'value':>9} {'must':>9}"
    return [heading, *(must.row(figures[must.key]) for must in musts if must.key in figures)]


def machine() -> str:
    """The processors, the Python, and how busy others keep them."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} x {cpu}, Python {platform.python_version()}, load of others at the start {load:.1f}"
