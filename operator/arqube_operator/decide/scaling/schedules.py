"""The floor that ``scaling.schedules`` sets: cron windows in which so many pods are there."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from arqube_operator.api.cron import latest_time, next_time

if TYPE_CHECKING:
    from arqube_operator.api.v1alpha1 import Schedule


def scheduled_floor(schedules: Iterable[Schedule], startup_s: float, now: float) -> int:
    """The highest floor of the windows that are open, or will be by the time a pod started now is ready."""
    return max((one.min_replicas for one in schedules if _is_open(one, startup_s, now)), default=0)


def _is_open(schedule: Schedule, startup_s: float, now: float) -> bool:
    opened = latest_time(schedule.start, schedule.time_zone, now)
    if opened is not None and now < opened + schedule.duration_s:
        return True
    opens = next_time(schedule.start, schedule.time_zone, now)
    return opens is not None and opens - now <= startup_s
