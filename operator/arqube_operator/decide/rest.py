"""When passes over a TaskQueue would do nothing for a while: it rests until something changes or that time is over.

A queue without work is read each tick, and nearly always as it was before. The rule knows no policy: ``decide`` is
asked itself what it would do at the end of the rest. What may come and go in between bounds the rest. Counts and
sentences of the status alone may be as late as a rest is long.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from arqube_operator.decide.plan import RESYNC_S, Plan, decide
from arqube_operator.decide.state import Memory, State
from arqube_queue.model import QueueSnapshot

LONGEST_S: Final = 60.0
"""Seconds of a rest at most, so that whatever the rule does not foresee is late by so much and no more."""
SHORTEST_S: Final = 2.0
"""Seconds below which a rest saves nothing."""

_MOMENT_S: Final = 0.001
"""How long before its end a rest is looked at: what begins at the end is no longer part of it."""


def rests_until(state: State, now: float) -> float | None:
    """Unix seconds before which ``decide`` does nothing about ``state`` unless more than the clock changes.

    None when each reading of the queue needs a pass: there is work, or there will be something to do.
    """
    if state.redis_problem is not None or state.queue is None or _has_work(state.queue):
        return None
    end = min(now + LONGEST_S, state.memory.applied_s + RESYNC_S, *_due(state, state.queue, now))
    asked = _asked(state.memory)
    while end - now >= SHORTEST_S:
        plan = decide(_later(state, end - _MOMENT_S - now), end - _MOMENT_S)
        if not does_nothing(plan):
            return None
        if _asked(plan.memory) == asked:
            return end
        # Nothing is done, but another number is held for a while from some moment on: that moment must be seen.
        end = now + (end - now) / 2
    return None


def does_nothing(plan: Plan) -> bool:
    """Whether ``plan`` leaves everything as it is."""
    return plan.apply is None and plan.replicas is None and plan.status is None and not plan.retire


def _asked(memory: Memory) -> list[int]:
    """The numbers of pods that the newest pass asked for, and found enough."""
    windows = (memory.scaling.asked, memory.scaling.enough) if memory.scaling else ()
    return [window[-1][1] for window in windows if window]


def is_unchanged(before: QueueSnapshot, after: QueueSnapshot) -> bool:
    """Whether nothing but the time differs between two snapshots of a queue at rest."""
    return (
        not _has_work(after)
        and after.deferred == before.deferred
        and after.dead_letters == before.dead_letters
        and _next_due_ms(after) == _next_due_ms(before)
        and len(after.heartbeats) == len(before.heartbeats)
        and all(
            old == replace(new, at_ms=old.at_ms) for old, new in zip(before.heartbeats, after.heartbeats, strict=True)
        )
    )


def _has_work(queue: QueueSnapshot) -> bool:
    return bool(queue.waiting or queue.running or queue.due_soon or any(beat.busy for beat in queue.heartbeats))


def _due(state: State, queue: QueueSnapshot, now: float) -> list[float]:
    """When deferred jobs and cron runs that are known come, in Unix seconds; ``decide`` looks ahead by itself."""
    ages_s = [(due_ms - queue.at_ms) / 1000 for beat in queue.heartbeats for due_ms in beat.cron_runs.values()]
    if queue.next_due_s is not None:
        ages_s.append(queue.next_due_s)
    crons = state.status.scaling.crons if state.status.scaling else None
    learned = [datetime.fromisoformat(crons.next).timestamp()] if crons and crons.next else []
    return [due for due in (*(now + age_s for age_s in ages_s), *learned) if due > now]


def _next_due_ms(queue: QueueSnapshot) -> int | None:
    return None if queue.next_due_s is None else queue.at_ms + round(queue.next_due_s * 1000)


def _later(state: State, seconds: float) -> State:
    """``state`` after so many seconds in which nothing happened."""
    queue = state.queue
    if queue is None:
        return state
    beats = tuple(replace(beat, at_ms=beat.at_ms + int(seconds * 1000)) for beat in queue.heartbeats)
    due_s = None if queue.next_due_s is None else max(0.0, queue.next_due_s - seconds)
    aged = replace(queue, at_ms=queue.at_ms + int(seconds * 1000), next_due_s=due_s, heartbeats=beats)
    return replace(state, queue=aged)
