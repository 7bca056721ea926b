"""Stop every process group one was told of once the teller is gone: ``reaper.py`` reads ``+PID`` and ``-PID`` lines.

End of file on standard input means that the process holding the other end has ended, even by SIGKILL, which no code of
its own survives. (Linux's PR_SET_PDEATHSIG would reach the direct children only, follows a thread instead of a process,
and does not exist on macOS.) Run as a file under ``python -I -S``; standard library only.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable

GRACE_S = 5.0
"""Time between SIGTERM and SIGKILL."""


def main() -> None:
    """Keep the list until the end of file, then stop what is on it."""
    groups: set[int] = set()
    for line in sys.stdin:
        sign, pid = line[0], int(line[1:])
        if sign == "+":
            groups.add(pid)
        else:
            groups.discard(pid)
    running = _signal(groups, signal.SIGTERM)
    deadline = time.monotonic() + GRACE_S
    while running and time.monotonic() < deadline:
        time.sleep(0.05)
        running = _signal(running, 0)
    _signal(running, signal.SIGKILL)


def _signal(groups: Iterable[int], number: int) -> set[int]:
    """Signal each group; those that still exist."""
    existing = set()
    for group in groups:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            continue  # gone; PermissionError is macOS's word for a group of zombies
        existing.add(group)
    return existing


if __name__ == "__main__":
    main()
