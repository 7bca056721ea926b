"""The plan's status: what it tells of a decision, and when that is worth a write."""

from __future__ import annotations

from dataclasses import replace

from arqube_operator.decide.plan import decide
from arqube_operator.decide.scaling.crons import KnownCrons, template_hash
from arqube_operator.decide.state import COUNTS_INTERVAL_S, Pod
from arqube_operator.decide.status import WORDS_INTERVAL_S
from arqube_queue.model import Heartbeat, QueueSnapshot
from builders.plan import (
    NO_CRONS,
    NOW,
    SETTLED,
    full,
    limited,
    live,
    shown,
    state,
)


def test_a_status_that_says_the_same_is_not_written_again() -> None:
    assert decide(shown(state()), NOW + 60).status is None


def test_counts_alone_wait_for_their_interval_and_a_scaling_does_not() -> None:
    before = shown(state())
    counts = replace(before, queue=QueueSnapshot(at_ms=0, running=2))
    burst = replace(before, queue=QueueSnapshot(at_ms=0, running=1, waiting=50))

    assert decide(counts, NOW + COUNTS_INTERVAL_S / 2).status is None
    assert decide(counts, NOW + COUNTS_INTERVAL_S).status is not None
    assert decide(burst, NOW + COUNTS_INTERVAL_S / 2).status is not None


def test_the_last_scale_time_stands_until_the_next_scaling() -> None:
    scaled = shown(state(queue=QueueSnapshot(at_ms=0, waiting=50)))
    assert scaled.status.scaling is not None
    later = decide(replace(scaled, deployment=live(5), queue=QueueSnapshot(at_ms=0, running=50)), NOW + 60).status

    assert later is not None
    assert later.scaling is not None
    assert later.scaling.last_scale_time == scaled.status.scaling.last_scale_time == "2023-11-14T22:13:20Z"


def test_the_start_up_time_is_learned_from_the_pods_and_kept() -> None:
    pods = (Pod(name="a", created_s=NOW - 60, ready_s=NOW - 38), Pod(name="b", created_s=NOW - 5))
    learned = shown(state(pods=pods))

    assert learned.startup_s == 22
    assert replace(learned, pods=()).startup_s == 22
    assert state().startup_s == 10


def test_the_status_tells_what_the_decision_stands_on() -> None:
    told = full(limited(max_replicas=2))

    assert told.inputs is not None
    assert (told.inputs.waiting, told.inputs.startup_seconds) == (30, 10)
    assert (told.terms[0].name, told.terms[0].replicas) == ("Jobs", 3)
    assert all(term.message for term in told.terms)
    assert told.limit == "MaxReplicas"
    assert told.retiring is None
    assert told.crons is not None
    assert told.crons.next is None
    assert told.last_change is not None
    assert told.last_change.model_dump(by_alias=True) | {"message": ""} == {
        "time": "2023-11-14T22:13:20Z",
        "from": 1,
        "to": 2,
        "reason": "AtMaxReplicas",
        "message": "",
    }


def test_the_last_change_stands_until_the_next() -> None:
    scaled = shown(limited())
    later = decide(replace(scaled, deployment=live(3), queue=QueueSnapshot(at_ms=0, running=30)), NOW + 60).status

    assert scaled.status.scaling is not None
    assert later is not None
    assert later.scaling is not None
    assert later.scaling.last_change == scaled.status.scaling.last_change


def test_sentences_alone_wait_for_a_minute() -> None:
    due_s = NOW + 3600.0
    crons = KnownCrons(template_hash("app:1", "app.WorkerSettings"), due_s)
    before = shown(state(memory=replace(SETTLED, scaling=replace(NO_CRONS, crons=crons))))
    assert before.status.scaling is not None
    other = before.status.scaling.model_copy(update={"message": "as it was a moment ago"})
    reworded = replace(before, status=before.status.model_copy(update={"scaling": other}))

    assert decide(reworded, NOW + COUNTS_INTERVAL_S).status is None
    assert decide(reworded, NOW + WORDS_INTERVAL_S).status is not None


def test_the_pods_asked_to_retire_are_counted() -> None:
    pods = (Pod(name="a", created_s=NOW - 99, ready_s=NOW - 90), Pod(name="b", created_s=NOW - 99, ready_s=NOW - 90))
    beats = (Heartbeat(worker="a", at_ms=0, busy=1, slots=10), Heartbeat(worker="b", at_ms=0, busy=5, slots=10))
    queue = QueueSnapshot(at_ms=0, running=6, heartbeats=beats)
    given = replace(limited(), deployment=live(2), pods=pods, queue=queue)

    assert decide(given, NOW).retire == {"a"}
    assert full(given).retiring == 1
    assert full(given).limit == "BusyWorkers"
