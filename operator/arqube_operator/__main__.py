"""``arqube-operator``: runs the operator until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from importlib.metadata import version

from arqube_operator import logs
from arqube_operator.app import Operator
from arqube_operator.kube.client import ApiError
from arqube_operator.settings import InvalidSettingsError, Settings, read_settings


def main() -> None:
    """Run; exits with 2 when the arguments, the environment or the cluster's configuration cannot be used."""
    parser = argparse.ArgumentParser(
        prog="arqube-operator",
        description="Run the workers of TaskQueues and scale them by their queues, until SIGTERM or SIGINT.",
        epilog="The environment configures it: the variables ARQUBE_*, as the chart's values set them.",
    )
    parser.add_argument("--version", action="version", version=version("arqube"))
    parser.parse_args()
    try:
        settings = read_settings(os.environ)
        logs.configure(settings.log_level)
        asyncio.run(_run(settings))
    except (InvalidSettingsError, ApiError) as error:
        print(f"arqube-operator: {error}", file=sys.stderr)  # noqa: T201 - before there is a log
        sys.exit(2)


async def _run(settings: Settings) -> None:
    task = asyncio.create_task(Operator(settings).run(), name="operator")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise


if __name__ == "__main__":
    main()
