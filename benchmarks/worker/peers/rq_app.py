"""RQ: SimpleWorker, which runs jobs in its own process instead of a fork each; results kept for its default."""

from __future__ import annotations

import logging
import os
import sys

from redis import Redis
from rq import Queue, SimpleWorker

from benchmarks.worker import marks

redis = Redis.from_url(os.environ["BENCH_REDIS_URL"])
queue = Queue(connection=redis)


def noop() -> None:
    """Do nothing."""
    marks.job_started()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        SimpleWorker([queue], connection=redis).work(logging_level=logging.WARNING)
    else:
        many = [Queue.prepare_data("benchmarks.worker.peers.rq_app.noop") for _ in range(int(sys.argv[2]))]
        queue.enqueue_many(many)
