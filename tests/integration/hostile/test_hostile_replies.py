"""Answers that no healthy Redis gives: worker, operator and commands say so, and go on when it is well again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from functools import partialmethod
from threading import Thread
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis
from arq.cron import CronJob, cron
from click.testing import CliRunner
from prometheus_client import CollectorRegistry
from redis import ConnectionPool
from redis import Redis as SyncRedis
from redis._parsers import _AsyncHiredisParser, _AsyncRESP2Parser, _AsyncRESP3Parser, _HiredisParser, _RESP2Parser
from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_local.cli import main
from arqube_local.redis_server import RedisServer
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.payloads import PayloadKeeper
from arqube_operator.observe.queues import QueueObserver, Reading
from arqube_queue import aborts, heartbeat, open_jobs, payload_life
from arqube_queue.answers import now_ms
from arqube_queue.connection import RedisAddress
from arqube_queue.leases import renew
from arqube_queue.model import Heartbeat
from arqube_queue.snapshot import SnapshotQuery
from arqube_queue.turns import Lease
from arqube_queue.wakeup import Wakeup
from arqube_worker import connections, crons
from arqube_worker.metrics import Metrics
from arqube_worker.turning import REDIS_ERRORS, TurnTaker
from builders import jobs
from builders.hostile import QUEUE, plant_good
from builders.odd_redis import GREETINGS, OddRedis
from builders.worker_process import WorkerProcess

ODD = {
    "it is loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "it is busy with a script": b"-BUSY Redis is busy running a script. You can only call SCRIPT KILL.\r\n",
    "it cannot write to its disk": b"-MISCONF Redis is configured to save RDB snapshots, but cannot\r\n",
    "the user lacks a right": b"-NOPERM this user has no permissions to run the 'evalsha' command\r\n",
    "it is a node of a cluster": b"-MOVED 3999 127.0.0.1:6381\r\n",
    "it is a node of a cluster that stammers": b"-MOVED somewhere\r\n",
    "the slot is on its way": b"-ASK 3999 127.0.0.1:6381\r\n",
    "it is a replica": b"-READONLY You can't write against a read only replica.\r\n",
    "it is out of memory": b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
    "it forgets each script": b"-NOSCRIPT No matching script. Please use EVAL.\r\n",
    "the password is wrong": b"-WRONGPASS invalid username-password pair or user is disabled.\r\n",
    "it asks for a password": b"-NOAUTH Authentication required.\r\n",
    "the cluster is down": b"-CLUSTERDOWN The cluster is down\r\n",
    "a replica without its master": b"-MASTERDOWN Link with MASTER is down\r\n",
    "an error without words": b"-\r\n",
    "an error that is no Unicode": b"-ERR \xff\xfe\r\n",
    "nil": b"$-1\r\n",
    "a nil list": b"*-1\r\n",
    "a number": b":7\r\n",
    "OK": b"+OK\r\n",
    "an empty list": b"*0\r\n",
    "a list of nils": b"*9\r\n" + b"$-1\r\n" * 9,
    "a list of lists of errors": b"*6\r\n" + b"*1\r\n-ERR no\r\n" * 6,
    "a list of six texts": b"*6\r\n" + b"$1\r\nx\r\n" * 6,
    "half a text": b"$100\r\nhalf",
    "a text that says it has a terabyte": b"$1099511627776\r\nx\r\n",
    "a text of a negative length": b"$-7\r\nx\r\n",
    "no number as a length": b"$many\r\nx\r\n",
    "a list of five hundred lists": b"*1\r\n" * 500 + b":1\r\n",
    "an answer of its own, by hanging up": b"half",
    "a byte that begins no answer": b"?what\r\n",
    "a page of a web server": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    "an alert of TLS": b"\x15\x03\x01\x00\x02\x02\x46",
    "a map of RESP3": b"%1\r\n+a\r\n:1\r\n",
    "true, infinity and null of RESP3": b"*3\r\n#t\r\n,inf\r\n_\r\n",
    "news that nobody asked for": b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nx\r\n:1\r\n",
}


@pytest.fixture(scope="module")
def odd_server(hostile_server: RedisServer) -> Iterator[OddServer]:
    server = OddServer(hostile_server)
    yield server
    server.close()


class OddServer:
    """An odd Redis in a thread, so that it serves a worker through all tests of the module."""

    def __init__(self, redis: RedisServer) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.odd = self._call(OddRedis(redis.address).__aenter__())

    def become(self, odd: bytes | None) -> None:
        """Answer so from now on."""
        self._call(self.odd.become(odd))

    def close(self) -> None:
        """End it."""
        self._call(self.odd.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)


@pytest.fixture(scope="module")
def worker(start: Any, odd_server: OddServer) -> WorkerProcess:
    process: WorkerProcess = start("Pickles", REDIS_QUEUE_PORT=str(odd_server.odd.address.port))
    return process


@pytest.fixture
def odd(odd_server: OddServer) -> Iterator[OddServer]:
    yield odd_server
    odd_server.odd.greetings = GREETINGS
    odd_server.become(None)


CASES = [pytest.param(answer, id=name) for name, answer in ODD.items()]


@pytest.mark.parametrize("answer", CASES)
async def test_a_worker_waits_until_redis_is_well(
    hostile_redis: Redis, worker: WorkerProcess, odd: OddServer, eventually: Any, answer: bytes
) -> None:
    def lives() -> bool:
        assert worker.process.poll() is None, worker.text[-3000:]
        return True

    await eventually(lambda: lives() and worker.get("/readyz")[0] == 200, within_s=60)
    told = len(worker.logged("Redis failed"))
    odd.become(answer)
    await eventually(lambda: lives() and odd.odd.asked >= 2, within_s=60)
    await eventually(lambda: lives() and len(worker.logged("Redis failed")) > told)
    lives()

    odd.become(None)
    await plant_good(hostile_redis)
    await eventually(lambda: hostile_redis.llen("notes"), within_s=60)
    assert await hostile_redis.lrange("notes", 0, -1) == [f"good:1:{worker.process.pid}".encode()]  # type: ignore[misc]


def planned() -> CronJob:
    job = cron(note, name="note")
    job.next_run = datetime.now()
    return job


async def note(_ctx: dict[str, Any]) -> None: ...


def turn_taker(redis: ArqRedis) -> TurnTaker:
    options = {"functions": [note], "redis_pool": redis, "handle_signals": False, "health_check_interval": 1}
    return TurnTaker(name="w", metrics=Metrics(CollectorRegistry()), retry_policy=None, **options)


PARSERS = ("hiredis", "without hiredis, as in some images")
NOW_MS = 1_800_000_000_000
BEAT = Heartbeat("w", at_ms=0, busy=0, slots=1)
DUTIES: dict[str, Callable[[ArqRedis], Awaitable[object]]] = {
    "take a turn": lambda redis: jobs.worker(redis).take([], now_ms=NOW_MS, limit=1),
    "ask for the time": now_ms,
    "write a heartbeat": lambda redis: heartbeat.write(redis, QUEUE, BEAT),
    "remove a heartbeat": lambda redis: heartbeat.remove(redis, QUEUE, "w"),
    "keep payloads": lambda redis: payload_life.keep_payloads(redis, QUEUE),
    "forget requests to abort": aborts.forget_old,
    "settle what others ended": lambda redis: open_jobs.settle(redis, QUEUE),
    "queue a cron run": lambda redis: crons.queue_due(
        redis, QUEUE, [planned()], now_ms=NOW_MS, timezone=None, interval_s=1.0
    ),
    "record the health": lambda redis: turn_taker(redis).record_health(),
    "see whether a burst is over": lambda redis: turn_taker(redis)._burst_is_over(),
}
"""What a worker's loop asks of Redis; some of it once a minute only, so that few tests see it meet such an answer."""


