"""dramatiq: one process of 8 threads, results in Redis."""

from __future__ import annotations

import logging
import os
import sys
import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.worker import marks

URL = os.environ["BENCH_REDIS_URL"]
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop() -> bool:
    """Do nothing. dramatiq warns at each None."""
    marks.job_started()
    return True


if __name__ == "__main__":
    if sys.argv[1] == "work":
        logging.disable(logging.WARNING)
        dramatiq.Worker(broker, worker_threads=8).start()
        threading.Event().wait()
    else:
        for _ in range(int(sys.argv[2])):
            noop.send()
