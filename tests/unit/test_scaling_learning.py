"""What snapshots teach: arrivals from counters, service time, start-up time."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.v1alpha1 import ScalingInputs
from arqube_operator.decide.scaling.learning import (
    BIN_S,
    BINS,
    REMEMBERED_JOBS,
    Learned,
    begin,
    learn_queue,
    learn_startup,
    measure_rate,
)
from arqube_operator.decide.state import Pod
from arqube_queue.model import Heartbeat, QueueSnapshot

START_MS = 1_767_614_400_000
PODS = (Pod("a", 0.0, 8.0), Pod("b", 0.0, 8.0))


def snapshot(at_s: float, waiting: int, *beats: Heartbeat) -> QueueSnapshot:
    return QueueSnapshot(START_MS + int(at_s * 1000), waiting=waiting, heartbeats=beats)


def beat(worker: str, started: int, finished: int = 0, run_s: float = 0.0, busy: int = 0) -> Heartbeat:
    return Heartbeat(worker, START_MS, busy, 5, started=started, finished={"succeeded": finished}, run_seconds=run_s)


def after(*snapshots: QueueSnapshot, pods: tuple[Pod, ...] = PODS, known: Learned | None = None) -> Learned:
    learned = known or Learned()
    for one in snapshots:
        learned = learn_queue(learned, one, pods)
    return learned


@pytest.mark.parametrize(
    ("snapshots", "arrived"),
    [
        pytest.param([snapshot(0, 7, beat("a", 100))], 0, id="what was there at first tells nothing"),
        pytest.param([snapshot(0, 0), snapshot(1, 7)], 7, id="more that wait have arrived"),
        pytest.param([snapshot(0, 7, beat("a", 10)), snapshot(1, 4, beat("a", 13))], 0, id="waiting ones that started"),
        pytest.param(
            [snapshot(0, 0, beat("a", 10)), snapshot(1, 0, beat("a", 13))], 3, id="those that started at once"
        ),
        pytest.param([snapshot(0, 0), snapshot(1, 0, beat("a", 13))], 13, id="a new pod's all count"),
        pytest.param([snapshot(0, 0), snapshot(1, 0, beat("laptop", 13))], 0, id="another's worker may be an old one"),
        pytest.param(
            [snapshot(0, 0, beat("a", 10)), snapshot(1, 0), snapshot(2, 0, beat("a", 12))],
            2,
            id="a pod whose heartbeats failed for a while is no new one",
        ),
        pytest.param(
            [snapshot(0, 0, beat("a", 10)), snapshot(1, 0, beat("a", 2))], 2, id="a container that began anew"
        ),
        pytest.param(
            [snapshot(0, 0, beat("a", 10)), snapshot(0, 5, beat("a", 12))], 0, id="the same reading again is none"
        ),
    ],
)
def test_arrivals_are_counted_by_balance(snapshots: list[QueueSnapshot], arrived: float) -> None:
    assert after(*snapshots).arrived == arrived


def test_a_bin_closes_with_its_time_and_a_gap_is_spread() -> None:
    learned = after(snapshot(0, 0), snapshot(BIN_S - 0.1, 20), snapshot(BIN_S, 25), snapshot(3.2 * BIN_S, 45))

    assert learned.bins == (10, 10, 25)
    assert learned.bin_from_ms == START_MS + 3000 * BIN_S


def test_what_came_before_a_gap_is_not_spread_over_it() -> None:
    """A queue at rest is read seldom: what it learns must not depend on that."""
    before = [snapshot(0, 0), snapshot(BIN_S - 1, 6)]
    seldom = after(*before, snapshot(4 * BIN_S, 6))
    often = after(*before, *(snapshot(number * BIN_S, 6) for number in (1, 2, 3, 4)))

    assert seldom.bins == often.bins == (0, 0, 0, 6)


def test_redis_clock_that_was_set_back_stops_no_learning() -> None:
    before = [snapshot(600 + number * BIN_S, 5 * number, beat("a", 0)) for number in range(9)]
    behind = [snapshot(number * BIN_S, 50 + 5 * number, beat("a", 100)) for number in range(1, 5)]
    learned = after(*before, *behind)

    assert learned.at_ms == behind[-1].at_ms
    assert learned.bins[:3] == (5, 5, 5), "what the two clocks do not tell is left out"


def test_only_two_minutes_are_kept() -> None:
    learned = after(snapshot(0, 0), snapshot(3600, 720))

    assert len(learned.bins) == BINS
    assert learned.rate.mean == pytest.approx(0.2)


def steady(seed: int, per_bin: float, bins: int = BINS) -> tuple[float, ...]:
    random = Random(seed)  # noqa: S311 - no secret
    return tuple(float(sum(random.random() < per_bin / 200 for _ in range(200))) for _ in range(bins))


@pytest.mark.parametrize(
    ("bins", "low", "high"),
    [
        pytest.param((50.0,) * BINS, (48, 50), (50, 52), id="a steady rate is known closely"),
        pytest.param((50.0, 50.0, *(5.0,) * (BINS - 2)), (42, 50), (45, 58), id="a step is seen after two bins"),
        pytest.param((5.0,) * 4 + (50.0,) * (BINS - 4), (3, 7), (5, 8), id="so is one down a little later"),
        pytest.param((600.0, *(0.0,) * (BINS - 1)), (0, 0), (12, 900), id="a lone burst is no lower bound"),
        pytest.param((0.0, 600.0, *(0.0,) * (BINS - 2)), (0, 0), (12, 900), id="nor is it a bin later"),
        pytest.param((0.0,) * BINS, (0, 0), (0, 0), id="nothing for two minutes is none"),
        pytest.param((10.0,), (0, 0), (10, 10), id="a single bin is no lower bound"),
    ],
)
def test_the_bounds_of_a_rate(bins: tuple[float, ...], low: tuple[float, float], high: tuple[float, float]) -> None:
    rate = measure_rate(bins)

    assert low[0] <= rate.low * BIN_S <= low[1]
    assert high[0] <= rate.high * BIN_S <= high[1]


def test_the_bounds_hold_more_often_than_not() -> None:
    """They are the tightest of two dozen windows': each holds nine times of ten, all of them more rarely."""
    rates = [measure_rate(steady(seed, 20)) for seed in range(200)]

    assert sum(rate.low * BIN_S <= 20 for rate in rates) > 130
    assert sum(rate.high * BIN_S >= 20 for rate in rates) > 130
    assert all(abs((rate.low + rate.high) / 2 * BIN_S - 20) < 5 for rate in rates)


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=BINS))
def test_the_bounds_are_in_order(bins: list[float]) -> None:
    rate = measure_rate(tuple(bins))

    assert rate.mean is not None
    assert 0 <= rate.low <= rate.mean <= rate.high
    assert rate.low - 1e-6 <= max(bins) / BIN_S
    assert rate.mean <= max(bins) / BIN_S + 1e-6


