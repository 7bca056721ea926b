"""Writes a job's result as arq does, so that arq's clients can read it, and says how long it is kept."""

from __future__ import annotations

import inspect
from typing import Any, Final

import arq.worker
from arq.jobs import serialize_result

from arqube_worker import logs
from arqube_worker.runs import Run

_RESULTS_NAME_JOBS: Final = "job_id" in inspect.signature(serialize_result).parameters
"""arq's before 0.26 do not."""
RESULT_LIMIT: Final = 256 * 1024 * 1024
"""Bytes of a result; Redis takes no value above 512 MB, and would close the connection at each attempt."""

logger = logs.get_logger(__name__)


class Results:
    """Results of one worker's jobs, by its settings and those of their functions."""

    def __init__(self, worker: arq.worker.Worker) -> None:
        self._worker = worker

    def life_ms(self, function: Any = None) -> int | None:
        """How long the result is kept, in milliseconds; 0 for ever, None when it is not.

        Args:
            function: arq's ``Function``; None for a job that was not started, where the worker's settings count.
        """
        forever, life_s = self._worker.keep_result_forever, self._worker.keep_result_s
        if function is not None:
            forever = forever if function.keep_result_forever is None else function.keep_result_forever
            life_s = life_s if function.keep_result_s is None else function.keep_result_s
        if forever:
            return 0
        return max(1, int(life_s * 1000)) if life_s and life_s > 0 else None

    def write(
        self,
        run: Run,
        args: tuple[Any, ...],
        kwargs: dict[Any, Any],
        *,
        success: bool,
        result: Any,
        started_ms: int,
        ended_ms: int,
    ) -> bytes | None:
        """arq's serialized result; one that is too large becomes the failure that arq makes of one it cannot write."""
        name = run.function if run.function is not None else "<unknown>"

        def serialize(success: bool, result: Any) -> bytes | None:
            return serialize_result(
                name,
                args,
                kwargs,
                run.attempt or run.lease.tries,
                run.enqueued_ms,
                success,
                result,
                started_ms,
                ended_ms,
                f"{run.lease.job_id}:{name}",
                self._worker.queue_name,
                **({"job_id": run.lease.job_id} if _RESULTS_NAME_JOBS else {}),
                serializer=self._worker.job_serializer,
            )

        data = serialize(success, result)
        if data is not None and len(data) > RESULT_LIMIT:
            logger.error("the result is too large for Redis", bytes=len(data))
            data = serialize(False, "unable to serialize result")  # arq's words for one that cannot be kept
        return data
