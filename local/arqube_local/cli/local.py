"""``arqube local``: a cluster on this machine that runs the code of a folder as workers, without Docker."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Final

import click

from arqube_local.state import running

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
    "--console-port", type=click.IntRange(1, 65535), help="Serve the operator's console on it.  [default: no console]"
)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Manifest to apply once the cluster runs; may be given several times.",
)
def up(
    app_dir: Path,
    state_dir: Path,
    api_port: int | None,
    redis_port: int | None,
    console_port: int | None,
    files: tuple[Path, ...],
) -> None:
    """Start a cluster in the foreground; Ctrl-C stops it and every process of it."""
    # Imported here: status and down do without all that runs the cluster.
    from arqube_local.cli.local_up import serve

    serve(app_dir, state_dir, api_port, redis_port, console_port, files)


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
