"""Wall clocks that jump: processes under libfaketime, each with a file that tells how far its clock is off.

Only the wall clock is false. The monotonic clock of this machine, by which timers and sleeps run, stays as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.chaos.faults import NothingToStrikeError

LIBRARY: Final = next(
    iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), key=str)),
    None,
)
"""Of Debian's package ``libfaketime``; None where it is not installed."""


class Clock:
    """The wall clock of the processes of one name.

    Args:
        folder: Of the run.
        name: Of the processes, such as ``operator-0``.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._file = folder / "clocks" / name

    def variables(self) -> dict[str, str]:
        """The environment of a process whose clock can be moved; empty where there is no libfaketime."""
        if LIBRARY is None:
            return {}
        self._file.parent.mkdir(exist_ok=True)
        if not self._file.exists():
            self._file.write_text("+0")
        return {
            "LD_PRELOAD": str(LIBRARY),
            # A second slash: the kubelet gives pods a /tmp of their own, and finds such paths in variables.
            "FAKETIME_TIMESTAMP_FILE": f"/{self._file}",
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }

    def step(self, seconds: int) -> None:
        """Put the clock ``seconds`` ahead of the true time, or behind it; within a second its processes see that.

        Raises:
            NothingToStrikeError: There is no libfaketime.
        """
        if LIBRARY is None:
            raise NothingToStrikeError("libfaketime is not installed")
        self._file.write_text(f"{seconds:+d}")
