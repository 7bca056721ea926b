"""When the time of runs is up."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_worker.deadlines import Deadlines


class Clock:
    """An event loop's clock and timers, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._count = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[..., object], *arguments: Any) -> None:
        self._count += 1
        heapq.heappush(self.timers, (when, self._count, call, arguments))

    def advance(self, seconds: float) -> None:
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            when, _, call, arguments = heapq.heappop(self.timers)
            self.now = max(self.now, when)
            call(*arguments)
        self.now = end


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from((0.0, 0.5, 2.0, 300.0))),
        st.tuples(st.just("remove"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.sampled_from((0.0, 0.25, 0.5, 1.0, 299.0))),
    ),
    max_size=60,
)


@given(STEPS)
def test_what_is_not_removed_expires_at_its_time_whatever_the_others_do(steps: list[tuple[str, float]]) -> None:
    clock = Clock()
    expired: list[tuple[int, float]] = []
    deadlines: Deadlines[int] = Deadlines(clock, lambda one: expired.append((one, clock.now)))  # type: ignore[arg-type]
    timeouts: list[float] = []
    due: dict[int, float] = {}
    for step, value in steps:
        if step == "add":
            one = len(timeouts)
            timeouts.append(value)
            due[one] = clock.now + value
            deadlines.add(one, value)
        elif step == "remove" and value < len(timeouts):
            one = int(value)
            deadlines.remove(one, timeouts[one])
            if one not in dict(expired):
                due.pop(one, None)
        elif step == "wait":
            clock.advance(value)
        assert len(clock.timers) <= len(set(timeouts)), "one timer a timeout at most"
    clock.advance(1000)
    assert dict(expired) == due
    assert len(expired) == len(due), "once each"
    assert not clock.timers, "none is left when nothing is to expire"


@pytest.mark.parametrize("timeout_s", [pytest.param(0.0, id="at once"), pytest.param(0.05, id="after a while")])
async def test_a_loop_keeps_the_deadlines_also_once_the_head_of_the_line_is_gone(timeout_s: float) -> None:
    loop = asyncio.get_running_loop()
    expired: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    deadlines: Deadlines[str] = Deadlines(loop, lambda one: expired.put_nowait((one, loop.time())))
    began = loop.time()
    deadlines.add("head", timeout_s)
    deadlines.add("next", timeout_s)
    deadlines.add("later", 300)
    deadlines.remove("head", timeout_s)
    name, at = await asyncio.wait_for(expired.get(), 5)
    assert name == "next"
    assert at - began >= timeout_s - 0.001
    assert expired.empty()
