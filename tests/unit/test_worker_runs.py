"""What becomes of jobs, and the verdicts of the probes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from arq.worker import Retry, RetryJob

from arqube_queue.turns import Lease
from arqube_worker.health import Health
from arqube_worker.runs import Cause, Run, Verdict, verdict

LEASE = Lease("id", b"10000", 1, "us:1")
WISHES = (Retry, RetryJob)


@pytest.mark.parametrize(
    ("error", "cause", "expected", "without_retries"),
    [
        pytest.param(None, None, Verdict.SUCCEED, Verdict.SUCCEED, id="no error"),
        pytest.param(None, Cause.TIMEOUT, Verdict.SUCCEED, Verdict.SUCCEED, id="ended well as its time was up"),
        pytest.param(ValueError(), None, Verdict.FAIL, Verdict.FAIL, id="an error"),
        pytest.param(asyncio.CancelledError(), Cause.TIMEOUT, Verdict.FAIL, Verdict.FAIL, id="its time was up"),
        pytest.param(asyncio.CancelledError(), Cause.ABORT, Verdict.ABORT, Verdict.ABORT, id="it was aborted"),
        pytest.param(ValueError(), Cause.ABORT, Verdict.FAIL, Verdict.FAIL, id="it failed while it was aborted"),
        pytest.param(Retry(1), None, Verdict.RETRY, Verdict.FAIL, id="it asks for another try"),
        pytest.param(Retry(1), Cause.STOP, Verdict.RETRY, Verdict.FAIL, id="it asks for one as we stop"),
        pytest.param(RetryJob(), None, Verdict.AGAIN, Verdict.FAIL, id="it asks to run again"),
        pytest.param(asyncio.CancelledError(), None, Verdict.AGAIN, Verdict.FAIL, id="something cancelled it"),
        pytest.param(asyncio.CancelledError(), Cause.STOP, Verdict.RETURN, Verdict.FAIL, id="we stop"),
        pytest.param(ValueError(), Cause.STOP, Verdict.RETURN, Verdict.FAIL, id="a driver's error as we stop"),
        pytest.param(None, Cause.LEASE_LOST, Verdict.FORGET, Verdict.FORGET, id="another worker has it"),
        pytest.param(Retry(1), Cause.LEASE_LOST, Verdict.FORGET, Verdict.FORGET, id="another has it, whatever it asks"),
    ],
)
def test_what_becomes_of_a_job(
    error: BaseException | None, cause: Cause | None, expected: Verdict, without_retries: Verdict
) -> None:
    assert verdict(error, cause, retry_jobs=True, own_wish=WISHES) is expected
    assert verdict(error, cause, retry_jobs=False, own_wish=WISHES) is without_retries


def test_waits_and_durations_never_go_below_zero() -> None:
    """Producers' clocks may run ahead, and clocks may be set back."""
    assert Run(LEASE, started_at=9.0, ended_at=8.0).wait_s == 0
    assert Run(LEASE, started_at=9.0, ended_at=8.0).duration_s == 0
    assert Run(LEASE, started_at=10.5, ended_at=12.0).wait_s == 0.5
    assert Run(LEASE).wait_s is None
    assert Run(LEASE, started_at=10.5).duration_s is None


@pytest.mark.parametrize(
    ("busy", "stalled_s", "started", "alive"),
    [
        pytest.param(0, 59, True, True, id="an idle loop may be late"),
        pytest.param(0, 61, True, False, id="an idle loop that stands still is stuck"),
        pytest.param(1, 300, True, True, id="a job may block the loop as long as it may run"),
        pytest.param(1, 311, True, False, id="a job that blocks for longer is stuck"),
        pytest.param(0, 900, False, True, id="a start-up may block as long as it likes"),
    ],
)
def test_when_a_worker_counts_as_alive(busy: int, stalled_s: float, started: bool, alive: bool) -> None:
    health = Health(longest_run_s=310, loop_turned_at=1000.0, busy=busy, started=started)
    assert (health.not_alive(1000.0 + stalled_s) is None) is alive


@pytest.mark.parametrize(
    ("events", "alive"),
    [
        pytest.param((), True, id="nothing was refused"),
        pytest.param((("denied", 0),), True, id="a password that is refused may be on its way"),
        pytest.param((("denied", 0), ("denied", 29)), True, id="for half a minute"),
        pytest.param((("denied", 0), ("denied", 31)), False, id="then only a new container reads the Secret anew"),
        pytest.param((("denied", 0), ("refused", 31)), True, id="another refusal says nothing of the password"),
        pytest.param((("denied", 0), ("answered", 20), ("denied", 31)), True, id="an answer begins it anew"),
    ],
)
def test_when_a_refused_password_ends_a_worker(
    events: tuple[tuple[str, float], ...], alive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    health = Health(longest_run_s=310, loop_turned_at=1000.0, started=True)
    at = 1000.0
    for event, after_s in events:
        at = 1000.0 + after_s
        monkeypatch.setattr(time, "monotonic", lambda at=at: at)
        if event == "answered":
            health.redis_answered("a turn")
        else:
            health.redis_failed("a turn", "no", denied=event == "denied")
    health.loop_turned_at = at
    assert (health.not_alive(at) is None) is alive


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        pytest.param({}, None, id="all is well"),
        pytest.param({"draining": True}, "draining", id="it drains"),
        pytest.param({"redis_answered_at": None}, "not connected", id="Redis has never answered"),
        pytest.param({"redis_problems": {"a turn": ""}}, "has not answered for 1 s", id="the last call failed"),
        pytest.param({"redis_problems": {"a turn": "OOM"}}, "refuses: OOM", id="Redis is out of memory"),
        pytest.param({"refused_at": 998.0, "refusal": "OOM"}, "refuses: OOM", id="Redis refused a moment ago"),
        pytest.param({"refused_at": 995.0, "refusal": "OOM"}, None, id="Redis has not refused for a while"),
        pytest.param({"redis_answered_at": 980.0}, "has not answered for 20 s", id="Redis has been silent"),
        pytest.param({"started": False}, "on_startup is running", id="it starts up"),
    ],
)
def test_when_a_worker_counts_as_ready(facts: dict[str, Any], reason: str | None) -> None:
    health = Health(**{"longest_run_s": 310, "loop_turned_at": 0, "started": True, "redis_answered_at": 999.0, **facts})
    found = health.not_ready(1000.0)
    assert found == reason if reason is None else reason in (found or "")
