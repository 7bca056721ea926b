"""Which queue a command is about: named by a Redis and a queue's name, or by a TaskQueue in a cluster."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from arqube_queue import environment as env
from arqube_queue import keys
from arqube_queue.answers import ODD_ANSWERS
from arqube_queue.connection import DEFAULT_PORT, InvalidAddressError, RedisAddress

if TYPE_CHECKING:
    from arqube_operator.api.v1alpha1 import TaskQueue

TIMEOUT_S: Final = 10.0
"""Longest wait for Redis to be connected to, and for an answer, in seconds."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class QueueOptions:
    """What the user said of the queue; None where nothing."""

    redis_url: str | None
    queue: str | None
    task_queue: str | None
    namespace: str | None
    kubeconfig: str | None


@dataclass(frozen=True)
class Target:
    """A queue, where it is, and the TaskQueue that it is of, if the user named that."""

    address: RedisAddress
    queue: str
    task_queue: TaskQueue | None = None


def queue_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the options that name a queue; it receives them as ``options: QueueOptions``."""

    @wraps(command)
    def collected(
        redis_url: str | None,
        queue: str | None,
        task_queue: str | None,
        namespace: str | None,
        kubeconfig: str | None,
        **others: Any,
    ) -> Any:
        options = QueueOptions(redis_url, queue, task_queue, namespace, kubeconfig)
        if task_queue is not None and (redis_url is not None or queue is not None):
            raise click.UsageError("--taskqueue says which Redis and queue: leave out --redis and --queue.")
        if task_queue is None and (namespace is not None or kubeconfig is not None):
            raise click.UsageError("--namespace and --kubeconfig go with --taskqueue.")
        return command(options=options, **others)

    for option in reversed(
        (
            click.option(
                "--redis", "redis_url", metavar="URL", help=f"Redis of the queue.  [default: ${env.REDIS_URL}]"
            ),
            click.option(
                "--queue", metavar="NAME", help=f"Name of the queue.  [default: ${env.QUEUE_NAME}, else arq:queue]"
            ),
            click.option(
                "--taskqueue", "task_queue", metavar="NAME", help="TaskQueue that says which Redis and queue."
            ),
            click.option(
                "-n", "--namespace", metavar="NAME", help="Namespace of the TaskQueue.  [default: the context's]"
            ),
            click.option(
                "--kubeconfig",
                type=click.Path(exists=True, dir_okay=False),
                help="As kubectl's.  [default: $KUBECONFIG]",
            ),
        )
    ):
        collected = option(collected)
    return collected


def run(options: QueueOptions, work: Callable[[Redis, str], Awaitable[Result]]) -> Result:
    """Call ``work`` with the Redis and the name of the queue.

    Raises:
        click.ClickException: The queue cannot be found, reached or read; the message says what to do.
    """

    async def connected() -> Result:
        async with _found(options, os.environ) as target, _client(target) as redis:
            return await work(redis, target.queue)

    return asyncio.run(connected())


@asynccontextmanager
async def _found(options: QueueOptions, environ: Mapping[str, str]) -> AsyncIterator[Target]:
    if options.task_queue is not None:
        # Imported here: it brings Kubernetes' client, which --redis does without.
        from arqube_local.cli.task_queue import resolved

        async with resolved(options.task_queue, options.namespace, options.kubeconfig) as (task_queue, there):
            yield Target(there, task_queue.spec.queue_name, task_queue)
        return
    try:
        url = {env.REDIS_URL: options.redis_url} if options.redis_url is not None else {}
        address = RedisAddress.from_environment({**environ, **url})
    except InvalidAddressError as error:
        raise click.ClickException(str(error).replace(env.REDIS_URL, "--redis") if url else str(error)) from None
    if address is None:
        raise click.UsageError(
            f"Name the queue: --taskqueue NAME, or --redis URL (or {env.REDIS_URL}) and --queue NAME."
        )
    yield Target(address, options.queue or environ.get(env.QUEUE_NAME) or keys.DEFAULT_QUEUE)


@asynccontextmanager
async def _client(target: Target) -> AsyncIterator[Redis]:
    """A client that has reached the server; its errors from then on are told in a sentence, too."""
    label = target.address.label
    client = target.address.connect(timeout_s=TIMEOUT_S)
    try:
        try:
            await client.ping()
        except AuthenticationError as error:
            raise click.ClickException(
                f"Redis at {label} refuses user or password: {error}."
                f" {env.REDIS_USERNAME} and {env.REDIS_PASSWORD} are read from the environment"
            ) from None
        except (RedisError, OSError) as error:
            raise click.ClickException(_unreachable(target, error)) from None
        yield client
    except NoPermissionError as error:
        raise click.ClickException(f"the user of Redis at {label} lacks a right: {error}") from None
    except RedisError as error:
        raise click.ClickException(f"Redis at {label} fails: {error}") from None
    except ODD_ANSWERS as error:
        raise click.ClickException(
            f"Redis at {label} gives answers that are none ({error!r:.200}): is it Redis that listens there?"
        ) from error
    finally:
        await client.aclose()


def _unreachable(target: Target, error: Exception) -> str:
    address, task_queue = target.address, target.task_queue
    message = f"Redis at {address.label} cannot be reached from here: {error or type(error).__name__}"
    if task_queue is None:
        return message
    service, _, rest = address.host.partition(".")
    namespace = rest.partition(".")[0] or task_queue.metadata.namespace
    port = DEFAULT_PORT if address.sentinels else address.port
    scheme = "rediss" if address.tls else "redis"
    lines = [
        message,
        f"That is the address in TaskQueue {task_queue.metadata.name!r}. Where it is known inside the cluster alone,",
        "forward a port to it, and name the queue by that:",
        f"  kubectl port-forward -n {namespace} service/{'REDIS' if address.sentinels else service} {port}:{port}",
        f"  --redis {scheme}://127.0.0.1:{port}/{address.database} --queue {target.queue}",
    ]
    if address.password is not None:
        lines.append(f"with user and password in {env.REDIS_USERNAME} and {env.REDIS_PASSWORD}.")
    return "\n".join(lines)
