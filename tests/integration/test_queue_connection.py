"""Ways to a real Redis: TLS with an authority of our own, mutual TLS, and sentinels that change the master."""

# ruff: noqa: S105 - the passwords of tests

from __future__ import annotations

import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from arqube_local.redis_server import RedisServer, find_binary, free_port
from arqube_queue.connection import RedisAddress, Tls
from arqube_queue.wakeup import Wakeup

Eventually = Callable[..., Awaitable[Any]]
Authority = Any
"""Of ``conftest.py``."""


def lacks_tls(error: RuntimeError) -> bool:
    """Whether a server did not start as it is built without TLS."""
    return "tls-port" in str(error) or "TLS support" in str(error)


@contextmanager
def tls_server(authority: Authority, **options: bool) -> Iterator[RedisAddress]:
    port = free_port()
    server = RedisServer(options=authority.options(port, **options))
    try:
        server.start()
    except RuntimeError as error:
        if lacks_tls(error):
            pytest.skip(f"{find_binary()} is built without TLS")
        raise
    try:
        yield replace(server.address, port=port)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def tls_address(authority: Authority) -> Iterator[RedisAddress]:
    with tls_server(authority) as address:
        yield address


@pytest.fixture(scope="module")
def mutual_tls_address(authority: Authority) -> Iterator[RedisAddress]:
    with tls_server(authority, clients_need_certificates=True) as address:
        yield address


async def assert_serves(address: RedisAddress) -> None:
    """It answers, and wakes."""
    async with address.connect() as client, Wakeup.beside(client, "queue") as wakeup:
        await client.flushall()
        assert await wakeup.wait(5)
        assert wakeup.available
        await client.zadd("queue", {"job": 1})
        assert await wakeup.wait(5)


async def assert_unreachable(address: RedisAddress, reason: str | None = None) -> None:
    async with address.connect() as client:
        with pytest.raises((RedisError, OSError), match=reason):
            await client.ping()
        async with Wakeup.beside(client, "queue") as wakeup:
            assert not await wakeup.wait(0.2)
            assert not wakeup.available


async def test_tls_is_spoken_with_a_server_our_authority_vouches_for(
    tls_address: RedisAddress, authority: Authority
) -> None:
    await assert_serves(replace(tls_address, tls=Tls(ca_file=authority.file("ca.crt"))))


async def test_tls_is_read_from_the_environment(tls_address: RedisAddress, authority: Authority) -> None:
    url = f"rediss://127.0.0.1:{tls_address.port}/1"
    address = RedisAddress.from_environment(
        {"ARQUBE_REDIS_URL": url, "ARQUBE_REDIS_TLS_CA_FILE": authority.file("ca.crt")}
    )

    assert address is not None
    await assert_serves(address)


async def test_an_unverified_server_is_taken_only_when_asked_to(tls_address: RedisAddress) -> None:
    await assert_unreachable(replace(tls_address, tls=Tls()), "certificate verify failed")
    await assert_serves(replace(tls_address, tls=Tls(verify=False)))


async def test_a_certificate_of_another_host_is_refused(tls_address: RedisAddress, authority: Authority) -> None:
    elsewhere = replace(tls_address, host="localhost")

    await assert_unreachable(replace(elsewhere, tls=Tls(ca_file=authority.file("ca.crt"))), "certificate")
    await assert_serves(replace(elsewhere, tls=Tls(verify=False)))


async def test_a_plain_client_does_not_hang_at_a_tls_port(tls_address: RedisAddress) -> None:
    await assert_unreachable(tls_address)


async def test_mutual_tls_needs_our_certificate(mutual_tls_address: RedisAddress, authority: Authority) -> None:
    anonymous = Tls(ca_file=authority.file("ca.crt"))
    known = replace(anonymous, cert_file=authority.file("client.crt"), key_file=authority.file("client.key"))

    await assert_unreachable(replace(mutual_tls_address, tls=anonymous))
    await assert_serves(replace(mutual_tls_address, tls=known))


