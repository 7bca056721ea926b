"""A pytest plugin for arq's own tests: its Worker becomes ours, and its container of Redis a server of this machine."""

import asyncio
import contextlib
import inspect
import sys
import types

import arq.worker
import pytest_asyncio
from arq.connections import RedisSettings
from prometheus_client import CollectorRegistry

from arqube_local.redis_server import RedisServer
from arqube_queue.turns import Policy
from arqube_worker import runtime
from arqube_worker.metrics import Metrics
from arqube_worker.settings import Configuration, SettingsError

PLAIN = arq.worker.Worker


class Worker(runtime.Worker):
    """Our runtime by arq's arguments, and by the methods that arq's tests call."""

    def __init__(self, functions=(), *, redis_settings=None, handle_signals=True, **options):
        self._mocked = {}
        self._finishing = {}
        self._one_turn = asyncio.Lock()
        configuration = Configuration(
            {"functions": functions, **options},
            redis_settings or RedisSettings(),
            float(options.get("job_completion_wait", 0)),
            Policy(unknown_function_grace_s=0, expires_extra_ms=options.get("expires_extra_ms", 86_400_000)),
        )
        try:
            super().__init__(configuration, name="arq", metrics=Metrics(CollectorRegistry()))
        except SettingsError as error:
            raise error.__cause__ or error from None

    @property
    def tasks(self):
        running = {run.lease.job_id: run.task for run in getattr(self, "runs", ())}
        return self._mocked or {job_id: self._finishing.get(job_id, task) for job_id, task in running.items()}

    @tasks.setter
    def tasks(self, value):
        if not hasattr(self, "runs"):  # as arq's own constructor does
            return
        self._mocked = {job_id: task for job_id, task in value.items() if not isinstance(task, asyncio.Task)}

    @property
    def allow_pick_jobs(self):
        return not self.drain.stopping

    @allow_pick_jobs.setter
    def allow_pick_jobs(self, value):
        pass

    async def _tell(self):
        """Nothing: the tests list what is in Redis while the worker lives, and a heartbeat is no key of arq's."""
        return False

    async def _begin(self):
        self.loop = asyncio.get_running_loop()
        if not hasattr(self, "_turns"):
            await self._connect()

    async def main(self):
        await self._begin()
        await self._start_up()
        listening = asyncio.create_task(self._listen())
        try:
            await self.work()
        finally:
            if self.drain.stopping:
                await self._finish_or_give_back()
            listening.cancel()
            await asyncio.wait((listening,))

    async def start_jobs(self, _job_ids):
        async with self._one_turn:
            await self._begin()
            await self._take_turn(self._free_slots())
        self._finishing = {run.lease.job_id: asyncio.create_task(self._finish(run)) for run in self.runs}

    async def _finish(self, run):
        """arq's tasks are over when their end is written."""
        await asyncio.wait((run.task,))
        async with self._one_turn:
            await self._take_turn(0)

    async def _poll_iteration(self):
        await self.start_jobs([])
        if self.done:
            await self._take_turn(self._free_slots())

    def handle_sig_wait_for_completion(self, _signum):
        self.drain.request()

    def handle_sig(self, _signum):
        self.drain.request()
        self.drain.request()

    async def close(self):
        if self._pool is None:
            return
        for run in self.runs:
            run.task.cancel()
        if hasattr(self, "leases"):
            while self.done:
                await self._take_turn(0)
            self.leases.stop()
        await self.pool.delete(self.health_check_key)
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await self.pool.aclose(close_connection_pool=True)
        self._pool = None

    def run(self):
        self.loop.run_until_complete(self.main())
        self.loop.run_until_complete(self.close())


class RedisContainer(contextlib.AbstractContextManager):
    """testcontainers', over a server of this machine."""

    def __init__(self, _image):
        self._server = RedisServer()
        self.port = 6379

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop()

    def get_container_host_ip(self):
        return self._server.address.host

    def get_exposed_port(self, _port):
        return self._server.address.port


@pytest_asyncio.fixture
async def event_loop():
    """pytest-asyncio's, which it no longer has."""
    return asyncio.get_running_loop()


Worker.__signature__ = inspect.signature(PLAIN)
arq.worker.Worker = arq.Worker = Worker
sys.modules["testcontainers"] = types.ModuleType("testcontainers")
sys.modules["testcontainers.redis"] = containers = types.ModuleType("testcontainers.redis")
containers.RedisContainer = RedisContainer
