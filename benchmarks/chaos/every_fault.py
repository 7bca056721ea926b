"""All faults there are, of all modules."""

from __future__ import annotations

from typing import Final

from benchmarks.chaos.faults import Fault, by_name
from benchmarks.chaos.network_faults import NETWORK_FAULTS
from benchmarks.chaos.redis_faults import REDIS_FAULTS
from benchmarks.chaos.worker_faults import WORKER_FAULTS

CATALOGUES: Final = (WORKER_FAULTS, REDIS_FAULTS, NETWORK_FAULTS)
FAULTS: Final[dict[str, Fault]] = by_name(fault for catalogue in CATALOGUES for fault in catalogue.faults)
