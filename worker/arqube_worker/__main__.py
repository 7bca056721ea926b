"""Starts the command ``arqube-worker``, and can be stopped from the first moment on."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

from arqube_worker.termination import Stopped


def main() -> None:
    """Run the command of ``sys.argv`` and exit.

    Importing libraries and the app takes seconds. Nothing is taken yet, so a stop is simply the end then; process 1
    would not even heed it, as the kernel gives it no default handlers.
    """
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, _leave)
    from arqube_worker import cli

    sys.exit(cli.run(sys.argv[1:], os.environ))


def _leave(_signum: int, _frame: FrameType | None) -> None:
    raise Stopped(0)


if __name__ == "__main__":
    main()
