"""How ``arqube explain`` looks at a TaskQueue, once or again and again, and writes what it sees."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from contextlib import AsyncExitStack
from typing import Any, Final

import click

from arqube_local.cli.task_queue import find_task_queue, namespace_of_context, untold
from arqube_local.explain.account import Account, HistoryReader, read_happenings
from arqube_local.explain.plot import glyphs_for
from arqube_local.explain.words import tell
from arqube_local.text import timestamp
from arqube_operator.api.v1alpha1 import InvalidTaskQueueError, TaskQueue
from arqube_operator.decide.explanation import attention, remedy
from arqube_operator.kube.client import ApiError, KubeClient

LOOK_S: Final = 2.0
"""Pause between two looks of ``--watch``; the operator writes counts alone to the status no more often."""
WIDTH: Final = 80
WIDEST: Final = 110


def look(task_queue: str, namespace: str | None, kubeconfig: str | None, *, watch: bool, as_json: bool) -> None:
    """Write the account of a TaskQueue; with ``watch`` until Ctrl-C.

    Raises:
        click.ClickException: The TaskQueue cannot be had.
    """
    try:
        asyncio.run(_explain(task_queue, namespace, kubeconfig, watch, as_json))
    except (ApiError, InvalidTaskQueueError) as error:
        raise untold(task_queue, error) from None
    except KeyboardInterrupt:
        if not watch:
            raise


async def _explain(name: str, namespace: str | None, kubeconfig: str | None, watch: bool, as_json: bool) -> None:
    async with AsyncExitStack() as stack:
        client = await KubeClient.from_config(kubeconfig)
        stack.push_async_callback(client.close)
        namespace = namespace or namespace_of_context(kubeconfig)
        body = await find_task_queue(client, namespace, name)
        history = await stack.enter_async_context(HistoryReader.of(client, TaskQueue.from_object(body)))
        while True:
            _show(await _account(client, body, history), watch, as_json)
            if not watch:
                return
            await asyncio.sleep(LOOK_S)
            body = await find_task_queue(client, namespace, name)


async def _account(client: KubeClient, body: dict[str, Any], history: HistoryReader) -> Account:
    task_queue = TaskQueue.from_object(body)
    samples, now_ms, problem = await history.read(task_queue)
    return Account(body, task_queue, await read_happenings(client, task_queue), samples, now_ms, problem)


def _show(account: Account, watch: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(_document(account), indent=None if watch else 2))
        return
    width = min(WIDEST, shutil.get_terminal_size((WIDTH, 24)).columns)
    text = tell(account, width, glyphs_for(sys.stdout.encoding))
    if watch:
        click.clear()  # nothing where the output is no terminal
        text = f"{text}\n\n{timestamp(account.now_ms)}; Ctrl-C ends"
    click.echo(text)


def _document(account: Account) -> dict[str, Any]:
    task_queue = account.task_queue
    scaling = task_queue.status.scaling
    return {
        "namespace": task_queue.metadata.namespace,
        "name": task_queue.metadata.name,
        "at": timestamp(account.now_ms),
        "status": account.body.get("status", {}),
        "remedy": remedy(task_queue.spec.scaling, scaling.limit if scaling else None),
        "attention": [
            {"type": condition.type, "reason": condition.reason, "message": condition.message}
            for condition in attention(task_queue.status)
        ],
        "events": [
            {
                "at": timestamp(int(happening.at_s * 1000)),
                "count": happening.count,
                "reason": happening.reason,
                "message": happening.message,
                "warning": happening.warning,
            }
            for happening in account.happenings
        ],
        "history": [
            {
                "at": timestamp(sample.at_ms),
                "waiting": sample.waiting,
                "running": sample.running,
                "deferred": sample.deferred,
                "oldest_wait_seconds": sample.oldest_wait_ms / 1000,
                "replicas": sample.replicas,
                "ready": sample.ready,
            }
            for sample in account.samples
        ],
        "without_history": account.without_history,
    }
