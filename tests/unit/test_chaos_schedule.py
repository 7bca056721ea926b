"""How the chaos suite draws its blows and its jobs from a seed."""

from __future__ import annotations

from collections import Counter
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from random import Random

import pytest
from benchmarks.chaos import kinds
from benchmarks.chaos.every_fault import FAULTS
from benchmarks.chaos.faults import ONLY_AOF, ONLY_SENTINEL, Explains, Fault, Part, Setup, Victims, by_name
from benchmarks.chaos.producer import Orders, plan
from benchmarks.chaos.schedule import draw, draw_setup
from benchmarks.chaos.stage import Stage
from hypothesis import given
from hypothesis import strategies as st


def no_blow(stage: Stage, chance: Random) -> AbstractAsyncContextManager[Victims]:
    return nullcontext(())


def fault(name: str, **options: object) -> Fault:
    return replace(Fault(name, Part.REDIS, Explains.RUNS, no_blow), **options)  # type: ignore[arg-type]


SOME = [
    fault("anywhere", lasts_s=(1.0, 2.0)),
    fault("often", weight=4),
    fault("aof", setups=ONLY_AOF),
    fault("sentinel", setups=ONLY_SENTINEL),
]


@given(seed=st.integers(0, 10**6), setup=st.sampled_from(Setup), count=st.integers(0, 60), seconds=st.floats(1, 600))
def test_one_seed_gives_one_schedule_within_the_load_and_what_the_setup_knows(
    seed: int, setup: Setup, count: int, seconds: float
) -> None:
    blows = draw(seed, SOME, setup=setup, count=count, seconds=seconds)

    assert blows == draw(seed, list(reversed(SOME)), setup=setup, count=count, seconds=seconds)
    assert len(blows) == count
    assert list(blows) == sorted(blows, key=lambda blow: blow.at_s)
    for blow in blows:
        chosen = by_name(SOME)[blow.fault]
        assert 0 < blow.at_s < seconds
        assert setup in chosen.setups
        assert chosen.lasts_s[0] <= blow.lasts_s <= chosen.lasts_s[1]


@pytest.mark.parametrize("setup", Setup)
def test_every_fault_that_the_setup_knows_is_drawn_before_one_that_weighs_as_little_is_again(setup: Setup) -> None:
    light = [each for each in SOME if each.weight == 1 and setup in each.setups]
    drawn = Counter(blow.fault for blow in draw(7, light, setup=setup, count=3 * len(light), seconds=60))
    assert drawn == {each.name: 3 for each in light}


def test_what_weighs_more_is_drawn_more_often() -> None:
    drawn = Counter(blow.fault for blow in draw(7, SOME, setup=Setup.AOF, count=600, seconds=60))
    assert drawn["often"] == 4 * drawn["anywhere"] == 400


def test_other_seeds_give_other_schedules_and_each_setup_its_turn() -> None:
    schedules = {draw(seed, SOME, setup=Setup.AOF, count=5, seconds=60) for seed in range(20)}
    assert len(schedules) == 20
    assert {draw_setup(seed) for seed in range(4)} == set(Setup)


def test_faults_of_which_none_is_possible_are_refused() -> None:
    with pytest.raises(ValueError, match="none of the chosen faults"):
        draw(1, [SOME[3]], setup=Setup.AOF, count=1, seconds=60)


def test_two_faults_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two faults are called 'aof'"):
        by_name([SOME[2], SOME[2]])


@pytest.mark.parametrize("setup", Setup)
def test_each_setup_knows_faults_of_workers_and_of_redis(setup: Setup) -> None:
    parts = {each.part for each in FAULTS.values() if setup in each.setups}
    assert {Part.WORKERS, Part.REDIS} <= parts


def test_one_seed_gives_the_same_jobs_whose_ids_tell_queue_and_kind() -> None:
    queues = [("bulk", "chaos:bulk", 0.8), ("narrow", "chaos:narrow", 0.2)]
    orders = Orders(5, 5000, 30.0, queues, "127.0.0.1", 6379, [], "chaos", 0, "/nowhere")
    jobs = plan(orders)

    assert jobs == plan(orders) != plan(replace(orders, seed=6))
    assert len({job.job_id for job in jobs}) == 5000
    assert {kinds.queue_of(job.job_id) for job in jobs} == {"bulk", "narrow"}
    assert {kinds.kind_of(job.job_id) for job in jobs} == set(kinds.KINDS.values())
    assert all(0 <= job.at_s <= 30 and job.kind is kinds.kind_of(job.job_id) for job in jobs)


def test_the_shares_of_the_kinds_make_a_whole() -> None:
    assert sum(kind.share for kind in kinds.KINDS.values()) == pytest.approx(1.0, abs=0.01)


def test_a_cron_s_run_is_of_no_kind_and_of_its_task_queue() -> None:
    assert kinds.kind_of("cron:chaos:steady:1795855800123") is None
    assert kinds.queue_of("cron:chaos:steady:1795855800123") == "steady"
