"""One TaskQueue on each kind of Redis that people have: the operator reads its queue, and workers run its jobs."""

# ruff: noqa: ASYNC110, ASYNC220, ASYNC240, S106 - nothing else runs in the test's loop; its passwords

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from arq.connections import ArqRedis
from redis.asyncio import Redis
from redis.exceptions import RedisError

from arqube_local.cluster import LaptopCluster
from arqube_local.loopback import free_port
from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import PODS, SECRETS, TASK_QUEUES
from arqube_queue.connection import RedisAddress, Tls
from builders import redis_users
from builders.relay import Relay

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

Eventually = Callable[..., Awaitable[Any]]

NAMESPACE = "default"
QUEUE = "emails"
SLOW_S = 60.0
"""Deadline of what takes a few seconds on an idle machine."""
PAGE = Path(__file__).parents[3] / "docs/redis.md"
RULES = {
    line.split()[1]: [f">{line.split()[1]}-pw" if rule.startswith(">") else rule for rule in line.split()[2:]]
    for line in re.findall(r"^user .*$", PAGE.read_text(), re.MULTILINE)
}
_numbers = count(1)


@dataclass
class Setup:
    """A server, how a TaskQueue names it, and how the test reaches it."""

    spec: dict[str, Any]
    """``spec.redis``."""
    address: RedisAddress
    """For the producer."""
    secret: dict[str, str] = field(default_factory=dict)
    """What the Secret ``redis`` holds."""
    env: dict[str, str] = field(default_factory=dict)
    """Variables of the workers beside those that the operator sets."""
    fail: Callable[[], None] | None = None
    """Has the server give its office to another."""
    admin: RedisAddress | None = None


def key(name: str) -> dict[str, str]:
    return {"name": "redis", "key": name}


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[RedisServer]:
    server = RedisServer(options=options)
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        await asyncio.to_thread(server.stop)


def host(address: RedisAddress) -> dict[str, Any]:
    return {"host": address.host, "port": address.port}


@asynccontextmanager
async def with_users_of_the_page(binary: Any, authority: Any, folder: Path) -> AsyncIterator[Setup]:
    """An operator, workers and a producer with a user each; the default user is the administrator's."""
    async with running("--requirepass", "admin-pw") as server:
        admin = replace(server.address, password="admin-pw")
        async with admin.connect() as client:
            for user, rules in RULES.items():
                await redis_users.grant(client, user, rules)
        yield Setup(
            host(server.address) | {"username": "arqube-operator", "passwordFrom": key("password")},
            replace(server.address, username="app", password="app-pw"),
            {"password": "arqube-operator-pw"},
            {"ARQUBE_REDIS_USERNAME": "arqube-worker", "ARQUBE_REDIS_PASSWORD": "arqube-worker-pw"},
            admin=admin,
        )


@asynccontextmanager
async def with_database(binary: Any, authority: Any, folder: Path) -> AsyncIterator[Setup]:
    async with running() as server:
        yield Setup(host(server.address) | {"database": 5}, replace(server.address, database=5))


@asynccontextmanager
async def with_url_in_secret(binary: Any, authority: Any, folder: Path) -> AsyncIterator[Setup]:
    async with running("--requirepass", "p@ss/w") as server:
        address = replace(server.address, database=3, password="p@ss/w")
        url = f"redis://:p%40ss%2Fw@127.0.0.1:{address.port}/3"
        yield Setup({"urlFrom": key("url")}, address, {"url": url})


@asynccontextmanager
async def managed(binary: Any, authority: Any, folder: Path) -> AsyncIterator[Setup]:
    """As a provider runs it: no CONFIG, INFO, CLIENT and other commands of administrators; idle clients are dropped."""
    refused = ("CONFIG", "INFO", "CLIENT", "MONITOR", "SAVE", "BGSAVE", "DEBUG", "SHUTDOWN", "ACL", "KEYS", "SLOWLOG")
    renamed = [word for command in refused for word in ("--rename-command", command, "")]
    async with running(*renamed, "--requirepass", "pw", "--timeout", "1") as server:
        address = replace(server.address, password="pw")
        yield Setup(host(address) | {"passwordFrom": key("password")}, address, {"password": "pw"})


@asynccontextmanager
async def behind_tls(binary: Any, authority: Any, *, mutual: bool) -> AsyncIterator[RedisAddress]:
    """The server's own TLS, or where it was built without, that of a relay in front of it."""
    if binary.speaks_tls:
        port = free_port()
        async with running(*authority.options(port, clients_need_certificates=mutual)) as server:
            yield replace(server.address, port=port)
        return
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.file("ca.crt"))
    context.load_cert_chain(authority.file("server.crt"), authority.file("server.key"))
    context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
    async with running() as server, Relay(server.address.port, tls=context) as front:
        yield replace(server.address, port=front.port)


