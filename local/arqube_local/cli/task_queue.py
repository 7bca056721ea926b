"""A TaskQueue in the cluster that kubectl would take, and what is said when it cannot be had."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import click
from kubernetes.aio.config import ConfigException
from kubernetes.aio.config.kube_config import list_kube_config_contexts

from arqube_operator.api.v1alpha1 import InvalidTaskQueueError, TaskQueue
from arqube_operator.decide.state import Problem
from arqube_operator.kube.client import TASK_QUEUES, ApiError, KubeClient
from arqube_operator.observe.addresses import AddressResolver
from arqube_queue.connection import RedisAddress


@asynccontextmanager
async def resolved(
    name: str, namespace: str | None, kubeconfig: str | None
) -> AsyncIterator[tuple[TaskQueue, RedisAddress]]:
    """A TaskQueue and the address of its Redis. The files of its TLS Secrets are there meanwhile.

    Raises:
        click.ClickException: There is no such TaskQueue, it is not valid, or its Secrets do not tell the address.
    """
    async with AsyncExitStack() as stack:
        try:
            client = await KubeClient.from_config(kubeconfig)
            stack.push_async_callback(client.close)
            namespace = namespace or namespace_of_context(kubeconfig)
            task_queue = TaskQueue.from_object(await find_task_queue(client, namespace, name))
            resolver = AddressResolver(client)
            stack.callback(resolver.close)
            address = await resolver.resolve(namespace, task_queue.spec.redis)
        except (ApiError, InvalidTaskQueueError) as error:
            raise untold(name, error) from None
        if isinstance(address, Problem):
            raise click.ClickException(f"TaskQueue {name!r}: {address.message}")
        yield task_queue, address


async def find_task_queue(client: KubeClient, namespace: str, name: str) -> dict[str, Any]:
    """The TaskQueue as the API server hands it out.

    Raises:
        click.ClickException: There is none.
        ApiError: The API server does not tell.
    """
    body = await client.get(TASK_QUEUES, namespace, name)
    if body is None:
        raise click.ClickException(
            f"there is no TaskQueue {name!r} in namespace {namespace!r}: kubectl get taskqueues -A lists them"
        )
    return body


def untold(name: str, error: ApiError | InvalidTaskQueueError) -> click.ClickException:
    """What to say when nothing can be told of a TaskQueue."""
    if isinstance(error, ApiError):
        return click.ClickException(f"the Kubernetes API does not tell about TaskQueue {name!r}: {error}")
    return click.ClickException(f"TaskQueue {name!r} is not valid: {error}")


def namespace_of_context(kubeconfig: str | None) -> str:
    """The namespace kubectl would take."""
    try:
        _, current = list_kube_config_contexts(kubeconfig or os.environ.get("KUBECONFIG"))  # type: ignore[no-untyped-call]
    except (ConfigException, OSError, ValueError):  # in a pod there is none
        return "default"
    namespace: str = current["context"].get("namespace") or "default"
    return namespace
