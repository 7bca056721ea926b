"""What the worker records of a job when a run ends: its tries so far, and how it ended (``arqube_queue.job_tries``)."""

from __future__ import annotations

import functools
import time

from arqube_queue import job_tries
from arqube_worker.runs import Run

_quoted = functools.lru_cache(maxsize=1024)(job_tries.quoted)


class Recorder:
    """Writes records for one worker. No arguments and no results are in them; an error's text is the app's."""

    def __init__(self, worker: str) -> None:
        self._worker = job_tries.quoted(worker)

    def tries(self, run: Run, outcome: str, error: str = "") -> str:
        """The lines of a job that is to run again: its former tries, and this one."""
        ended = run.ended_at or time.time()
        started_ms, ended_ms = int((run.started_at or ended) * 1000), int(ended * 1000)
        line = job_tries.ended_try(run.attempt, self._worker, started_ms, ended_ms, outcome, error)
        return f"{_latest(run.lease.former)}\n{line}" if run.lease.former else line

    def ended(self, run: Run, outcome: str, started_ms: int, ended_ms: int, error: str = "") -> str:
        """The lines of a job that has ended with this try, if it began; the times of that in Unix milliseconds."""
        if not started_ms:
            return self.refused(run, outcome, error)
        function = "null" if run.function is None else _quoted(run.function)
        if run.attempt == 1 and not error and not run.lease.former:
            return job_tries.only_try(function, run.enqueued_ms, self._worker, started_ms, ended_ms, outcome)
        return f"{job_tries.ending(function, run.enqueued_ms, outcome)}\n{self.tries(run, outcome, error)}"

    def refused(self, run: Run, outcome: str, error: str) -> str:
        """The lines of a job that has ended without another try."""
        function = "null" if run.function is None else _quoted(run.function)
        line = job_tries.ending(function, run.enqueued_ms, outcome, error)
        return f"{line}\n{run.lease.former.decode(errors='replace')}" if run.lease.former else line


def _latest(former: bytes) -> str:
    """As many of the former tries as have room beside another."""
    return "\n".join(former.decode(errors="replace").split("\n")[1 - job_tries.MOST_TRIES :])
