"""WorkerSettings in the shapes people write them, for plain arq as much as for arqube-worker."""

import asyncio
import os
from typing import Any

import tasks
from arq import cron, func
from arq.connections import RedisSettings

REDIS = RedisSettings(host=os.getenv("REDIS_QUEUE_HOST", "localhost"), port=int(os.getenv("REDIS_QUEUE_PORT", "6379")))
FUNCTIONS = [
    tasks.note,
    tasks.nap,
    tasks.block,
    tasks.stop_process,
    tasks.kill_process,
    tasks.hold_until,
    tasks.ignore_cancellation,
    tasks.wrap_cancellation,
    tasks.fail,
    tasks.retry_once,
    tasks.talk,
    tasks.sleep_in_thread,
    tasks.hold_until_file,
    tasks.sign_off,
    func(tasks.retry_always, max_tries=3),
    func(tasks.note, name="forgetful", keep_result=0),
    func(tasks.nap, name="hasty", timeout=0.05),
]


async def startup(ctx: dict[str, Any]) -> None:
    await ctx["redis"].rpush("hooks", "startup")


async def shutdown(ctx: dict[str, Any]) -> None:
    await ctx["redis"].rpush("hooks", "shutdown")


class WorkerSettings:
    """As in the FastAPI template: signals are left to others."""

    functions = FUNCTIONS
    redis_settings = REDIS
    on_startup = startup
    on_shutdown = shutdown
    handle_signals = False


class Base:
    functions = FUNCTIONS
    redis_settings = REDIS
    on_startup = startup
    on_shutdown = shutdown


class Inherited(Base):
    max_jobs = 5


AS_DICT = {"functions": FUNCTIONS, "redis_settings": REDIS, "on_startup": startup, "on_shutdown": shutdown}


def make_settings(**extra: Any) -> Any:
    return type("MadeSettings", (), {**AS_DICT, **extra})


MADE_CLASS = make_settings(max_jobs=7)
MADE_OBJECT = make_settings()()


# Whatever plain arq runs too holds its settings itself: arq does not look into base classes.
Abortable = make_settings(allow_abort_jobs=True, poll_delay=0.1)
Brisk = make_settings(poll_delay=0.05)
Mixed = make_settings(poll_delay=0.05, max_jobs=50, allow_abort_jobs=True)
Burst = make_settings(burst=True)
Ticking = make_settings(cron_jobs=(cron(tasks.tick, second=set(range(60))),))


async def fail_hook(ctx: dict[str, Any]) -> None:
    raise ConnectionRefusedError("no database")  # an OSError, as Redis's absence is


async def start_slowly(ctx: dict[str, Any]) -> None:
    await ctx["redis"].set("starting", 1)
    await asyncio.sleep(600)


class SlowStart(Base):
    on_startup = start_slowly


class Empty:
    redis_settings = REDIS


class BrokenStartup(Base):
    on_startup = fail_hook


class BrokenShutdown(Base):
    on_shutdown = fail_hook


class CronOnly:
    functions = ()
    cron_jobs = (cron(tasks.tick, second=set(range(60))),)
    redis_settings = REDIS


class Forever(Base):
    keep_result_forever = True


class Once(Base):
    retry_jobs = False


class Stubborn(Base):
    functions = (func(tasks.ignore_cancellation, name="stubborn", timeout=0.1),)


async def note_job_start(ctx: dict[str, Any]) -> None:
    await ctx["redis"].rpush("hooks", f"start:{ctx['job_try']}")


async def note_job_end(ctx: dict[str, Any]) -> None:
    await ctx["redis"].rpush("hooks", "end")


async def note_after_job(ctx: dict[str, Any]) -> None:
    await ctx["redis"].rpush("hooks", "after")


Hooked = make_settings(on_job_start=note_job_start, on_job_end=note_job_end, after_job_end=note_after_job)


class BrokenStartHook(Base):
    on_job_start = fail_hook


class BrokenEndHook(Base):
    on_job_end = fail_hook
    after_job_end = fail_hook