class Sentinels:
    """A master with a replica, and a sentinel that puts the replica in its place once the master is gone."""

    password = "hunter2"

    def __init__(self, folder: Path, stack: ExitStack, authority: Authority | None) -> None:
        self._authority = authority
        self.sentinel_port = free_port()
        auth = ("--requirepass", self.password, "--masterauth", self.password)
        self.master, self._master_port = self._server(stack, auth)
        self.replica, self.replica_port = self._server(
            stack, (*auth, "--replicaof", "127.0.0.1", str(self._master_port), "--repl-diskless-sync-delay", "0")
        )
        self._start_sentinel(folder, stack)

    @property
    def address(self) -> RedisAddress:
        tls = Tls(ca_file=self._authority.file("ca.crt")) if self._authority else None
        sentinels = (("127.0.0.1", free_port()), ("127.0.0.1", self.sentinel_port))  # the first is down
        return RedisAddress(sentinels=sentinels, sentinel_master="jobs", password=self.password, tls=tls)

    def _server(self, stack: ExitStack, options: tuple[str, ...]) -> tuple[RedisServer, int]:
        plain = tls_port = free_port()
        if self._authority:
            tls_port = free_port()
            options += (*self._authority.options(tls_port), "--tls-replication", "yes")
        server = RedisServer(port=plain, options=options)
        stack.callback(server.stop)
        try:
            return server.start(), tls_port
        except RuntimeError as error:
            if lacks_tls(error):
                pytest.skip(f"{find_binary()} is built without TLS")
            raise

    def _start_sentinel(self, folder: Path, stack: ExitStack) -> None:
        lines = [f"port {self.sentinel_port}"]
        if self._authority:
            options = " ".join(self._authority.options(self.sentinel_port)).split("--")[1:]
            lines = ["port 0", *options, "tls-replication yes"]
        lines += [
            "bind 127.0.0.1",
            f"dir {folder}",
            f"sentinel monitor jobs 127.0.0.1 {self._master_port} 1",
            f"sentinel auth-pass jobs {self.password}",
            "sentinel down-after-milliseconds jobs 300",
            "sentinel failover-timeout jobs 3000",
        ]
        configuration = folder / "sentinel.conf"
        configuration.write_text("\n".join(lines))
        with (folder / "sentinel.log").open("wb") as log:
            process = subprocess.Popen(
                [find_binary(), str(configuration), "--sentinel"], stdout=log, stderr=log, start_new_session=True
            )
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)


@pytest.fixture(params=["plain", "over TLS"])
def sentinels(request: pytest.FixtureRequest, tmp_path: Path, authority: Authority) -> Iterator[Sentinels]:
    with ExitStack() as stack:
        yield Sentinels(tmp_path, stack, authority if request.param == "over TLS" else None)


async def answers(client: Redis, section: str, **expected: Any) -> bool:
    try:
        info = await client.info(section)
    except RedisError:
        return False
    return all(info.get(name) == value for name, value in expected.items())


async def test_the_sentinels_new_master_is_found_and_wakes(sentinels: Sentinels, eventually: Eventually) -> None:
    async with (
        sentinels.address.connect(timeout_s=1) as client,
        replace(sentinels.replica.address, password=sentinels.password).connect() as replica,
        Wakeup.beside(client, "queue") as wakeup,
    ):
        await eventually(lambda: answers(replica, "replication", role="slave", master_link_status="up"))
        await eventually(lambda: answers(client, "replication", role="master", connected_slaves=1))
        await eventually(lambda: wakeup.available)
        await client.zadd("queue", {"before": 1})
        await eventually(lambda: replica.zcard("queue"))

        # A sentinel learns of a master's replicas with a delay, and cannot replace it before.
        async def sentinel_knows_replica() -> bool:
            manager = client.connection_pool.sentinel_manager
            return bool(await manager.discover_slaves("jobs"))

        await eventually(sentinel_knows_replica, within_s=20)
        sentinels.master.stop()
        with pytest.raises(RedisConnectionError):
            await client.ping()

        await eventually(lambda: answers(client, "replication", role="master"), within_s=30)
        assert await client.zcard("queue") == 1
        assert (await client.info("server"))["tcp_port"] == sentinels.replica.address.port
        while not wakeup.available:
            assert await wakeup.wait(20)
        while await wakeup.wait(0.2):  # it began anew
            pass
        await client.zadd("queue", {"after": 1})
        assert await wakeup.wait(5)


async def test_closing_leaves_no_connection_to_the_sentinels(sentinels: Sentinels, eventually: Eventually) -> None:
    async with sentinels.address.connect() as client:
        await eventually(lambda: answers(client, "replication", role="master"))

    async def only_this_one() -> bool:
        return len(await sentinel.client_list()) == 1

    async with RedisAddress("127.0.0.1", sentinels.sentinel_port, tls=sentinels.address.tls).connect() as sentinel:
        await eventually(only_this_one)
