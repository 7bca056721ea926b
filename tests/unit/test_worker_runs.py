"""Outcomes of runs, and the verdicts of the probes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from arq.jobs import DeserializationError
from arq.worker import JobExecutionFailed

from arqube_queue.claims import ClaimedJob
from arqube_worker.health import Health
from arqube_worker.runs import Outcome, Run, outcome_of_refusal, outcome_of_run

JOB = ClaimedJob("id", 10_000, 0, "us:1")


@pytest.mark.parametrize(
    ("error", "aborting", "final", "expected"),
    [
        pytest.param(None, False, True, Outcome.SUCCEEDED, id="no error"),
        pytest.param(ValueError(), False, True, Outcome.FAILED, id="an error"),
        pytest.param(asyncio.CancelledError(), False, True, Outcome.FAILED, id="cancelled by its timeout"),
        pytest.param(asyncio.CancelledError(), True, True, Outcome.ABORTED, id="cancelled as somebody aborted it"),
        pytest.param(ValueError(), True, True, Outcome.FAILED, id="failed while it was being aborted"),
        pytest.param(ValueError(), False, False, Outcome.RETRIED, id="left to run again"),
    ],
)
def test_outcome_of_a_run(error: BaseException | None, aborting: bool, final: bool, expected: Outcome) -> None:
    assert outcome_of_run(Run(JOB, error=error, aborting=aborting), final=final) is expected


@pytest.mark.parametrize(
    ("function", "refusal", "expected"),
    [
        pytest.param(None, JobExecutionFailed("job expired"), Outcome.EXPIRED, id="no payload"),
        pytest.param(None, DeserializationError(), Outcome.UNDECODABLE, id="a payload that cannot be read"),
        pytest.param("f", asyncio.CancelledError(), Outcome.ABORTED, id="aborted before its start"),
        pytest.param("g", JobExecutionFailed("not found"), Outcome.UNKNOWN_FUNCTION, id="a function not had here"),
        pytest.param("f", JobExecutionFailed("max"), Outcome.TRIES_EXHAUSTED, id="too many tries"),
    ],
)
def test_outcome_of_a_refusal(function: str | None, refusal: BaseException, expected: Outcome) -> None:
    assert outcome_of_refusal(Run(JOB, function=function, refusal=refusal), {"f"}) is expected


def test_waits_and_durations_never_go_below_zero() -> None:
    """Producers' clocks may run ahead, and clocks may be set back."""
    assert Run(JOB, started_at=9.0, ended_at=8.0).wait_s == 0
    assert Run(JOB, started_at=9.0, ended_at=8.0).duration_s == 0
    assert Run(JOB, started_at=10.5, ended_at=12.0).wait_s == 0.5
    assert Run(JOB).wait_s is None
    assert Run(JOB, started_at=10.5).duration_s is None


@pytest.mark.parametrize(
    ("busy", "stalled_s", "started", "alive"),
    [
        pytest.param(0, 59, True, True, id="an idle loop may be late"),
        pytest.param(0, 61, True, False, id="an idle loop that stands still is stuck"),
        pytest.param(1, 300, True, True, id="a job may block the loop while its lease stands"),
        pytest.param(1, 311, True, False, id="a job that blocks beyond its lease has lost it anyway"),
        pytest.param(0, 900, False, True, id="a start-up may block as long as it likes"),
    ],
)
def test_when_a_worker_counts_as_alive(busy: int, stalled_s: float, started: bool, alive: bool) -> None:
    health = Health(lease_s=310, loop_turned_at=1000.0, busy=busy, started=started)
    assert (health.not_alive(1000.0 + stalled_s) is None) is alive


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({}, None, id="all is well"),
        pytest.param({"draining": True}, "draining", id="it drains"),
        pytest.param({"redis_answered_at": None}, "not connected", id="Redis has never answered"),
        pytest.param({"redis_failing": True}, "has not answered for 1 s", id="the last call failed"),
        pytest.param({"redis_answered_at": 980.0}, "has not answered for 20 s", id="Redis has been silent"),
        pytest.param({"started": False}, "on_startup is running", id="it starts up"),
    ],
)
def test_when_a_worker_counts_as_ready(facts: dict[str, Any], reason: str | None) -> None:
    health = Health(**{"lease_s": 310, "loop_turned_at": 0, "started": True, "redis_answered_at": 999.0, **facts})
    found = health.not_ready(1000.0)
    assert found == reason if reason is None else reason in (found or "")
