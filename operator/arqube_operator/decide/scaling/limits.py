"""What keeps the number of pods from what the jobs ask for: bounds, stabilization, step limits, tolerance, pauses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from arqube_operator.decide.scaling.schedules import scheduled_floor

if TYPE_CHECKING:
    from arqube_operator.api.v1alpha1 import ScaleLimits, ScalingSpec
    from arqube_operator.decide.scaling.demand import Demand
    from arqube_operator.decide.scaling.model import Window


class Bounds(NamedTuple):
    """Fewest and most pods, and what sets each."""

    floor: int
    ceiling: int
    floor_by: str = "MinReplicas"
    ceiling_by: str = "MaxReplicas"


class Limited(NamedTuple):
    """What the limits leave: the number of pods, the limit that binds, and the windows to remember."""

    target: int
    by: str | None
    asked: Window
    enough: Window


def bounds(scaling: ScalingSpec, startup_s: float, read_limit: int | None, now: float) -> Bounds:
    """The bounds at ``now``. ``read_limit`` is the number of pods beyond which none could take a job."""
    ceiling, ceiling_by = scaling.max_replicas, "MaxReplicas"
    floor, floor_by = scaling.min_replicas, "MinReplicas"
    scheduled = scheduled_floor(scaling.schedules, startup_s, now) if scaling.schedules else 0
    if scheduled > floor:
        floor, floor_by = min(scheduled, ceiling), "Schedule"
    if read_limit is not None and read_limit < ceiling:
        ceiling, ceiling_by = max(read_limit, floor), "ReadLimit"
    return Bounds(floor, ceiling, floor_by, ceiling_by)


def limit(
    scaling: ScalingSpec,
    allowed: Bounds,
    demand: Demand,
    current: int,
    windows: tuple[Window, Window, Window],
    *,
    active: bool,
    watched_s: float,
    idle_s: float,
    now: float,
) -> Limited:
    """The number of pods for ``demand`` where ``current`` are asked for.

    Args:
        windows: What was asked for, what was enough, and the changes of the number, until now.
        active: From zero pods may come.
        watched_s: Seconds since which this leader watches.
        idle_s: Seconds since there was any work.
    """
    ask, enough, by = demand.ask, demand.enough, None
    if current == 0 and ask and not active:
        ask, enough, by = 0, 0, "Activation"
    if ask > allowed.ceiling:
        by = allowed.ceiling_by
    elif enough < allowed.floor:
        by = allowed.floor_by
    ask = max(allowed.floor, min(ask, allowed.ceiling))
    enough = max(allowed.floor, min(enough, allowed.ceiling))
    asked = _fewest(windows[0], now, ask, scaling.scale_up.stabilization_s)
    kept = hold(windows[1], now, enough, scaling.scale_down.stabilization_s)
    if ask > current:
        target, by = _up(scaling, allowed, demand, current, ask, asked[0][1], windows[2], by, now)
    else:
        watched = watched_s >= scaling.scale_down.stabilization_s
        most = min(current, allowed.ceiling)
        target, by = _down(scaling, current, most, kept[0][1] if watched else most, enough, windows[2], by, idle_s, now)
    return Limited(target, by, asked, kept)


def _up(
    scaling: ScalingSpec,
    allowed: Bounds,
    demand: Demand,
    current: int,
    ask: int,
    steadily: int,
    steps: Window,
    by: str | None,
    now: float,
) -> tuple[int, str | None]:
    if scaling.paused in ("All", "Up"):
        return current, "Paused"
    # A first pod, and the floor, wait for nothing.
    at_once = max(current, allowed.floor, 1)
    target = max(at_once, steadily)
    if target < ask:
        by = "Stabilization"
    highest = max(at_once, _highest_step(scaling.scale_up, steps, current, now))
    if target > highest:
        target, by = int(highest), "ScaleUpLimit"
    # Jobs that would be late are not tolerable.
    if target > at_once and not demand.late and is_tolerable(target, current, scaling.tolerance):
        return current, "Tolerance"
    return target, by


def _down(
    scaling: ScalingSpec,
    current: int,
    most: int,
    steadily: int,
    enough: int,
    steps: Window,
    by: str | None,
    idle_s: float,
    now: float,
) -> tuple[int, str | None]:
    if scaling.paused in ("All", "Down"):
        return current, "Paused" if min(most, enough) < current else by
    target = min(most, steadily)
    if enough < target == most:
        by = "Stabilization"
    if target == 0 and current and idle_s < scaling.cooldown_s:
        target, by = 1, "Cooldown"
    lowest = min(most, _lowest_step(scaling.scale_down, steps, current, now))
    if target < lowest:
        target, by = lowest, "ScaleDownLimit"
    # To nothing, and below a lowered maximum, is worth any step.
    if 0 < target < most and is_tolerable(target, current, scaling.tolerance):
        return most, "Tolerance"
    return target, by


def hold(window: Window, now: float, pods: int, length_s: float) -> Window:
    """``window`` with ``pods``, thinned to what can still be its maximum: the first is."""
    if not window or window[0][1] <= pods:
        return ((now, pods),)
    recent = [entry for entry in window if entry[0] > now - length_s and entry[1] > pods]
    return (*recent, (now, pods))


def _fewest(window: Window, now: float, pods: int, length_s: float) -> Window:
    """``window`` with ``pods``, thinned to what can still be its minimum: the first is."""
    if not window or window[0][1] >= pods:
        return ((now, pods),)
    recent = [entry for entry in window if entry[0] > now - length_s and entry[1] < pods]
    return (*recent, (now, pods))


def steps_since(steps: Window, before: int | None, current: int, scaling: ScalingSpec, now: float) -> Window:
    """The changes of the number within the periods of the step limits."""
    if before is None or before == current:
        return steps
    longest_s = max(scaling.scale_up.period_s, scaling.scale_down.period_s)
    return (*[step for step in steps if step[0] > now - longest_s], (now, current - before))


def _highest_step(limits: ScaleLimits, steps: Window, current: int, now: float) -> float:
    """Most pods that the limits allow now: HPA's ``Pods`` and ``Percent`` a period, of which the larger holds."""
    if limits.max_pods is None and limits.max_percent is None:
        return math.inf
    start = current - sum([change for at, change in steps if change > 0 and at > now - limits.period_s])
    by_pods = start + (limits.max_pods or 0)
    by_percent = start + math.ceil(start * (limits.max_percent or 0) / 100)
    return max(by_pods, by_percent)


def _lowest_step(limits: ScaleLimits, steps: Window, current: int, now: float) -> int:
    """Fewest pods that the limits allow now."""
    if limits.max_pods is None and limits.max_percent is None:
        return 0
    start = current - sum([change for at, change in steps if change < 0 and at > now - limits.period_s])
    by_pods = start - (limits.max_pods or 0)
    by_percent = start - math.ceil(start * (limits.max_percent or 0) / 100)
    return max(0, min(by_pods, by_percent))


def is_tolerable(wanted: int, current: int, percent: int) -> bool:
    """Whether the difference is too small for a change: HPA's tolerance, on the number of pods."""
    return abs(wanted - current) * 100 <= percent * current
