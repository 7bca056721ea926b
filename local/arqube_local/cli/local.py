"""``arqube local``: a cluster on this machine that runs the code of a folder as workers, without Docker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import click
import structlog

from arqube_local.cluster import FIELD_MANAGER, ClusterError, LaptopCluster
from arqube_local.loopback import is_free
from arqube_local.manifests import ManifestError, apply_manifests, read_manifests
from arqube_local.state import Running, StateHeldError, hold, publish, running
from arqube_operator.kube.client import ApiError, Resource

REDIS_PORT: Final = 6379
"""Preferred, so that a manifest may name Redis's usual port."""
DOWN_S: Final = 60.0
"""How long ``down`` waits for the cluster to stop."""

_state_dir = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".arqube"),
    show_default=True,
    help="Folder of the kubeconfig, logs and volumes.",
)


@click.group()
def local() -> None:
    """Run a cluster on this machine: API server, controllers, operator, Redis, and pods as processes."""


@local.command()
@click.option(
    "--app-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Folder with your code, where the workers run.  [default: this folder]",
)
@_state_dir
@click.option("--api-port", type=click.IntRange(1, 65535), help="Port of the API server.  [default: a free one]")
@click.option(
    "--redis-port", type=click.IntRange(1, 65535), help=f"Port of Redis.  [default: {REDIS_PORT} if free, else any]"
)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Manifest to apply once the cluster runs; may be given several times.",
)
def up(app_dir: Path, state_dir: Path, api_port: int | None, redis_port: int | None, files: tuple[Path, ...]) -> None:
    """Start a cluster in the foreground; Ctrl-C stops it and every process of it."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    try:
        manifests = [each for path in files for each in read_manifests(path)]
        with hold(state_dir):
            asyncio.run(_run_until_signalled(_serve(app_dir, state_dir, api_port, redis_port, manifests)))
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
    manifests: list[tuple[Resource, dict[str, Any]]],
) -> None:
    redis_port = redis_port or (REDIS_PORT if is_free(REDIS_PORT) else None)
    cluster = LaptopCluster(state_dir=state_dir, app_dir=app_dir, api_port=api_port, redis_port=redis_port)
    async with cluster:
        publish(state_dir, Running(os.getpid(), cluster.kubeconfig, cluster.redis.url))
        await apply_manifests(cluster.client, manifests, FIELD_MANAGER)
        click.echo(_how_to_use(cluster))
        await asyncio.Event().wait()


def _how_to_use(cluster: LaptopCluster) -> str:
    address = cluster.redis.address
    return f"""\
The cluster runs; Ctrl-C stops it.

  export KUBECONFIG={cluster.kubeconfig}
  kubectl apply -f taskqueue.yaml && kubectl get tq --watch

  Redis  {cluster.redis.url}
         in a TaskQueue: redis: {{host: {address.host}, port: {address.port}}}
  Logs   {cluster.logs}
"""


@local.command()
@_state_dir
def status(state_dir: Path) -> None:
    """Tell whether the cluster runs, and where; exits with 1 when it does not."""
    found = running(state_dir)
    if found is None:
        click.echo(f"no cluster runs on {state_dir}")
        raise SystemExit(1)
    click.echo(f"running, process {found.pid}\nexport KUBECONFIG={found.kubeconfig}\nRedis {found.redis_url}")


@local.command()
@_state_dir
def down(state_dir: Path) -> None:
    """Stop the cluster, as Ctrl-C in its terminal would, and wait for it."""
    found = running(state_dir)
    if found is None:
        click.echo(f"no cluster runs on {state_dir}")
        return
    os.kill(found.pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_S
    while running(state_dir) is not None:
        if time.monotonic() > deadline:
            raise click.ClickException(f"process {found.pid} still stops after {DOWN_S:g} s; see its terminal")
        time.sleep(0.1)
    click.echo("stopped")
