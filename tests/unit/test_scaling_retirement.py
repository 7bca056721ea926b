"""Who is retired, and who goes: never one that runs a job or may get one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.decide.scaling.fleet import Fleet, Worker
from arqube_operator.decide.scaling.retirement import TOGETHER_S, retire
from arqube_operator.decide.state import Pod

NOW = 1000.0


def worker(name: str, busy: int = 0, *, retired: bool = False, told: bool = True, created_s: float = 0.0) -> Worker:
    return Worker(Pod(name, created_s, created_s + 9), busy, 5, retired, told)


def fleet(*workers: Worker, unmade: int = 0, pending: tuple[Pod, ...] = (), stuck: tuple[Pod, ...] = ()) -> Fleet:
    starting = unmade + len(pending)
    return Fleet(
        len(workers) + starting + len(stuck),
        workers,
        sum(one.slots for one in workers),
        sum(one.busy for one in workers),
        starting=starting,
        pending=pending,
        stuck=stuck,
    )


OLD, NEW = Pod("old", 900.0), Pod("new", 990.0)
FAILED = Pod("failed", 100.0, failure="CrashLooping")


@pytest.mark.parametrize(
    ("pods", "target", "asked", "named", "replicas"),
    [
        pytest.param(fleet(worker("a")), 1, {}, [], 1, id="enough is enough"),
        pytest.param(fleet(worker("a")), 4, {}, [], 4, id="more come at once"),
        pytest.param(fleet(worker("a", retired=True)), 1, {"a": 1}, [], 1, id="a retired one is called back"),
        pytest.param(fleet(worker("a", 3), worker("b")), 1, {}, ["b"], 2, id="the idle one is asked"),
        pytest.param(fleet(worker("a", 3), worker("b", 1)), 1, {}, ["b"], 2, id="then the least busy"),
        pytest.param(fleet(worker("a"), worker("b", created_s=5)), 1, {}, ["b"], 2, id="then the newest"),
        pytest.param(
            fleet(worker("a"), worker("b", 2)), 1, {"b": 999}, ["b"], 2, id="one that was asked stays the one"
        ),
        pytest.param(
            fleet(worker("a"), worker("b", retired=True)),
            1,
            {"b": 999},
            ["b"],
            1,
            id="one that heeds it and is idle goes",
        ),
        pytest.param(fleet(worker("a"), worker("b")), 1, {"b": 999}, ["b"], 2, id="one that has not heeded it stays"),
        pytest.param(
            fleet(worker("a"), worker("b", 1, retired=True)),
            1,
            {"b": NOW - TOGETHER_S + 1},
            ["b"],
            2,
            id="one that runs a job stays",
        ),
        pytest.param(
            fleet(worker("a"), worker("b", 1, retired=True)),
            1,
            {"b": NOW - TOGETHER_S},
            ["a"],
            2,
            id="one that runs a long job gives way to an idle one",
        ),
        pytest.param(
            fleet(worker("a", 1), worker("b", 3, retired=True)),
            1,
            {"b": NOW - TOGETHER_S},
            ["b"],
            2,
            id="but not to one that runs a job too",
        ),
        pytest.param(
            fleet(worker("a"), worker("b", 1, retired=True), worker("c", 2, retired=True)),
            1,
            {"b": 1, "c": 1},
            ["a", "b"],
            3,
            id="the busiest gives way first",
        ),
        pytest.param(
            fleet(worker("a"), worker("b", retired=True)),
            1,
            {},
            ["b"],
            2,
            id="one asked by another leader is asked again",
        ),
        pytest.param(fleet(worker("a"), unmade=2), 1, {}, [], 1, id="pods that were not made yet go at once"),
        pytest.param(fleet(worker("a"), pending=(OLD,)), 1, {}, ["old"], 2, id="one that starts is asked"),
        pytest.param(fleet(worker("a"), pending=(OLD,)), 1, {"old": 999}, ["old"], 1, id="and goes a second later"),
        pytest.param(
            fleet(worker("a"), pending=(OLD, NEW), stuck=(FAILED,)), 2, {}, ["failed", "new"], 4, id="failed ones first"
        ),
        pytest.param(
            fleet(worker("a", told=False), worker("b", told=False)),
            1,
            {"b": 999},
            ["b"],
            1,
            id="plain arq's idle one goes",
        ),
        pytest.param(
            fleet(worker("a", 1, told=False), worker("b", 1, told=False)),
            1,
            {"b": 1},
            ["b"],
            2,
            id="plain arq's stay while any job may be theirs",
        ),
        pytest.param(
            fleet(worker("a", retired=True), worker("b", 1, retired=True)),
            0,
            {"a": NOW - 1, "b": NOW - 1},
            ["a", "b"],
            2,
            id="one that may go waits for the other for a moment",
        ),
        pytest.param(
            fleet(worker("a", retired=True), worker("b", 1, retired=True)),
            0,
            {"a": NOW - TOGETHER_S, "b": NOW - TOGETHER_S},
            ["a", "b"],
            1,
            id="but no longer",
        ),
    ],
)
def test_pods_leave(pods: Fleet, target: int, asked: dict[str, float], named: list[str], replicas: int) -> None:
    going = retire(pods, target, tuple(asked.items()), NOW)

    assert sorted(name for name, _ in going.asked) == sorted(named)
    assert going.replicas == replicas


fleets = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=8).map(
    lambda workers: fleet(
        *(worker(f"w{n}", busy, retired=retired, told=told) for n, (busy, retired, told) in enumerate(workers))
    )
)


@given(fleets, st.integers(0, 10), st.sets(st.integers(0, 7)))
def test_only_idle_workers_go_and_never_more_than_too_many(pods: Fleet, target: int, numbers: set[int]) -> None:
    asked = tuple((f"w{number}", NOW - 60) for number in sorted(numbers))

    going = retire(pods, target, asked, NOW)

    named = {name for name, _ in going.asked}
    idle = [one for one in pods.workers if one.pod.name in named and not one.busy]
    assert target <= going.replicas
    assert pods.replicas - going.replicas <= len(idle)
    assert len(named) == max(0, pods.replicas - target)


@given(fleets, st.integers(0, 8))
def test_who_was_asked_once_is_not_let_off_for_another(pods: Fleet, target: int) -> None:
    first = retire(pods, target, (), NOW)

    assert {name for name, _ in retire(pods, target, first.asked, NOW + 1).asked} == {name for name, _ in first.asked}


@given(fleets, st.integers(0, 8), st.sets(st.integers(0, 7)))
def test_no_idle_one_stays_for_one_that_runs_a_job_for_long(pods: Fleet, target: int, numbers: set[int]) -> None:
    asked = tuple((f"w{number}", NOW - TOGETHER_S) for number in sorted(numbers))

    named = {name for name, _ in retire(pods, target, asked, NOW).asked}
    idle = {one.pod.name for one in pods.workers if not one.busy}
    assert named <= idle or idle <= named
