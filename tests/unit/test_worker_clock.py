"""Which time counts for a queue's jobs: this machine's or Redis's."""

from __future__ import annotations

import pytest

from arqube_worker import clock

CASES = {
    "Redis has not told the time yet": (None, 0.0, 5_000),
    "both say the same": (5_000, 0.0, 5_000),
    "they differ by little": (4_200, 0.0, 5_000),
    "this machine is ahead": (1_000, 0.0, 1_000),
    "this machine is behind": (605_000, 0.0, 605_000),
    "the only answer took long and says something else": (605_000, 2.0, 605_000),
    "the only answer took as long as they differ": (7_000, 2.0, 5_000),
}


@pytest.mark.parametrize(("redis_ms", "took_s", "expected"), CASES.values(), ids=CASES)
def test_the_time_that_counts(
    monkeypatch: pytest.MonkeyPatch, redis_ms: int | None, took_s: float, expected: int
) -> None:
    monkeypatch.setattr(clock, "timestamp_ms", lambda: 5_000)
    monkeypatch.setattr(clock.time, "monotonic", lambda: 100.0)
    tested = clock.QueueClock()
    if redis_ms is not None:
        tested.told(redis_ms, asked_at=100.0 - took_s)
    assert tested.now_ms() == expected


def test_an_answer_that_took_long_does_not_move_the_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "timestamp_ms", lambda: 5_000)
    monkeypatch.setattr(clock.time, "monotonic", lambda: 100.0)
    tested = clock.QueueClock()
    assert not tested.is_set
    tested.told(605_000, asked_at=100.0)
    tested.told(700_000, asked_at=98.0)
    assert (tested.is_set, tested.now_ms()) == (True, 605_000)


@pytest.mark.parametrize("jump_ms", [-600_000, 600_000])
def test_a_wall_clock_that_jumps_does_not_move_the_present(monkeypatch: pytest.MonkeyPatch, jump_ms: int) -> None:
    wall, monotonic = [5_000], [100.0]
    monkeypatch.setattr(clock, "timestamp_ms", lambda: wall[0])
    monkeypatch.setattr(clock.time, "monotonic", lambda: monotonic[0])
    tested = clock.QueueClock()
    tested.told(5_000, asked_at=100.0)
    wall[0] += jump_ms + 3_000
    monotonic[0] += 3.0
    assert tested.now_ms() == 8_000
