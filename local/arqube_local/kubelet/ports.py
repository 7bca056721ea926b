"""Ports of this machine for the ports that containers declare: every pod thinks that it has 9464 to itself."""

from __future__ import annotations

import itertools
import os
from typing import Final

from arqube_local.loopback import is_free

FIRST: Final = 20000
COUNT: Final = 10000
"""Below the ranges from which Linux (32768) and macOS (49152) take ports for outgoing connections."""


class HostPorts:
    """Gives out ports that nothing listens on, each to one holder until it is released."""

    def __init__(self) -> None:
        # Two clusters on one machine start at different places.
        start = os.getpid() * 97 % COUNT
        self._candidates = itertools.cycle([FIRST + (start + offset) % COUNT for offset in range(COUNT)])
        self._held: set[int] = set()

    def take(self) -> int:
        """A free port.

        Raises:
            OSError: All are taken.
        """
        for port in itertools.islice(self._candidates, COUNT):
            if port not in self._held and is_free(port):
                self._held.add(port)
                return port
        raise OSError(f"no free port between {FIRST} and {FIRST + COUNT - 1}")

    def release(self, port: int) -> None:
        """Let others have ``port``."""
        self._held.discard(port)
