"""Workers on asyncio's loop, and on uvloop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from arq.connections import ArqRedis

from arqube_queue import environment as env
from arqube_worker.loops import loop_maker
from arqube_worker.settings import SettingsError


@pytest.mark.parametrize(
    ("variables", "module"),
    [
        pytest.param({}, "asyncio.unix_events", id="asyncio's by default, although uvloop is installed"),
        pytest.param({env.UVLOOP: "true"}, "uvloop", id="uvloop's where it is asked for"),
    ],
)
async def test_jobs_run_on_the_loop_that_is_asked_for(
    start_worker: Callable[..., Any], arq_client: ArqRedis, variables: dict[str, str], module: str, eventually: Any
) -> None:
    worker = start_worker(module="loop_settings", settings="Settings", environment=variables)
    asked = await arq_client.enqueue_job("which_loop")
    late = await arq_client.enqueue_job("hasty", 30)
    assert asked is not None
    assert late is not None
    assert await asked.result(timeout=20, poll_delay=0.02) == module
    with pytest.raises(TimeoutError):
        await late.result(timeout=20, poll_delay=0.02)
    in_flight = await arq_client.enqueue_job("hold_until", "go")
    assert in_flight is not None
    await eventually(lambda: len(worker.logged("job started")) == 3)
    worker.signal()
    await eventually(lambda: bool(worker.logged("draining")))
    await arq_client.set("go", 1)
    assert await in_flight.result(timeout=20, poll_delay=0.02) == 1
    assert await worker.exit_code() == 0


@pytest.mark.parametrize("value", ["yes", "1"])
def test_a_bad_value_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match=f"{env.UVLOOP} must be true or false, not '{value}'"):
        loop_maker({env.UVLOOP: value})


def test_a_missing_uvloop_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(SettingsError, match=r"install it .* or remove the variable"):
        loop_maker({env.UVLOOP: "true"})
