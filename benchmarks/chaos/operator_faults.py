"""What befalls the operators: kill -9, SIGTERM, standing still, a lost Lease, and wall clocks that jump."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from arqube_operator.kube.client import LEASES
from benchmarks.chaos.clocks import Clock
from benchmarks.chaos.faults import Catalogue, Explains, NothingToStrikeError, Part, Victims
from benchmarks.chaos.insist import insist
from benchmarks.chaos.operators import Operator
from benchmarks.chaos.queues import MANAGER, NAMESPACE
from benchmarks.chaos.stage import Stage

LEASE: Final = "arqube-operator"
LEASE_S: Final = 10.0
"""Of the operator's leadership, by default."""
NEXT_S: Final = 30.0
"""By when another operator leads; one is promised within 15 s."""
LONGEST_STEP_S: Final = 600

OPERATOR_FAULTS: Final = Catalogue()


async def leader(stage: Stage) -> Operator:
    """The operator that holds the Lease.

    Raises:
        NothingToStrikeError: None does that runs.
    """
    lease = await insist(lambda: stage.kube.get(LEASES, NAMESPACE, LEASE)) or {}
    holder = lease.get("spec", {}).get("holderIdentity")
    for operator in stage.operators:
        if operator.name == holder and operator.pid is not None:
            return operator
    raise NothingToStrikeError("no operator leads just now")


async def another_leads(stage: Stage, before: Operator) -> None:
    """Wait until an operator other than ``before`` leads.

    Raises:
        TimeoutError: None does in time.
    """
    deadline = time.monotonic() + NEXT_S
    while time.monotonic() < deadline:
        with suppress(NothingToStrikeError):
            if await leader(stage) is not before:
                return
        await asyncio.sleep(0.1)
    raise TimeoutError(f"{NEXT_S:g} s after {before.name} was struck no other operator leads")


def send(operator: Operator, number: signal.Signals) -> None:
    """Send a signal to it, if it runs."""
    if operator.pid is not None:
        with suppress(ProcessLookupError):
            os.kill(operator.pid, number)


@OPERATOR_FAULTS.fault("operator: kill -9 of the leader", Part.OPERATOR, Explains.NOTHING, weight=3)
async def killed(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """It is gone at once, with the Lease in its hand."""
    struck = await leader(stage)
    send(struck, signal.SIGKILL)
    yield ()


@OPERATOR_FAULTS.fault("operator: kill -9 of all", Part.OPERATOR, Explains.NOTHING)
async def all_killed(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Nobody acts until one is back."""
    for operator in stage.operators:
        send(operator, signal.SIGKILL)
    yield ()


@OPERATOR_FAULTS.fault("operator: SIGTERM of the leader", Part.OPERATOR, Explains.NOTHING, weight=2)
async def terminated(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """It hands over the Lease before it ends."""
    struck = await leader(stage)
    send(struck, signal.SIGTERM)
    yield ()


@OPERATOR_FAULTS.fault(
    "operator: SIGSTOP of the leader, shorter than its lease", Part.OPERATOR, Explains.NOTHING, lasts_s=(0.5, 6.0)
)
async def paused(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """It goes on as if nothing had been."""
    struck = await leader(stage)
    send(struck, signal.SIGSTOP)
    try:
        yield ()
    finally:
        send(struck, signal.SIGCONT)


@OPERATOR_FAULTS.fault(
    "operator: SIGSTOP of the leader, longer than its lease",
    Part.OPERATOR,
    Explains.NOTHING,
    lasts_s=(LEASE_S + 2, LEASE_S + 6),
)
async def stopped(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Another leads meanwhile; when it goes on it must not write what it was about to."""
    struck = await leader(stage)
    send(struck, signal.SIGSTOP)
    try:
        yield ()
        await another_leads(stage, struck)
    finally:
        send(struck, signal.SIGCONT)


@OPERATOR_FAULTS.fault("operator: Lease taken", Part.OPERATOR, Explains.NOTHING)
async def deposed(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Somebody else holds it for a second: the leader must stop at once, and one of them take over later."""
    await leader(stage)
    spec = {"holderIdentity": "stranger", "leaseDurationSeconds": 1}
    body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": {"name": LEASE}, "spec": spec}
    await insist(lambda: stage.kube.apply(LEASES, NAMESPACE, LEASE, body, field_manager=MANAGER))
    yield ()


@OPERATOR_FAULTS.fault("operator: Lease deleted", Part.OPERATOR, Explains.NOTHING)
async def lease_deleted(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Whoever comes first makes a new one."""
    await insist(lambda: stage.kube.delete(LEASES, NAMESPACE, LEASE), settled=(404,))
    yield ()


@OPERATOR_FAULTS.fault("operator: wall clock jumps", Part.OPERATOR, Explains.NOTHING, lasts_s=(3.0, 12.0), weight=2)
async def clock_steps(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """By up to ten minutes, ahead or back, and later back to the true time."""
    struck = await leader(stage)
    clock = Clock(stage.folder, struck.name)
    clock.step(chance.choice((-1, 1)) * chance.randrange(60, LONGEST_STEP_S))
    try:
        yield ()
    finally:
        clock.step(0)
