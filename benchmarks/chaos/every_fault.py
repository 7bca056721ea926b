"""All faults there are, of all modules."""

from __future__ import annotations

from typing import Final

from benchmarks.chaos.api_server_faults import API_SERVER_FAULTS
from benchmarks.chaos.faults import Fault, by_name
from benchmarks.chaos.network_faults import NETWORK_FAULTS
from benchmarks.chaos.node_faults import NODE_FAULTS
from benchmarks.chaos.operator_faults import OPERATOR_FAULTS
from benchmarks.chaos.redis_faults import REDIS_FAULTS
from benchmarks.chaos.task_queue_faults import TASK_QUEUE_FAULTS
from benchmarks.chaos.worker_faults import WORKER_FAULTS

CATALOGUES: Final = (
    WORKER_FAULTS,
    REDIS_FAULTS,
    NETWORK_FAULTS,
    OPERATOR_FAULTS,
    API_SERVER_FAULTS,
    NODE_FAULTS,
    TASK_QUEUE_FAULTS,
)
FAULTS: Final[dict[str, Fault]] = by_name(fault for catalogue in CATALOGUES for fault in catalogue.faults)