def running(seconds: int, job_s: float, slots: int) -> Iterator[QueueSnapshot]:
    """``slots`` slots that are always busy with jobs of one length."""
    for at_s in range(seconds + 1):
        ended = int(at_s / job_s) * slots
        yield snapshot(at_s, 0, beat("a", ended + slots, ended, ended * job_s, busy=slots))


@pytest.mark.parametrize(
    ("seconds", "job_s", "service_s"),
    [
        pytest.param(60, 4.0, 4.0, id="seconds"),
        pytest.param(60, 0.2, 0.2, id="a fraction of the time between two looks"),
        pytest.param(240, 120.0, 120.0, id="minutes"),
        pytest.param(100, 120.0, None, id="none has ended yet"),
    ],
)
def test_the_service_time_is_learned(seconds: int, job_s: float, service_s: float | None) -> None:
    mean_s = after(*running(seconds, job_s, 5)).service.mean_s

    assert mean_s == (service_s if service_s is None else pytest.approx(service_s, rel=0.1))


def test_jobs_in_flight_count_for_the_service_time() -> None:
    """One job of ten was short; the others have run for 50 s: 1 s would be wrong."""
    learned = after(
        snapshot(0, 0, beat("a", 10, busy=10)),
        snapshot(1, 0, beat("a", 10, 1, 1.0, busy=9)),
        snapshot(51, 0, beat("a", 10, 1, 1.0, busy=9)),
    )

    assert learned.service.mean_s == pytest.approx(459)


def test_the_service_time_follows_a_change() -> None:
    before = after(*running(600, 4.0, 5))
    told = before.counters["a"]
    later = [
        snapshot(601 + at_s, 0, beat("a", told[0] + at_s * 5, told[1] + at_s * 5, told[2] + at_s * 5, busy=5))
        for at_s in range(1, 300)
    ]

    assert after(*later, known=before).service.mean_s == pytest.approx(1, rel=0.1)
    assert before.service.ended <= REMEMBERED_JOBS


def test_a_queue_at_rest_forgets_nothing() -> None:
    before = after(*running(60, 4.0, 5))
    rest = [snapshot(60 + at_s, 0) for at_s in range(1, 600)]

    assert after(*rest, known=before).service == before.service


@pytest.mark.parametrize(
    ("took", "typical_s", "slow_s"),
    [
        pytest.param([], 10, 10, id="none was seen"),
        pytest.param([12.0], 12, 12, id="one was"),
        pytest.param([8.0, 25.0, 16.0], 16, 25, id="the middle one is typical, the slowest of few slow"),
        pytest.param([*(float(8 + n) for n in range(19)), 600.0], 18, 25, id="an image pulled once is no rule"),
        pytest.param([3600.0], 600, 600, id="no more than ten minutes"),
        pytest.param([0.0], 1, 1, id="no less than a second"),
    ],
)
def test_the_start_up_time_is_learned(took: list[float], typical_s: float, slow_s: float) -> None:
    pods = [Pod(f"p{number}", 1000.0, 1000.0 + seconds) for number, seconds in enumerate(took)]

    startup = learn_startup(Learned(), pods).startup

    assert (startup.typical_s, startup.slow_s) == (typical_s, slow_s)


def test_a_pod_is_learned_from_once_and_not_when_it_is_ready_again() -> None:
    pod = Pod("a", 1000.0, 1010.0)
    once = learn_queue(learn_startup(Learned(), [pod]), snapshot(0, 0, beat("a", 0)), [pod])

    again = learn_startup(once, [pod])
    recovered = learn_startup(once, [Pod("a", 1000.0, 1300.0)])

    assert again.startup.samples == recovered.startup.samples == (10.0,)


def test_it_begins_with_what_the_status_tells() -> None:
    inputs = ScalingInputs(
        waiting=0, running=0, due_soon=0, oldest_wait_seconds=0, arrivals_per_second=2, service_seconds=3
    )

    learned = begin(inputs, 25.0)

    assert (learned.rate.mean, learned.service.mean_s, learned.startup.slow_s) == (2, 3, 25)
    assert begin(None, None) == Learned()