@asynccontextmanager
async def with_tls(binary: Any, authority: Any, folder: Path) -> AsyncIterator[Setup]:
    async with behind_tls(binary, authority, mutual=False) as address:
        yield Setup(
            host(address) | {"tls": {"caFrom": key("ca.crt")}},
            replace(address, tls=Tls(ca_file=authority.file("ca.crt"))),
            {"ca.crt": Path(authority.file("ca.crt")).read_text()},
        )


@asynccontextmanager
async def with_mutual_tls(binary: Any, authority: Any, folder: Path) -> AsyncIterator[Setup]:
    async with behind_tls(binary, authority, mutual=True) as address:
        files = {name: authority.file(name) for name in ("ca.crt", "client.crt", "client.key")}
        yield Setup(
            host(address)
            | {"tls": {"caFrom": key("ca.crt"), "certFrom": key("client.crt"), "keyFrom": key("client.key")}},
            replace(address, tls=Tls(*files.values())),
            {name: Path(path).read_text() for name, path in files.items()},
        )


@asynccontextmanager
async def with_sentinels(binary: Any, authority: Any, folder: Path) -> AsyncIterator[Setup]:
    """A master, a replica and a sentinel; servers and sentinel ask for passwords of their own."""
    auth = ("--requirepass", "pw", "--masterauth", "pw", "--repl-diskless-sync-delay", "0")
    async with AsyncExitStack() as stack:
        master = await stack.enter_async_context(running(*auth))
        follow = ("--replicaof", "127.0.0.1", str(master.address.port))
        replica = await stack.enter_async_context(running(*auth, *follow))
        port = free_port()
        configuration = folder / "sentinel.conf"
        configuration.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            "requirepass sentinel-pw\n"
            f"sentinel monitor jobs 127.0.0.1 {master.address.port} 1\n"
            "sentinel auth-pass jobs pw\n"
            "sentinel down-after-milliseconds jobs 500\n"
            "sentinel failover-timeout jobs 3000\n"
        )
        log = stack.enter_context((folder / "sentinel.log").open("wb"))
        command = [binary.path, str(configuration), "--sentinel"]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        stack.callback(process.wait, 10)
        stack.callback(process.terminate)
        address = RedisAddress(
            sentinels=(("127.0.0.1", port),), sentinel_master="jobs", sentinel_password="sentinel-pw", password="pw"
        )
        async with (
            replace(replica.address, password="pw").connect() as client,
            RedisAddress("127.0.0.1", port, password="sentinel-pw").connect() as sentinel,
        ):
            await until(lambda: is_replicated(client, sentinel))
        yield Setup(
            {
                "sentinel": {
                    "master": "jobs",
                    "hosts": [f"127.0.0.1:{port}"],
                    "passwordFrom": key("sentinel-password"),
                },
                "passwordFrom": key("password"),
            },
            address,
            {"password": "pw", "sentinel-password": "sentinel-pw"},
            fail=master.stop,
        )


async def is_replicated(replica: Redis, sentinel: Redis) -> bool:
    """The replica follows, and the sentinel knows it."""
    with contextlib.suppress(RedisError):
        link = (await replica.info("replication")).get("master_link_status")
        return link == "up" and bool(await sentinel.execute_command("SENTINEL", "REPLICAS", "jobs"))
    return False


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(SLOW_S):
        while not await condition():
            await asyncio.sleep(0.05)


SETUPS: dict[str, Callable[..., AbstractAsyncContextManager[Setup]]] = {
    "users with the least rights": with_users_of_the_page,
    "a database other than 0": with_database,
    "a URL in a Secret": with_url_in_secret,
    "a managed service": managed,
    "TLS with an authority of its own": with_tls,
    "mutual TLS": with_mutual_tls,
    "sentinels that ask for a password": with_sentinels,
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LaptopCluster]:
    async with LaptopCluster(
        state_dir=tmp_path_factory.mktemp("cluster"), app_dir=Path(__file__).parent / "app"
    ) as started:
        yield started


