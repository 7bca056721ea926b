"""Leader election on a Lease: one acts, a stopped leader hands over at once, a dead one is replaced."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from arqube_operator.kube.client import LEASES, ApiError, KubeClient
from arqube_operator.kube.leadership import LeaderElector

LEASE_S = 2
QUICK = {"lease_duration_s": LEASE_S, "renew_interval_s": 0.4, "retry_interval_s": 0.1}

Eventually = Callable[..., Awaitable[Any]]


class Line:
    """A client that can be cut off from its server."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self.cut = False
        self.calls = 0

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        if self.cut:
            raise ApiError(0, "Unreachable", "the line is cut")
        return getattr(self._client, name)


class Replica:
    """One that stands for leader, and the times at which it began and ceased to act."""

    def __init__(self, api: Any, namespace: str, name: str, times: dict[str, Any]) -> None:
        self.line = Line(api.client)
        self.elector = LeaderElector(self.line, namespace, "lease", name, **times)  # type: ignore[arg-type]
        self.acting = False
        self.began: list[float] = []
        self.ended: list[float] = []
        self.task = asyncio.create_task(self.elector.lead(self.act))

    async def act(self) -> None:
        self.acting = True
        self.began.append(now())
        try:
            await asyncio.Event().wait()
        finally:
            self.acting = False
            self.ended.append(now())

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def now() -> float:
    return asyncio.get_running_loop().time()


Start = Callable[..., Replica]


@pytest.fixture
async def start(api: Any, namespace: str) -> AsyncIterator[Start]:
    replicas: list[Replica] = []

    def one(name: str, times: dict[str, Any] = QUICK) -> Replica:
        replicas.append(Replica(api, namespace, name, times))
        return replicas[-1]

    yield one
    for replica in replicas:
        await replica.stop()


@asynccontextmanager
async def standing_by(api: Any, namespace: str, eventually: Eventually, start: Start) -> AsyncIterator[list[Replica]]:
    """The leader ``a`` and the standby ``b``, which has seen that ``a`` leads."""
    leader = start("a")
    await eventually(lambda: leader.acting)
    standby = start("b")
    await eventually(lambda: standby.line.calls > 1)
    yield [leader, standby]


async def spec_of(api: Any, namespace: str) -> dict[str, Any]:
    spec: dict[str, Any] = (await api.client.get(LEASES, namespace, "lease"))["spec"]
    return spec


async def test_of_two_one_acts_and_the_lease_says_who(
    api: Any, namespace: str, eventually: Eventually, start: Start
) -> None:
    replicas = [start("a"), start("b")]
    await eventually(lambda: any(each.acting for each in replicas))
    (leader,) = [each for each in replicas if each.acting]
    first = await spec_of(api, namespace)

    async def renewed() -> bool:
        return (await spec_of(api, namespace))["renewTime"] > first["renewTime"]

    await eventually(renewed)
    await asyncio.wait({each.task for each in replicas}, timeout=1.5 * LEASE_S)
    assert [each.acting for each in replicas].count(True) == 1, "a live leader is not replaced"
    assert leader.elector.is_leading
    spec = await spec_of(api, namespace)
    assert spec["holderIdentity"] == leader.elector.identity
    assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (LEASE_S, 0)
    assert spec["acquireTime"] == first["acquireTime"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec["renewTime"])
    assert abs(datetime.fromisoformat(spec["renewTime"]) - datetime.now(UTC)) < timedelta(seconds=LEASE_S)


async def test_a_stopped_leader_hands_over_within_two_seconds(
    api: Any, namespace: str, eventually: Eventually, start: Start
) -> None:
    async with standing_by(api, namespace, eventually, start) as (leader, standby):
        await leader.stop()
        stopped_at = now()
        await eventually(lambda: standby.acting)
        assert standby.began[0] - stopped_at < min(2, LEASE_S / 2), "it did not wait for the lease to run out"
        assert leader.ended[0] <= standby.began[0]
        spec = await spec_of(api, namespace)
        assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("b", 1)


async def test_a_leader_that_is_cut_off_stops_acting_before_it_is_replaced(
    api: Any, namespace: str, eventually: Eventually, start: Start
) -> None:
    async with standing_by(api, namespace, eventually, start) as (leader, standby):
        cut_at = now()
        leader.line.cut = True
        await eventually(lambda: standby.acting)
        assert leader.ended, "both acted at once"
        assert leader.ended[0] < standby.began[0]
        assert leader.ended[0] - cut_at < LEASE_S
        assert standby.began[0] - cut_at < LEASE_S + 1, "lease and two looks"
        assert not leader.elector.is_leading
        leader.line.cut = False
        await standby.stop()
        await eventually(lambda: leader.acting)


async def test_with_the_usual_times_a_dead_leader_is_replaced_within_15_seconds(
    eventually: Eventually, start: Start
) -> None:
    leader = start("a", {})
    await eventually(lambda: leader.acting)
    standby = start("b", {})
    await eventually(lambda: standby.line.calls > 1)
    leader.line.cut = True
    await eventually(lambda: standby.acting, within_s=15)
    assert leader.ended[0] < standby.began[0]


async def test_a_leader_whose_lease_is_taken_stops(
    api: Any, namespace: str, eventually: Eventually, start: Start
) -> None:
    leader = start("a")
    await eventually(lambda: leader.acting)

    async def stolen() -> bool:
        lease = await api.client.get(LEASES, namespace, "lease")
        lease["spec"]["holderIdentity"] = "thief"
        try:
            await api.client.replace(LEASES, namespace, "lease", lease, field_manager="t")
        except ApiError:  # The leader renewed it in between.
            return False
        return True

    await eventually(stolen)
    await eventually(lambda: not leader.acting, within_s=LEASE_S)
    assert (await spec_of(api, namespace))["holderIdentity"] == "thief", "what is another's is not released"


async def test_what_the_work_cleans_up_is_done_before_the_lease_is_free(api: Any, namespace: str) -> None:
    holders: list[str] = []
    acting = asyncio.Event()

    async def work() -> None:
        acting.set()
        try:
            await asyncio.Event().wait()
        finally:
            holders.append((await spec_of(api, namespace))["holderIdentity"])

    leading = asyncio.create_task(LeaderElector(api.client, namespace, "lease", "a", **QUICK).lead(work))  # type: ignore[arg-type]
    await acting.wait()
    leading.cancel()
    await asyncio.gather(leading, return_exceptions=True)
    holders.append((await spec_of(api, namespace))["holderIdentity"])
    assert holders == ["a", ""]


async def test_leading_ends_with_the_work_and_passes_its_error_on(api: Any, namespace: str) -> None:
    async def work() -> None:
        raise RuntimeError("broken")

    elector = LeaderElector(api.client, namespace, "lease", "a", **QUICK)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="broken"):
        await elector.lead(work)
    assert (await spec_of(api, namespace))["holderIdentity"] == ""
    assert not elector.is_leading


async def test_a_lease_that_was_made_empty_is_taken(api: Any, namespace: str) -> None:
    body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lease"}}
    await api.client.create(LEASES, namespace, body, field_manager="helm")
    done = asyncio.Event()

    async def work() -> None:
        done.set()

    await asyncio.wait_for(LeaderElector(api.client, namespace, "lease", "a", **QUICK).lead(work), 5)  # type: ignore[arg-type]
    assert done.is_set()
