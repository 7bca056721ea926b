"""``spec.scaling``: its targets, its defaults and the windows of its schedules."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from arqube_operator.api.v1alpha1 import Fallback, ScaleLimits, ScalingSpec, Schedule


def read(**fields: Any) -> ScalingSpec:
    return ScalingSpec.model_validate(fields)


@pytest.mark.parametrize(
    ("scaling", "max_wait_s", "jobs_per_replica"),
    [
        pytest.param(read(), 30.0, None, id="30 s unless anything is said"),
        pytest.param(read(maxWait="1m30s"), 90.0, None, id="the wait that is said"),
        pytest.param(read(jobsPerReplica=20), None, 20, id="no wait beside jobs for each pod"),
    ],
)
def test_there_is_one_target(scaling: ScalingSpec, max_wait_s: float | None, jobs_per_replica: int | None) -> None:
    assert scaling.max_wait_s == max_wait_s
    assert scaling.jobs_per_replica == jobs_per_replica


def test_durations_are_told_in_seconds() -> None:
    scaling = read(
        cooldown="2m",
        scaleUp={"stabilization": "3s", "period": "1m"},
        fallback={"replicas": 3, "after": "90s"},
        schedules=[{"name": "a", "start": "0 8 * * *", "duration": "10h", "minReplicas": 1}],
    )
    assert (scaling.cooldown_s, scaling.scale_up.stabilization_s, scaling.scale_up.period_s) == (120.0, 3.0, 60.0)
    assert scaling.fallback is not None
    assert (scaling.fallback.after_s, scaling.schedules[0].duration_s) == (90.0, 36_000.0)


def test_up_goes_at_once_and_down_waits_unless_told_otherwise() -> None:
    scaling = read(scaleUp={"maxPods": 4}, scaleDown={"maxPercent": 10})
    assert isinstance(scaling.scale_down, ScaleLimits)
    assert (scaling.scale_up.stabilization_s, scaling.scale_down.stabilization_s) == (0.0, 30.0)
    assert (scaling.scale_up.max_pods, scaling.scale_up.max_percent) == (4, None)
    assert (scaling.scale_down.max_pods, scaling.scale_down.max_percent) == (None, 10)
    assert (scaling.scale_up.period_s, scaling.scale_down.period_s) == (15.0, 15.0)


def test_what_is_optional_is_off() -> None:
    scaling = read()
    assert (scaling.paused, scaling.fallback, scaling.schedules, scaling.dry_run) == (None, None, (), False)
    assert (scaling.activation_jobs, scaling.tolerance) == (0, 10)
    assert Fallback(replicas=1).after_s == 60.0


OFFICE = Schedule(name="office", start="0 8 * * 1-5", duration="10h", time_zone="Europe/Berlin", min_replicas=5)
ALWAYS = Schedule(name="always", start="0 * * * *", duration="2h", min_replicas=1)


@pytest.mark.parametrize(
    ("schedule", "now", "is_open"),
    [
        pytest.param(OFFICE, "2026-11-24T06:59:59", False, id="a second before it opens"),
        pytest.param(OFFICE, "2026-11-24T07:00:00", True, id="it opens"),
        pytest.param(OFFICE, "2026-11-24T16:59:59", True, id="its last second"),
        pytest.param(OFFICE, "2026-11-24T17:00:00", False, id="it is over"),
        pytest.param(OFFICE, "2026-11-22T12:00:00", False, id="a Sunday"),
        pytest.param(OFFICE, "2026-07-01T06:00:00", True, id="in summer the clock is an hour ahead"),
        pytest.param(ALWAYS, "2026-11-24T12:30:00", True, id="windows that overlap"),
    ],
)
def test_a_schedule_is_open_from_its_start_until_before_its_end(schedule: Schedule, now: str, is_open: bool) -> None:
    assert schedule.is_open(datetime.fromisoformat(now).replace(tzinfo=UTC).timestamp()) is is_open


def test_a_schedule_tells_when_it_opens_next() -> None:
    friday = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
    assert OFFICE.next_start(friday) == datetime(2026, 11, 30, 7, tzinfo=UTC).timestamp()
