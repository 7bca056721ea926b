"""Jobs that do what no job should, and the settings that run them."""

import asyncio
import io
import json
import logging
import os
import sys
import threading
import warnings

from arq import Retry, func


class Odd(BaseException):
    pass


class MuteError(Exception):
    def __str__(self):
        raise RuntimeError("it cannot tell")

    __repr__ = __str__


class EndingError(Exception):
    def __str__(self):
        sys.exit("told")


class UnwritableError(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.lock = threading.Lock()


class Leaving:
    def __reduce__(self):
        sys.exit("written")


class Refusing:
    def __reduce__(self):
        raise OSError("it cannot be written")


def deepen():
    return deepen()


async def neighbour(ctx):
    """Runs beside the others, and after them."""
    await asyncio.sleep(0)
    return "unharmed"


async def misbehave(ctx, how):
    return await WAYS[how](ctx)


def raising(make):
    async def job(ctx):
        raise make()

    return job


def returning(make):
    async def job(ctx):
        return make()

    return job


def nested():
    value = []
    for _ in range(200_000):
        value = [value]
    return value


def broken_retry():
    error = Retry(defer=1)
    error.defer_score = "soon"
    return error


def with_extra(extra):
    error = ValueError("with more to tell")
    error.extra = extra
    return error


async def cancel_itself(ctx):
    asyncio.current_task().cancel()
    return "done before the cancellation"


async def cancel_itself_and_wait(ctx):
    asyncio.current_task().cancel()
    await asyncio.sleep(3600)


async def close_the_loop(ctx):
    asyncio.get_running_loop().close()


async def close_the_pool(ctx):
    await ctx["redis"].connection_pool.disconnect()


async def empty_its_context(ctx):
    ctx.clear()


async def empty_the_environment(ctx):
    os.environ.clear()
    os.chdir("/")


async def fork(ctx):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads, from Python 3.12 on
        child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitpid(child, 0)[1] >> 8  # noqa: ASYNC222


async def exhaust_files(ctx):
    held = []
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        await asyncio.sleep(0.5)
        raise
    finally:
        for number in held:
            os.close(number)


async def print_much(ctx):
    for _ in range(100):
        sys.stdout.write("x" * 100_000 + "\n")


async def leave_a_failing_task(ctx):
    async def fail():
        raise ValueError("nobody waits for this")

    ctx["left"] = asyncio.create_task(fail())
    await asyncio.sleep(0.05)


async def change_the_loop(ctx):
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    loop.set_exception_handler(lambda *_: sys.exit("handled"))
    loop.set_task_factory(None)
    loop.set_debug(False)
    loop.set_exception_handler(None)


async def silence_logs(ctx):
    logging.disable(logging.CRITICAL)
    logging.root.handlers[0].stream = io.StringIO()
    logging.disable(logging.NOTSET)


WAYS = {
    "exit": raising(lambda: SystemExit(0)),
    "interrupt": raising(KeyboardInterrupt),
    "odd": raising(lambda: Odd("not an Exception")),
    "generator exit": raising(GeneratorExit),
    "stop iteration": raising(StopIteration),
    "stop async iteration": raising(StopAsyncIteration),
    "memory": raising(MemoryError),
    "recursion": returning(deepen),
    "mute": raising(MuteError),
    "ending": raising(EndingError),
    "unwritable error": raising(lambda: UnwritableError(1, 2)),
    "long error": raising(lambda: ValueError("x" * 20_000_000)),
    "secretive error": raising(lambda: ValueError("\udcff\x00\u2028")),
    "group": raising(lambda: BaseExceptionGroup("two", [ValueError(), Odd()])),
    "timeout": raising(asyncio.TimeoutError),
    "broken retry": raising(broken_retry),
    "endless retry": raising(lambda: Retry(defer=float("inf"))),
    "broken extra": raising(lambda: with_extra(lambda: 1 / 0)),
    "leaving extra": raising(lambda: with_extra(sys.exit)),
    "lambda": returning(lambda: lambda: 1),
    "lock": returning(threading.Lock),
    "refusing": returning(Refusing),
    "leaving": returning(Leaving),
    "nested": returning(nested),
    "coroutine": returning(lambda: deepen),
    "large": returning(lambda: b"x" * 50_000_000),
    "cancel itself": cancel_itself,
    "cancel itself and wait": cancel_itself_and_wait,
    "close the loop": close_the_loop,
    "close the pool": close_the_pool,
    "empty its context": empty_its_context,
    "empty the environment": empty_the_environment,
    "fork": fork,
    "exhaust files": exhaust_files,
    "print": print_much,
    "leave a failing task": leave_a_failing_task,
    "change the loop": change_the_loop,
    "silence logs": silence_logs,
}


async def after_each(ctx):
    """A hook that waits until the end is written: what a job did to its task must not keep it from that."""


class WorkerSettings:
    functions = (
        func(misbehave, max_tries=2, timeout=20),
        neighbour,
    )
    after_job_end = after_each
    max_jobs = 2


async def stop_the_loop(ctx):
    asyncio.get_running_loop().stop()


async def exit_from_a_task(ctx):
    ctx["left"] = asyncio.create_task(raising(lambda: SystemExit(3))(ctx))
    await asyncio.sleep(0.05)


async def cancel_everything(ctx):
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


async def vanish(ctx):
    os._exit(9)


class Deadly:
    functions = (
        stop_the_loop,
        exit_from_a_task,
        cancel_everything,
        func(vanish, max_tries=2),
        neighbour,
    )
    max_jobs = 2


def hook(error):
    async def run(ctx):
        raise error

    return run


class HostileHooks:
    functions = (neighbour,)
    on_job_end = hook(SystemExit(5))
    after_job_end = hook(GeneratorExit())
    on_shutdown = hook(SystemExit(6))


class ExitsAtStart:
    functions = (neighbour,)
    on_startup = hook(SystemExit(0))


class CancelledAtStart:
    functions = (neighbour,)
    on_startup = hook(asyncio.CancelledError())


class HostileBeginning:
    functions = (func(neighbour, max_tries=2),)
    on_job_start = hook(KeyboardInterrupt())


class BrokenSerializer:
    functions = (neighbour,)
    job_serializer = hook(ValueError())
    job_deserializer = json.loads


def sync_start(ctx):
    """Awaited, it is a TypeError."""


class SyncStart:
    functions = (neighbour,)
    on_startup = sync_start
