"""The command ``arqube-worker``: run a WorkerSettings, or check what it would run."""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Final

from prometheus_client import REGISTRY

from arqube_queue import environment as env
from arqube_queue import exit_codes
from arqube_worker import check, logs, settings, termination
from arqube_worker.endpoints import Endpoints
from arqube_worker.loops import event_loop, loop_maker
from arqube_worker.metrics import Metrics
from arqube_worker.runtime import Worker

EXIT_GRACE_S: Final = 5.0
"""How long threads and tasks that jobs left behind may hold up the exit."""


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the command.

    Returns:
        The exit code: 0 after a stop, 1 when a hook failed, 2 when there is something to fix first.
    """
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - sys.path holds strings
    try:
        if arguments[:1] == ["check"]:
            return check.command(arguments[1:], environ)
        return _work(_parse(arguments), environ)
    except settings.SettingsError as error:
        message = f"arqube-worker: {error}"
        print(message, file=sys.stderr)  # noqa: T201
        termination.report(message)
        return exit_codes.SETTINGS


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="arqube-worker",
        description="Run the jobs of an arq queue. 'arqube-worker check SETTINGS' tells what would run.",
    )
    parser.add_argument("settings", metavar="SETTINGS", help="module.WorkerSettings or module:WorkerSettings")
    parser.add_argument("--port", type=int, help=f"port of /metrics, /healthz and /readyz; 0 for any ({env.HTTP_PORT})")
    parser.add_argument("--version", action="version", version=version("arqube"))
    return parser.parse_args(arguments)


def _work(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    try:
        logs.configure(environ)
    except ValueError as error:
        raise settings.SettingsError(str(error)) from None
    make_loop = loop_maker(environ)
    port = options.port
    if port is None:
        port = settings.whole_number(environ, env.HTTP_PORT, env.DEFAULT_HTTP_PORT, least=0, most=65535)
    try:
        endpoints = Endpoints(port, REGISTRY)
    except (OSError, OverflowError) as error:
        raise settings.SettingsError(
            f"port {port} cannot be used ({error}): set {env.HTTP_PORT} or --port to another, or 0 for any"
        ) from None
    loaded = settings.load(options.settings)
    logs.adopt_app()
    configuration = settings.configure(loaded, environ)
    with event_loop(make_loop) as loop:
        name = environ.get(env.WORKER_NAME) or f"{socket.gethostname()}-{os.getpid()}"
        worker = Worker(configuration, name=name, metrics=Metrics(REGISTRY))
        endpoints.health = worker.health
        for problem in check.warnings(loaded, configuration):
            logs.get_logger(__name__).warning(problem)
        logs.get_logger(__name__).info("serving HTTP", port=endpoints.port)
        code = _serve(loop, worker)
        if worker.stragglers:  # They are given back: another worker may have them, so they must not run on here.
            _exit_now(code)
        threading.Thread(target=_exit_late, args=(code,), daemon=True).start()
    endpoints.close()
    return code


def _serve(loop: asyncio.AbstractEventLoop, worker: Worker) -> int:
    """Run until the worker is done; its exit code.

    What the app does to end the process or the loop from a task of its own (``sys.exit``, ``loop.stop``) asks the
    worker to stop, so that jobs are finished or given back.
    """
    serving = loop.create_task(worker.serve())
    wanted = 0
    while True:
        try:
            return loop.run_until_complete(serving) or wanted
        except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
            if serving.done():
                raise
            ends_well = isinstance(error, SystemExit) and error.code in (None, 0)
            wanted = wanted or (0 if ends_well else 1)
            message = f"a task of the app asked for the end of the process: {settings.told(error)}"
            logs.get_logger(__name__).warning(message)
            termination.report(f"arqube-worker: {message}")
            worker.drain.request()


def _exit_late(code: int) -> None:
    time.sleep(EXIT_GRACE_S)
    _exit_now(code)


def _exit_now(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