class Queue:
    """A TaskQueue with its Secret."""

    def __init__(self, cluster: LaptopCluster, setup: Setup) -> None:
        self.cluster, self.setup = cluster, setup
        self.name = f"queue-{next(_numbers)}"

    async def apply(self) -> None:
        await self.write_secret()
        variables = [{"name": name, "value": value} for name, value in self.setup.env.items()]
        spec = {
            "redis": _renamed(self.setup.spec, f"{self.name}-redis"),
            "queueName": QUEUE,
            "worker": {
                "image": "app:1",
                "settings": "app.WorkerSettings",
                "podTemplate": {"spec": {"containers": [{"name": "worker", "env": variables}]}},
            },
            "scaling": {"maxReplicas": 1, "cooldown": "300s"},
        }
        body = {"apiVersion": "arqube.dev/v1alpha1", "kind": "TaskQueue", "metadata": {"name": self.name}, "spec": spec}
        await self.cluster.client.apply(TASK_QUEUES, NAMESPACE, self.name, body, field_manager="test")

    async def write_secret(self) -> None:
        data = {name: base64.b64encode(value.encode()).decode() for name, value in self.setup.secret.items()}
        name = f"{self.name}-redis"
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}
        await self.cluster.client.apply(SECRETS, NAMESPACE, name, body, field_manager="test")

    async def delete(self) -> None:
        await self.cluster.client.delete(TASK_QUEUES, NAMESPACE, self.name)

    async def condition(self, kind: str) -> tuple[str, str, str]:
        live = await self.cluster.client.get(TASK_QUEUES, NAMESPACE, self.name) or {}
        for each in live.get("status", {}).get("conditions", ()):
            if each["type"] == kind:
                return each["status"], each["reason"], each["message"]
        return "", "", ""

    async def reachable(self) -> bool:
        return (await self.condition("RedisReachable"))[0] == "True"

    async def status(self) -> dict[str, Any]:
        live = await self.cluster.client.get(TASK_QUEUES, NAMESPACE, self.name) or {}
        found: dict[str, Any] = live.get("status", {})
        return found

    async def restarts(self) -> int:
        pods, _ = await self.cluster.client.list(PODS, NAMESPACE, label_selector=f"arqube.dev/taskqueue={self.name}")
        return sum(each["restartCount"] for pod in pods for each in pod["status"].get("containerStatuses", ()))

    async def run_jobs(self, jobs: int = 3) -> None:
        """Enqueue some and take their results."""
        async with self.setup.address.connect() as client:
            pool = ArqRedis(client.connection_pool, default_queue_name=QUEUE)
            enqueued = [await pool.enqueue_job("add", number, 1) for number in range(jobs)]
            results = [await each.result(timeout=SLOW_S, poll_delay=0.05) for each in enqueued if each]
        assert results == [number + 1 for number in range(jobs)]


def _renamed(spec: Any, secret: str) -> Any:
    """``spec.redis`` with this Secret in place of the one called ``redis``."""
    if isinstance(spec, dict):
        if spec.keys() == {"name", "key"}:
            return {**spec, "name": secret}
        return {name: _renamed(value, secret) for name, value in spec.items()}
    return spec


@pytest_asyncio.fixture(loop_scope="module")
async def queue(
    request: pytest.FixtureRequest, cluster: LaptopCluster, binary: Any, authority: Any, tmp_path: Path
) -> AsyncIterator[Queue]:
    async with SETUPS[request.param](binary, authority, tmp_path) as setup:
        one = Queue(cluster, setup)
        await one.apply()
        yield one
        await one.delete()
        pods = f"arqube.dev/taskqueue={one.name}"

        async def gone() -> bool:
            return not (await cluster.client.list(PODS, NAMESPACE, label_selector=pods))[0]

        await until(gone)


@pytest.mark.parametrize("queue", SETUPS, indirect=True)
async def test_the_queue_is_read_and_its_jobs_run(queue: Queue, eventually: Eventually) -> None:
    await eventually(queue.reachable, within_s=SLOW_S)

    await queue.run_jobs()

    if queue.setup.fail is not None:
        await asyncio.to_thread(queue.setup.fail)
        await until(lambda: answers(queue.setup.address))
        await queue.run_jobs()

    async def counted() -> bool:
        return (await queue.status()).get("queue", {}).get("waiting") == 0 and await queue.reachable()

    await eventually(counted, within_s=SLOW_S)
    assert await queue.restarts() == 0
    if queue.setup.admin is not None:
        async with queue.setup.admin.connect(decode_responses=True) as admin:
            assert await redis_users.denials(admin) == set()


async def answers(address: RedisAddress) -> bool:
    async with address.connect(timeout_s=1) as client:
        with contextlib.suppress(RedisError, OSError):
            return bool(await client.ping())
    return False
