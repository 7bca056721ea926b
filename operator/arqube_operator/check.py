"""``python -m arqube_operator.check [URL]``, run by `helm test`: may we read TaskQueues, and is an operator ready?

It reads the operator's environment. Exits with 1, and the reason, where not both are so within a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import os
import sys
import time
from collections.abc import Sequence

import aiohttp

from arqube_operator.kube.client import TASK_QUEUES, ApiError, KubeClient
from arqube_operator.settings import InvalidSettingsError, Settings, read_settings


async def task_queues(settings: Settings) -> str:
    """What the API server answers to the list of TaskQueues, in words.

    Raises:
        ApiError: It does not answer, has no TaskQueues, or does not show them to us.
    """
    client = await KubeClient.from_config(settings.kubeconfig)
    try:
        selector = settings.watch_label_selector
        count = sum(
            [len((await client.list(TASK_QUEUES, scope, label_selector=selector))[0]) for scope in settings.scopes]
        )
    finally:
        await client.close()
    served = f"{count} TaskQueues in {', '.join(settings.watch_namespaces) or 'all namespaces'}"
    return f"the API serves {served}{f' with {selector}' if selector else ''}"


async def readiness(url: str) -> str:
    """What ``/readyz`` below ``url`` answers, in words.

    Raises:
        aiohttp.ClientError, TimeoutError: No operator answers, or it says that it is not ready.
    """
    limit = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(timeout=limit) as session, session.get(f"{url}/readyz") as response:
        response.raise_for_status()
        return f"an operator is ready at {url}"


async def check(settings: Settings, url: str | None, within_s: float) -> int:
    """Try until both are well or ``within_s`` seconds are over; the exit code."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            found = [await task_queues(settings), *([await readiness(url)] if url else [])]
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            if time.monotonic() > deadline:
                sys.stderr.write(f"arqube-operator check: {error or type(error).__name__}\n")
                return 1
            await asyncio.sleep(1)
        else:
            sys.stdout.write("".join(f"{line}\n" for line in found))
            return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < math.inf:
        raise ValueError
    return seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Check once; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m arqube_operator.check", description="Check an installed operator.")
    parser.add_argument("url", nargs="?", help="root of an operator's HTTP endpoints; without it, /readyz is not asked")
    parser.add_argument("--within", type=_seconds, default=60.0, metavar="SECONDS", help="how long to try (60)")
    options = parser.parse_args(arguments)
    try:
        settings = read_settings(os.environ)
    except InvalidSettingsError as error:
        sys.stderr.write(f"arqube-operator check: {error}\n")
        return 2
    return asyncio.run(check(settings, options.url, options.within))


if __name__ == "__main__":
    raise SystemExit(main())