@pytest.mark.parametrize("answer", CASES)
@pytest.mark.parametrize("parser", [_AsyncHiredisParser, _AsyncRESP2Parser], ids=PARSERS)
async def test_no_answer_makes_more_than_an_error_of_redis_of_what_a_worker_asks(
    odd: OddServer, answer: bytes, parser: type
) -> None:
    odd.become(answer)
    for duty, ask in DUTIES.items():
        redis = ArqRedis(odd.odd.address.connect(timeout_s=0.3, parser_class=parser).connection_pool)
        try:
            await ask(redis)
        except REDIS_ERRORS:
            pass
        except Exception as error:
            pytest.fail(f"to {duty} ends in {error!r}")
        finally:
            await redis.connection_pool.disconnect()
    assert odd.odd.asked >= len(DUTIES)


@pytest.mark.parametrize("answer", CASES)
@pytest.mark.parametrize("parser", [_AsyncHiredisParser, _AsyncRESP2Parser], ids=PARSERS)
async def test_no_answer_makes_more_than_an_error_of_redis_of_connecting(
    odd: OddServer, answer: bytes, parser: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RedisAddress, "connect", partialmethod(RedisAddress.connect, parser_class=parser))
    odd.odd.greetings = GREETINGS - {b"PING"}
    odd.become(answer)
    with contextlib.suppress(*REDIS_ERRORS):
        pool = await connections.open_pool(odd.odd.address, own=True)
        await pool.connection_pool.disconnect()
    assert odd.odd.asked


