"""From what was seen of jobs to arrivals."""

from __future__ import annotations

import pytest

from arqube_local.record.recording import Arrival, Look, Recording
from arqube_queue.model import Heartbeat

START = 1_000_000.0

Step = tuple[float, float | None, bool]
"""When a job was looked at and its due time, both in ms from the start; whether it ran."""


def follow(*steps: Step) -> list[Arrival]:
    """What is recorded of one job that was looked at so."""
    recording = Recording(START)
    found: list[Arrival] = []
    for at, due, running in steps:
        look = Look(b"job", None if due is None else START + due, running)
        found += recording.look([look], START + at)
    return found + list(recording.end())


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param(
            [(510, 500, False), (700, 500, True), (1900, None, False)],
            Arrival(500, None, 1200),
            id="enqueued at its due time, then run to its end",
        ),
        pytest.param([(510, 500, True), (900, None, False)], Arrival(500, None, 390), id="first seen when it ran"),
        pytest.param(
            [(500, 90_000, False), (90_100, 90_000, True), (91_100, None, False)],
            Arrival(500, 90_000, 1000),
            id="deferred",
        ),
        pytest.param(
            [(4000, None, False), (5000, 100, False)], Arrival(5000), id="dated back: it arrives when it is seen"
        ),
        pytest.param(
            [(10, 5, True), (110, 60_000, False), (60_100, 60_000, True), (60_400, None, False)],
            Arrival(5, None, 400),
            id="run twice: both runs count, and the due time is the first",
        ),
        pytest.param([(10, 5, False), (20, None, False)], Arrival(5), id="never seen to run: how long is not known"),
        pytest.param([(10, 5, True)], Arrival(5), id="not ended: how long is not known"),
        pytest.param([(9.7, 10, False)], Arrival(10), id="not deferred: its due time was rounded up to a millisecond"),
    ],
)
def test_a_job_is_recorded(steps: list[Step], expected: Arrival) -> None:
    assert follow(*steps) == [expected]


def test_a_job_is_recorded_once_though_its_keys_outlive_it() -> None:
    assert follow((10, 5, True), (20, None, False), (30, None, True), (40, None, False)) == [Arrival(5, None, 10)]


def test_what_was_never_in_the_queue_is_no_arrival() -> None:
    assert follow((10, None, True), (20, None, False)) == []


def test_a_run_that_went_on_out_of_sight_has_no_length() -> None:
    recording = Recording(START)
    list(recording.look([Look(b"gone", START + 5, True), Look(b"there", START + 5, True)], START + 10))
    found = list(recording.resume([Look(b"there", START + 5, True), Look(b"new", START + 700, False)], START + 900))
    assert found == [Arrival(5)]
    assert sorted(recording.end(), key=lambda arrival: arrival.at_ms) == [Arrival(5), Arrival(700)]


def beat(ended: int, at: float, worker: str = "pod-1", **others: int) -> Heartbeat:
    finished = {"succeeded": ended, **others}
    return Heartbeat(worker, int(START + at), 0, 10, finished=finished, run_seconds=sum(finished.values()) * 0.5)


def counted(*readings: list[Heartbeat], seen_ended: int = 0) -> int:
    """Jobs made up for when the counters are read each second."""
    recording = Recording(START)
    recording.count(readings[0], START)
    for number in range(seen_ended):
        job_id = b"%d" % number
        list(recording.look([Look(job_id, START, True)], START + 1))
        list(recording.look([Look(job_id, None, False)], START + 2))
    for index, reading in enumerate(readings[1:], start=1):
        recording.count(reading, START + 1000 * index)
    return recording.estimated


@pytest.mark.parametrize(
    ("readings", "seen_ended", "expected"),
    [
        pytest.param([[], [beat(7, 900)], [beat(7, 1900)]], 7, 0, id="none when all were seen"),
        pytest.param([[], [beat(7, 900)], [beat(7, 1900)]], 4, 3, id="those that were not seen"),
        pytest.param([[], [beat(7, 900)]], 4, 0, id="not at once, as a heartbeat may be ahead of what was seen"),
        pytest.param(
            [[beat(500, -900)], [beat(530, 100)], [beat(531, 1100)], [beat(531, 2100)]],
            0,
            1,
            id="none that ended before the start, nor until the first heartbeat after it",
        ),
        pytest.param([[], [beat(7, 900, retried=9)], [beat(7, 1900, retried=9)]], 7, 0, id="no tries that failed"),
        pytest.param(
            [[beat(500, 0)], [beat(500, 0)], [beat(3, 1100)], [beat(3, 2100)]],
            0,
            3,
            id="of a worker that began anew under its name, those since",
        ),
        pytest.param(
            [[beat(5, 0)], [], [beat(6, 1100)], [beat(6, 2100)]], 0, 1, id="of a worker that fell silent, those since"
        ),
    ],
)
def test_jobs_are_made_up_for(readings: list[list[Heartbeat]], seen_ended: int, expected: int) -> None:
    assert counted(*readings, seen_ended=seen_ended) == expected


def test_what_is_made_up_for_is_spread_over_the_time_it_happened_in() -> None:
    recording = Recording(START)
    recording.count([], START)
    recording.count([], START + 1000)
    recording.count([beat(4, 1900)], START + 2000)
    found = recording.count([beat(4, 2900)], START + 3000)
    assert found == [Arrival(at, None, 500) for at in (1125, 1375, 1625, 1875)]
    assert recording.arrived == 4
