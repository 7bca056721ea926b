"""Names of the keys a queue uses in Redis: arq's own, which we must not change, and ours beside them.

Source of arq's names: arq 0.28, ``arq/constants.py``.
"""

from __future__ import annotations

from typing import Final

DEFAULT_QUEUE: Final = "arq:queue"

JOB_PREFIX: Final = "arq:job:"
IN_PROGRESS_PREFIX: Final = "arq:in-progress:"
RETRY_PREFIX: Final = "arq:retry:"
RESULT_PREFIX: Final = "arq:result:"
ABORT: Final = "arq:abort"

OUTBOX_MOVED: Final = "arqube:outbox:moved"
"""The sorted set of the tokens of outboxes' rows that were moved here, by that time in Unix milliseconds."""


def heartbeats(queue: str) -> str:
    """The hash that holds one heartbeat a worker of ``queue``, keyed by the worker's name."""
    return f"arqube:{queue}:heartbeats"


def retiring(queue: str) -> str:
    """The hash that names the workers of ``queue`` that shall take no more jobs, each with when that ends."""
    return f"arqube:{queue}:retiring"


def history(queue: str, owner: str) -> str:
    """The list of samples of ``queue`` and of the workers that ``owner`` runs for it, oldest first."""
    return f"arqube:{queue}:history:{owner}"


def dead_letters(queue: str) -> str:
    """The sorted set of the ids of ``queue``'s dead letters, by the time of death in Unix milliseconds."""
    return f"arqube:{queue}:dead"


def dead_letter(queue: str, job_id: str) -> str:
    """The hash that holds one dead letter of ``queue``."""
    return f"arqube:{queue}:dead:{job_id}"


def unknown_functions(queue: str) -> str:
    """The hash that tells, by job id, when a worker first met a function it did not know, in Unix milliseconds."""
    return f"arqube:{queue}:unknown-functions"


def job_records(queue: str) -> str:
    """The hash that holds, by job id, what is known of ``queue``'s jobs that ended."""
    return f"arqube:{queue}:jobs"


def job_ends(queue: str) -> str:
    """The sorted set of the ids in ``job_records``, by when they ended in Unix milliseconds."""
    return f"arqube:{queue}:jobs:ended"


def open_jobs(queue: str) -> str:
    """The hash that holds, by job id, the tries of jobs that a worker has started and that have not ended."""
    return f"arqube:{queue}:jobs:open"
