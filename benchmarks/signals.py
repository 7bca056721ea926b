"""How a benchmark ends when it is told to: as by Ctrl-C, so that it takes its processes with it."""

from __future__ import annotations

import signal
from types import FrameType


def end_as_by_ctrl_c() -> None:
    """Let SIGTERM end this program as SIGINT does: contexts are left, and what they started is stopped.

    It is passed on as SIGINT, which ``asyncio.run`` takes over to cancel its task. SIGINT's own default is restored,
    too: a shell starts programs in the background with SIGINT ignored.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _pass_on)


def _pass_on(_number: int, _frame: FrameType | None) -> None:
    # timeout(1) tells the process and then its group: the second must not disturb how contexts are left.
    signal.signal(signal.SIGTERM, _already_ending)
    signal.raise_signal(signal.SIGINT)


def _already_ending(_number: int, _frame: FrameType | None) -> None:
    pass
