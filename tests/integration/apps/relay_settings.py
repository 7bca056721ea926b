"""A relay that runs as a process of its own."""

import os

from redis.asyncio import Redis

from arqube_worker.contrib.outbox import Outbox, Relay
from arqube_worker.contrib.sqlalchemy import Database


def relay() -> Relay:
    redis = Redis(host=os.environ["REDIS_QUEUE_HOST"], port=int(os.environ["REDIS_QUEUE_PORT"]))
    engine = Database(os.environ["DATABASE_URL"]).engine
    return Relay(Outbox(), engine, redis, poll_s=0.05, settle_s=1.0, batch_size=5)


NO_RELAY = 7
