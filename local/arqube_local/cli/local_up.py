"""How ``arqube local up`` runs a cluster in the foreground until a signal comes."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import structlog

from arqube_local.apply import apply_manifests, read_applicable
from arqube_local.cli.local import REDIS_PORT
from arqube_local.cluster import FIELD_MANAGER, ClusterError, LaptopCluster
from arqube_local.loopback import is_free
from arqube_local.manifests import ManifestError
from arqube_local.state import Running, StateHeldError, hold, publish
from arqube_operator.kube.client import ApiError, Resource


def serve(
    app_dir: Path,
    state_dir: Path,
    api_port: int | None,
    redis_port: int | None,
    console_port: int | None,
    files: tuple[Path, ...],
) -> None:
    """Run a cluster with the objects of ``files`` until SIGINT, SIGTERM or SIGHUP.

    Raises:
        click.ClickException: It does not start, or a file holds what cannot be applied.
    """
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        manifests = [each for path in files for each in read_applicable(path)]
        with hold(state_dir):
            asyncio.run(_run_until_signalled(_serve(app_dir, state_dir, api_port, redis_port, console_port, manifests)))
    except (ClusterError, ManifestError, StateHeldError) as error:
        raise click.ClickException(str(error)) from error
    except ApiError as error:
        raise click.ClickException(f"the API server refused a manifest: {error}") from error
    except (OSError, RuntimeError) as error:
        raise click.ClickException(f"the cluster did not start: {error}") from error


async def _run_until_signalled(work: Any) -> None:
    """Run ``work``; the first signal cancels it, and later ones do not disturb how it leaves its contexts."""
    task = asyncio.ensure_future(work)
    signalled = asyncio.Event()

    def stop() -> None:
        if not signalled.is_set():
            signalled.set()
            click.echo("Stopping ...")
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        await task


async def _serve(
    app_dir: Path,
    state_dir: Path,
    api_port: int | None,
    redis_port: int | None,
    console_port: int | None,
    manifests: list[tuple[Resource, dict[str, Any]]],
) -> None:
    redis_port = redis_port or (REDIS_PORT if is_free(REDIS_PORT) else None)
    cluster = LaptopCluster(
        state_dir=state_dir, app_dir=app_dir, api_port=api_port, redis_port=redis_port, console_port=console_port
    )
    async with cluster:
        publish(state_dir, Running(os.getpid(), cluster.kubeconfig, cluster.redis.url))
        await apply_manifests(cluster.client, manifests, FIELD_MANAGER)
        click.echo(_how_to_use(cluster))
        await asyncio.Event().wait()


def _how_to_use(cluster: LaptopCluster) -> str:
    address = cluster.redis.address
    console = ""
    if cluster.console_port is not None:
        console = f"\n  Console  http://localhost:{cluster.console_port}, its token in {cluster.console_token}"
    return f"""\
The cluster runs; Ctrl-C stops it.

  export KUBECONFIG={cluster.kubeconfig}
  kubectl apply -f taskqueue.yaml && kubectl get tq --watch

  Redis  {cluster.redis.url}
         in a TaskQueue: redis: {{host: {address.host}, port: {address.port}}}
  Logs   {cluster.logs}{console}
"""
