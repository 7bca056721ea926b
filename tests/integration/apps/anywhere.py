"""An app for every Python and arq that the runtime is injected into.

``python anywhere.py`` enqueues its jobs and prints as JSON how each ended: its result, or the name of what it raised.
"""

import asyncio
import json
import os
import sys

import arq
from arq.connections import RedisSettings
from arq.jobs import Job, ResultNotFound

REDIS = RedisSettings(host=os.environ["REDIS_QUEUE_HOST"], port=int(os.environ["REDIS_QUEUE_PORT"]))


async def places(ctx):
    """Where the modules of one name come from."""
    return {
        name: sys.modules[name].__file__ for name in ("arqube_worker", "arq", "redis", "structlog", "prometheus_client")
    }


async def succeed(ctx, number):
    return number


async def fail(ctx):
    raise LookupError("no luck")


async def retry(ctx):
    if ctx["job_try"] < 3:
        raise arq.Retry(defer=0.05)
    return ctx["job_try"]


async def outlast(ctx):
    await asyncio.sleep(600)


async def be_aborted(ctx):
    await ctx["redis"].set("aborting", 1)
    await asyncio.sleep(600)


async def finish_late(ctx):
    await ctx["redis"].set("finishing", 1)
    await asyncio.sleep(1)
    return "finished"


async def tick(ctx):
    await ctx["redis"].incr("ticks")


class WorkerSettings:
    functions = (places, succeed, fail, retry, arq.func(outlast, timeout=0.2), be_aborted, finish_late)
    cron_jobs = (arq.cron(tick, second=set(range(60))),)
    redis_settings = REDIS
    allow_abort_jobs = True


async def end(job, tries=2):
    try:
        return await job.result(timeout=20, poll_delay=0.05)
    except ResultNotFound:
        # arq 0.25 looks for the result, then in the queue: a job that ends in between is in neither.
        return await end(job, tries - 1) if tries > 1 else "nothing"
    except (Exception, asyncio.CancelledError) as error:
        return type(error).__name__


async def noted(pool, key):
    """Wait until a job has written the key."""
    while not await pool.get(key):  # noqa: ASYNC110 - it is another process that writes
        await asyncio.sleep(0.05)


async def main():
    pool = await arq.create_pool(REDIS)
    jobs = {
        "places": await pool.enqueue_job("places"),
        "succeed": await pool.enqueue_job("succeed", 7),
        "fail": await pool.enqueue_job("fail"),
        "retry": await pool.enqueue_job("retry"),
        "outlast": await pool.enqueue_job("outlast"),
        "deferred": await pool.enqueue_job("succeed", 8, _defer_by=0.3),
    }
    aborted = await pool.enqueue_job("be_aborted", _job_id="aborted")
    await noted(pool, "aborting")
    ends = {name: await end(job) for name, job in jobs.items()}
    assert aborted is not None
    # For the same reason arq 0.25 may not know that it has aborted the job.
    abort = await Job("aborted", pool).abort(timeout=20, poll_delay=0.05)
    ends["aborted"] = abort or await end(aborted) == "CancelledError"
    await noted(pool, "ticks")
    print(json.dumps(ends))  # noqa: T201 - for the test
    await pool.enqueue_job("finish_late", _job_id="late")
    await noted(pool, "finishing")


if __name__ == "__main__":
    asyncio.run(main())
