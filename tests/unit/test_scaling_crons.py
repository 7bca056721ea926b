"""When a pod must be up for a cron run: never a missed one, from zero and over restarts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arqube_operator.decide.scaling.crons import MARGIN_S, KnownCrons, cron_is_near, learn_crons, template_hash
from arqube_operator.decide.state import Pod
from arqube_queue.model import Heartbeat, QueueSnapshot

NOW = 1_767_614_400.0
TEMPLATE = template_hash("app:1", "app.WorkerSettings")
NONE = KnownCrons(TEMPLATE)
OF_OLD = KnownCrons("old", NOW + 99)


def pod(name: str = "a", ready_for_s: float | None = 60, **changes: Any) -> Pod:
    ready_s = None if ready_for_s is None else NOW - ready_for_s
    return replace(Pod(name, NOW - 100, ready_s, template="new"), **changes)


def beat(name: str = "a", **due_in_s: float) -> Heartbeat:
    runs = {cron: int((NOW + seconds) * 1000) for cron, seconds in due_in_s.items()}
    return Heartbeat(name, int(NOW * 1000), 0, 5, cron_runs=runs)


@pytest.mark.parametrize(
    ("known", "pods", "beats", "expected"),
    [
        pytest.param(OF_OLD, (), (), OF_OLD, id="without pods nothing is learned"),
        pytest.param(OF_OLD, (pod(),), (beat(),), NONE, id="a worker without cron jobs"),
        pytest.param(
            OF_OLD, (pod(),), (beat(nightly=90, hourly=30),), KnownCrons(TEMPLATE, NOW + 30), id="the first of them"
        ),
        pytest.param(
            KnownCrons(TEMPLATE, NOW - 1),
            (pod(),),
            (beat(hourly=3600),),
            KnownCrons(TEMPLATE, NOW + 3600),
            id="the next one",
        ),
        pytest.param(OF_OLD, (pod(ready_for_s=4),), (beat(),), OF_OLD, id="runs are told a moment after the start"),
        pytest.param(OF_OLD, (pod(ready_for_s=None),), (), OF_OLD, id="a pod that starts tells nothing yet"),
        pytest.param(OF_OLD, (pod(ready_for_s=10),), (), OF_OLD, id="a heartbeat may come late"),
        pytest.param(OF_OLD, (pod(ready_for_s=31),), (), NONE, id="plain arq tells nothing"),
        pytest.param(OF_OLD, (pod(),), (beat("laptop", hourly=9),), NONE, id="a worker of others tells nothing"),
        pytest.param(
            OF_OLD,
            (pod("gone", created_s=NOW - 500, template="old"), pod(ready_for_s=None)),
            (beat("gone", hourly=30),),
            OF_OLD,
            id="in a rollout the old workers tell of the old settings",
        ),
    ],
)
def test_the_next_run_is_learned(
    known: KnownCrons, pods: tuple[Pod, ...], beats: tuple[Heartbeat, ...], expected: KnownCrons
) -> None:
    snapshot = QueueSnapshot(int(NOW * 1000), heartbeats=beats)

    assert learn_crons(known, TEMPLATE, pods, snapshot, NOW) == expected


@pytest.mark.parametrize(
    ("known", "near"),
    [
        pytest.param(KnownCrons(), True, id="workers that never ran must tell"),
        pytest.param(OF_OLD, True, id="new settings may have others"),
        pytest.param(NONE, False, id="there are none"),
        pytest.param(KnownCrons(TEMPLATE, NOW + 25 + MARGIN_S + 1), False, id="not yet"),
        pytest.param(KnownCrons(TEMPLATE, NOW + 25 + MARGIN_S), True, id="in a start-up and the margin"),
        pytest.param(KnownCrons(TEMPLATE, NOW - 60), True, id="until a worker tells of the next"),
    ],
)
def test_a_pod_is_there_in_time(known: KnownCrons, near: bool) -> None:
    assert cron_is_near(known, TEMPLATE, 25, NOW) == near
