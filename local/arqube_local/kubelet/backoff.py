"""How long the kubelet waits before it tries again, doubling from try to try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BackOff:
    """Bounds of a back-off; the defaults are the kubelet's (``MaxContainerBackOff``, ``imageBackOffPeriod``)."""

    first_s: float = 10.0
    longest_s: float = 300.0

    def wait_s(self, failures: int) -> float:
        """Seconds before the next try after ``failures`` (1 or more) in a row."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 32))

    def restart_s(self, ends: int, last_run_s: float) -> tuple[float, int]:
        """Seconds before a container that has ended starts again, and how many ends count from now on.

        The first restart is immediate. A run of twice the longest wait forgives what was before it.

        Args:
            ends: Ends that counted before this one.
            last_run_s: How long the run that has just ended took, in seconds.
        """
        counted = 1 if last_run_s >= 2 * self.longest_s else ends + 1
        return (0.0 if counted == 1 else self.wait_s(counted - 1)), counted
