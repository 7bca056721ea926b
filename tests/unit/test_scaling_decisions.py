"""How many workers: the whole policy in a table, and over several looks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import (
    CronStatus,
    ScalingInputs,
    ScalingStatus,
    TaskQueueStatus,
)
from arqube_operator.decide.scaling import decide_replicas
from arqube_operator.decide.scaling.crons import KnownCrons
from arqube_operator.decide.scaling.learning import Learned
from arqube_operator.decide.state import Pod
from arqube_queue.model import QueueSnapshot
from builders.scaling import AWAY, NOW, TEMPLATE, learned, memory, state, workers


@pytest.mark.parametrize(
    ("given_state", "replicas", "reason", "limit"),
    [
        pytest.param({}, 0, "Idle", None, id="an empty queue needs none"),
        pytest.param({"waiting": 1}, 1, "ScalingUp", None, id="one waiting job starts a worker"),
        pytest.param({"waiting": 25}, 1, "ScalingUp", None, id="25 jobs of 4 s are drained by one worker in time"),
        pytest.param({"waiting": 500}, 10, "AtMaxReplicas", "MaxReplicas", id="never more than the maximum"),
        pytest.param(
            {"waiting": 500, "max_replicas": 50}, 19, "ScalingUp", None, id="as many as it takes to drain in time"
        ),
        pytest.param(
            {"waiting": 500, "max_replicas": 50, "max_wait": "5m"}, 2, "ScalingUp", None, id="patience needs fewer"
        ),
        pytest.param(
            {"waiting": 500, **workers(10, busy=10)}, 10, "AtMaxReplicas", "MaxReplicas", id="at the maximum it says so"
        ),
        pytest.param(
            {"remembered": memory(learned=learned(per_s=10)), "running": 10, **workers(1, busy=10)},
            4,
            "ScalingUp",
            None,
            id="10 jobs/s of 4 s keep 40 slots busy",
        ),
        pytest.param(
            {"remembered": memory(learned=learned(per_s=10, low=5, high=15)), "running": 30, **workers(4, busy=8)},
            4,
            "Steady",
            None,
            id="what the rate may well be is a reason to stay",
        ),
        pytest.param(
            {"remembered": memory(learned=learned(service_s=None)), "waiting": 20, "running": 0},
            2,
            "ScalingUp",
            None,
            id="jobs of unknown length are taken to run as long as they may wait",
        ),
        pytest.param({"due_soon": 1, "next_due_s": 9.0}, 1, "ScalingUp", None, id="a job due soon starts a worker"),
        pytest.param({"next_due_s": 19.0}, 1, "ScalingUp", None, id="so does one due within the margin"),
        pytest.param({"next_due_s": 60.0}, 0, "Idle", None, id="one that is due later does not yet"),
        pytest.param({"min_replicas": 2}, 2, "ScalingUp", "MinReplicas", id="the floor is seen to"),
        pytest.param(
            {"min_replicas": 2, **workers(2)}, 2, "AtMinReplicas", "MinReplicas", id="at the floor it says so"
        ),
        pytest.param(
            {"schedules": ({"name": "day", "start": "0 8 * * 1-5", "duration": "10h", "min_replicas": 5},)},
            5,
            "ScalingUp",
            "Schedule",
            id="an open schedule is a floor",
        ),
        pytest.param(
            {"schedules": ({"name": "night", "start": "0 20 * * *", "duration": "10h", "min_replicas": 5},)},
            0,
            "Idle",
            None,
            id="a closed one is none",
        ),
        pytest.param({"waiting": 3, "activation_jobs": 3}, 0, "Idle", "Activation", id="too few jobs for the first"),
        pytest.param({"waiting": 4, "activation_jobs": 3}, 1, "ScalingUp", None, id="more than activationJobs"),
        pytest.param(
            {"due_soon": 1, "next_due_s": 5.0, "activation_jobs": 3}, 1, "ScalingUp", None, id="what is due is on time"
        ),
        pytest.param({"waiting": 500, "paused": "All", **workers(1)}, 1, "Paused", "Paused", id="paused: none comes"),
        pytest.param({"waiting": 500, "paused": "Up", **workers(1)}, 1, "Paused", "Paused", id="paused up: none comes"),
        pytest.param(
            {"waiting": 500, "paused": "Down", **workers(1)},
            10,
            "AtMaxReplicas",
            "MaxReplicas",
            id="paused down: some come",
        ),
        pytest.param({"paused": "Down", **workers(3)}, 3, "Paused", "Paused", id="paused down: none goes"),
        pytest.param(
            {"waiting": 500, "scale_up": {"max_pods": 2}, **workers(1)},
            3,
            "ScalingUp",
            "ScaleUpLimit",
            id="at most two more at once",
        ),
        pytest.param(
            {"waiting": 500, "scale_up": {"max_pods": 2, "max_percent": 300}, **workers(1)},
            4,
            "ScalingUp",
            "ScaleUpLimit",
            id="of pods and percent the larger holds",
        ),
        pytest.param(
            {
                "waiting": 500,
                "scale_up": {"max_pods": 4},
                "remembered": memory(steps=((NOW - 10, 3),), replicas=4),
                **workers(4),
            },
            5,
            "ScalingUp",
            "ScaleUpLimit",
            id="what came within the period counts",
        ),
        pytest.param(
            {
                "waiting": 500,
                "scale_up": {"stabilization": "1m"},
                **workers(1),
                "remembered": memory(asked=((NOW - 9, 1),)),
            },
            1,
            "Steady",
            "Stabilization",
            id="up only when it held for the stabilization",
        ),
        pytest.param(
            {"waiting": 500, "scale_up": {"stabilization": "1m"}, "remembered": memory(asked=((NOW - 9, 0),))},
            1,
            "ScalingUp",
            "Stabilization",
            id="the first waits for no stabilization",
        ),
        pytest.param({"waiting": 20, "running": 0, "jobs_per_replica": 10}, 2, "ScalingUp", None, id="ten jobs a pod"),
        pytest.param(
            {"waiting": 5, "running": 10, "due_soon": 6, "next_due_s": 5.0, "jobs_per_replica": 10},
            3,
            "ScalingUp",
            None,
            id="waiting, running and due soon are summed",
        ),
        pytest.param(
            {"waiting": 108, "current": 10, "jobs_per_replica": 10, "max_replicas": 20},
            10,
            "Steady",
            "Tolerance",
            id="a tenth more is tolerable",
        ),
        pytest.param(
            {"waiting": 108, "current": 10, "jobs_per_replica": 10, "max_replicas": 20, "tolerance": 0},
            11,
            "ScalingUp",
            None,
            id="nothing is without tolerance",
        ),
        pytest.param(
            {"waiting": 500, "replicas": 2}, 2, "ManualReplicas", None, id="spec.replicas overrules the queue"
        ),
        pytest.param({"replicas": 0, "running": 5, "current": 3}, 0, "ManualReplicas", None, id="replicas 0 stops all"),
        pytest.param({"read": False, "current": 4}, None, "NotYetRead", None, id="an unread queue changes nothing"),
        pytest.param(
            {"problem": AWAY, "current": 4}, 4, "RedisUnreachable", None, id="a stale snapshot takes no worker away"
        ),
        pytest.param(
            {"problem": AWAY, "read": False, "min_replicas": 2},
            2,
            "RedisUnreachable",
            None,
            id="the floor without Redis",
        ),
        pytest.param(
            {"problem": AWAY, "fallback": {"replicas": 3}, "remembered": memory(away_s=NOW - 60)},
            3,
            "RedisUnreachable",
            "Fallback",
            id="the fallback after a minute without Redis, from zero too",
        ),
        pytest.param(
            {"problem": AWAY, "fallback": {"replicas": 3}, "remembered": memory(away_s=NOW - 59)},
            0,
            "RedisUnreachable",
            None,
            id="no fallback before",
        ),
        pytest.param(
            {"problem": AWAY, "fallback": {"replicas": 3}, "current": 3, "remembered": memory(away_s=NOW - 99)},
            3,
            "RedisUnreachable",
            "Fallback",
            id="the fallback is told as long as it holds the number",
        ),
        pytest.param(
            {"problem": AWAY, "fallback": {"replicas": 3}, "current": 5, "remembered": memory(away_s=NOW - 99)},
            5,
            "RedisUnreachable",
            None,
            id="the fallback takes none away",
        ),
        pytest.param({"waiting": 15, "current": None}, 1, "ScalingUp", None, id="a missing Deployment counts as none"),
        pytest.param(
            {"remembered": memory(crons=KnownCrons()), "current": 0},
            1,
            "ScalingUp",
            None,
            id="a worker of new settings is started to tell its cron jobs",
        ),
        pytest.param(
            {"remembered": memory(crons=KnownCrons(TEMPLATE, NOW + 19))}, 1, "ScalingUp", None, id="a cron run is near"
        ),
        pytest.param(
            {"remembered": memory(crons=KnownCrons(TEMPLATE, NOW + 21))},
            0,
            "Idle",
            None,
            id="a cron run is not near yet",
        ),
    ],
)
def test_the_number_of_workers(
    given_state: dict[str, Any], replicas: int | None, reason: str, limit: str | None
) -> None:
    decision = decide_replicas(state(**{"remembered": memory(), **given_state}), NOW)

    assert (decision.replicas, decision.reason, decision.limit) == (replicas, reason, limit)
    assert decision.message


@pytest.mark.parametrize(
    ("given_state", "replicas", "retired", "limit"),
    [
        pytest.param(workers(3), 3, {"w0", "w1", "w2"}, "BusyWorkers", id="idle workers are retired first"),
        pytest.param({"current": 3}, 0, set(), None, id="pods that were not made yet go at once"),
        pytest.param(
            {**workers(3, retiring=3), "remembered": memory(retire=tuple((f"w{n}", NOW - 2) for n in range(3)))},
            0,
            {"w0", "w1", "w2"},
            None,
            id="those that have heeded it and run nothing go",
        ),
        pytest.param(
            {**workers(3, busy=1, retiring=3), "running": 3},
            3,
            {"w1", "w2"},
            "BusyWorkers",
            id="those that run a job stay until it has ended",
        ),
        pytest.param({"running": 1, "current": 3}, 1, set(), None, id="a running job keeps one"),
        pytest.param({**workers(3), "min_replicas": 1}, 3, {"w1", "w2"}, "MinReplicas", id="down to the floor"),
        pytest.param(
            {**workers(3), "remembered": memory(enough=((NOW - 10, 3),))},
            3,
            set(),
            "Stabilization",
            id="three were wanted within the stabilization, so three stay",
        ),
        pytest.param(
            {**workers(5), "remembered": memory(enough=((NOW - 10, 2),))},
            5,
            {"w2", "w3", "w4"},
            "BusyWorkers",
            id="down to the most that was wanted within the stabilization",
        ),
        pytest.param({**workers(3), "since_s": None}, 3, set(), "Stabilization", id="a new leader takes none away"),
        pytest.param(
            {"current": 30, "since_s": None}, 10, set(), "Stabilization", id="but a lowered maximum holds at once"
        ),
        pytest.param(
            {**workers(3), "remembered": memory(worked_s=NOW - 59)},
            3,
            {"w1", "w2"},
            "Cooldown",
            id="the last one stays for the cool-down",
        ),
        pytest.param(
            {**workers(8), "scale_down": {"max_pods": 2}}, 8, {"w6", "w7"}, "ScaleDownLimit", id="two fewer at once"
        ),
        pytest.param(
            {**workers(3), "dry_run": True}, 3, {"w0", "w1", "w2"}, "DryRun", id="a dry run says what it would do"
        ),
        pytest.param({**workers(3), "waiting": 500}, 10, set(), "MaxReplicas", id="work calls the retired ones back"),
    ],
)
def test_workers_go_without_cutting_a_job(
    given_state: dict[str, Any], replicas: int, retired: set[str], limit: str | None
) -> None:
    newest_last = {"remembered": memory(), **given_state}
    decision = decide_replicas(state(**newest_last), NOW)

    assert (decision.replicas, decision.limit) == (replicas, limit)
    assert len(decision.retire) == len(retired)


def test_it_tells_its_inputs_and_terms() -> None:
    decision = decide_replicas(
        state(
            waiting=250,
            running=3,
            due_soon=2,
            next_due_s=4.0,
            oldest_wait_s=3.0,
            remembered=memory(learned=learned(per_s=2.0)),
            **workers(1, busy=3),
        ),
        NOW,
    )

    assert decision.inputs is not None
    assert (decision.inputs.waiting, decision.inputs.running, decision.inputs.due_soon) == (250, 3, 2)
    assert (decision.inputs.busy_slots, decision.inputs.slots) == (3, 10)
    assert (decision.inputs.arrivals_per_s, decision.inputs.service_s, decision.inputs.startup_s) == (2.0, 4.0, 10.0)
    assert [term.name for term in decision.terms] == ["Arrivals", "Backlog", "Deferred"]
    assert all(term.message for term in decision.terms)
    assert decision.message.startswith("250 waiting, 3 running, 2 due soon; Backlog")


def test_an_outage_begins_the_stabilization_anew() -> None:
    blind = decide_replicas(state(problem=AWAY, current=4, remembered=memory()), NOW)

    def at(later_s: float) -> int | None:
        after = state(current=4, cooldown="0s", remembered=blind.memory)
        return decide_replicas(replace(after, queue=QueueSnapshot(at_ms=0)), NOW + later_s).replicas

    assert (at(29), at(31)) == (4, 0)


def test_a_new_leader_begins_with_what_the_status_tells() -> None:
    inputs = ScalingInputs(
        waiting=0,
        running=0,
        due_soon=0,
        oldest_wait_seconds=0,
        arrivals_per_second=10,
        service_seconds=4,
        startup_seconds=20,
    )
    crons = CronStatus(template=TEMPLATE, next="2026-01-05T12:00:29Z")
    told = TaskQueueStatus(scaling=ScalingStatus(reason="Steady", message="", inputs=inputs, crons=crons))

    decision = decide_replicas(state(running=10, current=1, status=told), NOW)

    assert decision.replicas == 4
    assert decision.memory.crons == KnownCrons(TEMPLATE, NOW + 29)
    assert decision.inputs is not None
    assert decision.inputs.startup_s == 20


@pytest.mark.parametrize(
    ("ready_for_s", "limit"),
    [pytest.param(600, "ReadLimit", id="plain arq reads so far only")],
)
def test_plain_arq_is_scaled_by_jobs_as_far_as_it_reads(ready_for_s: float, limit: str) -> None:
    pods = (Pod("plain", NOW - ready_for_s - 9, NOW - ready_for_s),)

    few = decide_replicas(
        state(waiting=30, running=10, current=1, pods=pods, remembered=memory(learned=Learned())), NOW
    )
    many = decide_replicas(
        state(waiting=900, running=10, current=1, pods=pods, max_replicas=50, remembered=memory(learned=Learned())), NOW
    )

    assert (few.replicas, few.limit) == (4, None)
    assert (many.replicas, many.limit) == (10, limit)
