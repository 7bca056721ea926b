"""What befalls the node: it dies with all its pods, and the wall clock of its processes jumps."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from arqube_operator.kube.client import PODS
from benchmarks.chaos.clocks import Clock
from benchmarks.chaos.faults import Catalogue, Explains, NothingToStrikeError, Part, Victims
from benchmarks.chaos.insist import insist
from benchmarks.chaos.operator_faults import LONGEST_STEP_S
from benchmarks.chaos.queues import MANAGER, NAMESPACE
from benchmarks.chaos.stage import Stage

SILENT_S: Final = 1.5
"""After which the pods of a node that tells nothing are found not ready."""

NODE_FAULTS: Final = Catalogue()


async def _everybody(stage: Stage) -> Victims:
    """All TaskQueues: an API server that was away does not know yet which processes there are."""
    if not await insist(stage.workers):
        raise NothingToStrikeError("no worker runs")
    return tuple(queue.name for queue in stage.queues)


@NODE_FAULTS.fault("node: dies and comes back", Part.NODE, Explains.VICTIMS, lasts_s=(1.0, 6.0))
async def power_cut(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """All workers are gone at once, and start again when it is back."""
    victims = await _everybody(stage)
    await stage.cluster.kubelet.die()
    try:
        yield victims
    finally:
        stage.cluster.kubelet.revive()


@NODE_FAULTS.fault("node: dies and its pods are evicted", Part.NODE, Explains.VICTIMS, lasts_s=(3.0, 8.0))
async def lost(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """All workers are gone at once. Kubernetes finds their pods not ready, then drops them; another node runs others.

    Real clusters take 40 s and five minutes for that.
    """
    victims = await _everybody(stage)
    pods, _ = await insist(lambda: stage.kube.list(PODS, NAMESPACE)) or ([], "")
    names = [pod["metadata"]["name"] for pod in pods]
    await stage.cluster.kubelet.die()
    finding = asyncio.create_task(_not_ready(stage, names))
    try:
        yield victims
    finally:
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)
        for name in names:
            await insist(partial(stage.kube.delete, PODS, NAMESPACE, name, grace_period_s=0), settled=(404,))
        stage.cluster.kubelet.revive()


async def _not_ready(stage: Stage, names: list[str]) -> None:
    """Find the pods of a node that has told nothing for a while not ready, as Kubernetes' node controller does."""
    await asyncio.sleep(SILENT_S)
    for name in names:
        await insist(partial(_find_not_ready, stage, name), settled=(404,))


async def _find_not_ready(stage: Stage, name: str) -> None:
    pod = await stage.kube.get(PODS, NAMESPACE, name) or {}
    others = [each for each in pod.get("status", {}).get("conditions", []) if each["type"] != "Ready"]
    unknown = {"type": "Ready", "status": "False", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting"}
    await stage.kube.patch_status(PODS, NAMESPACE, name, {"conditions": [*others, unknown]}, field_manager=MANAGER)


@NODE_FAULTS.fault("node: wall clock jumps", Part.NODE, Explains.NOTHING, lasts_s=(3.0, 12.0), weight=2)
async def clock_steps(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """By up to ten minutes, ahead or back, for the workers of one TaskQueue, and later back to the true time."""
    clock = Clock(stage.folder, chance.choice(stage.queues).name)
    clock.step(chance.choice((-1, 1)) * chance.randrange(60, LONGEST_STEP_S))
    try:
        yield ()
    finally:
        clock.step(0)
