"""All faults there are, of all modules."""

from __future__ import annotations

from typing import Final

from benchmarks.chaos.faults import Fault, by_name
from benchmarks.chaos.worker_faults import WORKER_FAULTS

FAULTS: Final[dict[str, Fault]] = by_name([*WORKER_FAULTS.faults])
