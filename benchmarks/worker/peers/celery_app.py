"""Celery: one process, no gossip, no events, results in Redis."""

from __future__ import annotations

import os
import sys

from celery import Celery

from benchmarks.worker import marks

URL = os.environ["BENCH_REDIS_URL"]
app = Celery("bench", broker=URL, backend=URL)
app.conf.worker_prefetch_multiplier = 64


@app.task(name="noop")
def noop() -> None:
    """Do nothing."""
    marks.job_started()


if __name__ == "__main__":
    if sys.argv[1] == "work":
        pool = os.environ.get("BENCH_CELERY_POOL", "threads")
        options = ["--pool", pool, "--concurrency", "8", "--loglevel", "WARNING"]
        app.worker_main(["worker", *options, "--without-gossip", "--without-mingle", "--without-heartbeat"])
    else:
        for _ in range(int(sys.argv[2])):
            noop.delay()
