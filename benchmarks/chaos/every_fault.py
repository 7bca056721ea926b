"""All faults there are, of all modules."""

from __future__ import annotations

from typing import Final

from benchmarks.chaos.api_server_faults import API_SERVER_FAULTS
from benchmarks.chaos.faults import Fault, by_name
from benchmarks.chaos.node_faults import NODE_FAULTS
from benchmarks.chaos.operator_faults import OPERATOR_FAULTS
from benchmarks.chaos.task_queue_faults import TASK_QUEUE_FAULTS
from benchmarks.chaos.worker_faults import WORKER_FAULTS

FAULTS: Final[dict[str, Fault]] = by_name(
    [
        *WORKER_FAULTS.faults,
        *OPERATOR_FAULTS.faults,
        *API_SERVER_FAULTS.faults,
        *NODE_FAULTS.faults,
        *TASK_QUEUE_FAULTS.faults,
    ]
)