@pytest.mark.parametrize("answer", CASES)
@pytest.mark.parametrize("parser", [_HiredisParser, _RESP2Parser], ids=PARSERS)
def test_no_answer_makes_more_than_an_error_of_redis_of_a_renewal(odd: OddServer, answer: bytes, parser: type) -> None:
    odd.become(answer)
    pool = ConnectionPool(port=odd.odd.address.port, socket_timeout=0.3, parser_class=parser)
    with pytest.raises((RedisError, OSError)), SyncRedis(connection_pool=pool) as client:
        renew(client, [Lease("job", b"1", 1, "token")] * 2, lease_ms=15_000)
    pool.disconnect()


@pytest.mark.parametrize("name", ["no number as a length", "a list of five hundred lists", "half a text"])
async def test_changes_are_told_once_redis_is_well_again(odd: OddServer, eventually: Any, name: str) -> None:
    redis = odd.odd.address.connect(parser_class=_AsyncRESP3Parser)
    odd.become(ODD[name])
    async with redis, Wakeup.beside(redis, QUEUE) as wakeup:
        await eventually(lambda: odd.odd.asked >= 2)
        odd.become(None)
        await eventually(lambda: wakeup.available)


class Watch:
    """An observer of one queue, and what it told."""

    def __init__(self) -> None:
        self.observer = QueueObserver(lambda key, reading: None, self, tick_s=0.05)

    def ticked(self, delay_s: float) -> None: ...
    def redis_asked(self) -> None: ...
    def redis_failed(self, reason: str) -> None: ...


@pytest_asyncio.fixture
async def observer() -> AsyncIterator[QueueObserver]:
    watch = Watch()
    yield watch.observer
    await watch.observer.close()


@pytest.mark.parametrize("answer", CASES)
async def test_the_operator_tells_why_a_queue_cannot_be_read(
    hostile_redis: Redis, odd: OddServer, observer: QueueObserver, eventually: Any, answer: bytes
) -> None:
    odd.become(answer)
    address = odd.odd.address
    key = Key("shop", "mail")

    def read() -> Reading:
        return observer.watch(key, address, SnapshotQuery(QUEUE))

    tasks = set()

    def problem() -> Any:
        reading = read()
        tasks.add(observer._tasks[address])
        return reading.problem

    found = await eventually(problem, within_s=60)
    assert found.reason in {
        *("RedisUnreachable", "RedisAuthenticationFailed", "RedisPermissionDenied", "RedisError"),
    }, found
    assert str(address.port) in found.message, "it names the server"
    odd.become(None)
    await eventually(lambda: read().snapshot is not None and read().problem is None, within_s=60)
    assert len(tasks) == 1, "it was not ended by a defect and begun anew"


@pytest.mark.parametrize("answer", CASES)
async def test_the_operator_looks_for_old_payloads_another_time(odd: OddServer, answer: bytes) -> None:
    odd.become(answer)
    async with odd.odd.address.connect(timeout_s=0.3) as redis:
        await PayloadKeeper(redis, timeout_s=0.3).keep({Key("shop", "mail"): QUEUE}, now=0.0, tick_s=60.0)
    assert odd.odd.asked


@pytest.mark.parametrize("answer", CASES)
def test_commands_say_that_redis_is_not_well(odd: OddServer, answer: bytes) -> None:
    odd.become(answer)
    url = f"redis://127.0.0.1:{odd.odd.address.port}/0"
    for command in ("dlq list", "queues"):
        done = CliRunner().invoke(main, [*command.split(), "--redis", url])
        assert done.exception is None or isinstance(done.exception, SystemExit), f"{command}: {done.exc_info}"
        # Some of them say that there is nothing, which is no error.
        assert (done.exit_code, "Error: " in done.output) in ((1, True), (0, False)), f"{command}: {done.output}"
