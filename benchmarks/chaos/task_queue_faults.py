"""What people and foreign controllers do to TaskQueues and their Deployments while jobs run."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from arqube_operator.kube.client import DEPLOYMENTS, TASK_QUEUES
from benchmarks.chaos.faults import GOING_S, Catalogue, Explains, NothingToStrikeError, Part, Victims
from benchmarks.chaos.insist import insist
from benchmarks.chaos.queues import NAMESPACE, Queue
from benchmarks.chaos.stage import Stage

PERSON: Final = "chaos-person"
"""The field manager of edits."""
FOREIGN: Final = "chaos-foreign"
"""That of a controller which takes the Deployments for its own."""
FIGHT_S: Final = 0.3
"""Between two writes of it."""

TASK_QUEUE_FAULTS: Final = Catalogue()


async def edit(stage: Stage, queue: Queue, spec: Mapping[str, Any]) -> None:
    """Set fields of the TaskQueue's spec; its others stay."""
    body = {
        "apiVersion": TASK_QUEUES.api_version,
        "kind": TASK_QUEUES.kind,
        "metadata": {"name": queue.name},
        "spec": dict(spec),
    }
    # 404: it is being deleted and made anew by another blow.
    await insist(
        lambda: stage.kube.apply(TASK_QUEUES, NAMESPACE, queue.name, body, field_manager=PERSON), settled=(404, 422)
    )


@asynccontextmanager
async def edited(stage: Stage, queue: Queue, **scaling: Any) -> AsyncIterator[None]:
    """Set fields of ``spec.scaling`` within the block, and take them out of this hand afterwards."""
    first = stage.manifest(queue)["spec"]["scaling"]
    await edit(stage, queue, {"scaling": scaling})
    try:
        yield
    finally:
        # Fields that the first manifest does not have go as their manager lets go of them.
        await edit(stage, queue, {"scaling": {name: first[name] for name in scaling if name in first}})


@TASK_QUEUE_FAULTS.fault("task queue: new image", Part.TASK_QUEUES, Explains.VICTIMS, lingers_s=GOING_S, weight=3)
async def new_image(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """A rolling update: old pods drain as new ones come."""
    queue = chance.choice(stage.queues)
    await edit(stage, queue, {"worker": {"image": f"chaos:{chance.randrange(10**6)}"}})
    yield (queue.name,)


@TASK_QUEUE_FAULTS.fault("task queue: new concurrency", Part.TASK_QUEUES, Explains.VICTIMS, lingers_s=GOING_S)
async def new_concurrency(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """A rolling update that changes what a worker can do."""
    queue = chance.choice(stage.queues)
    await edit(stage, queue, {"worker": {"concurrency": max(1, queue.concurrency + chance.randrange(-5, 6))}})
    yield (queue.name,)


@TASK_QUEUE_FAULTS.fault("task queue: bounds", Part.TASK_QUEUES, Explains.NOTHING, lasts_s=(2.0, 8.0), weight=2)
async def bounds(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Fewer or more workers are allowed, or as many as there are at most are always wanted."""
    queue = chance.choice(stage.queues)
    least, most = chance.choice(((0, 1), (1, 1), (queue.most, queue.most), (queue.least, queue.most + 1)))
    async with edited(stage, queue, minReplicas=least, maxReplicas=most):
        yield ()


@TASK_QUEUE_FAULTS.fault("task queue: paused", Part.TASK_QUEUES, Explains.NOTHING, lasts_s=(2.0, 8.0))
async def scaling_paused(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Scaling is held, up, down or both."""
    queue = chance.choice(stage.queues)
    async with edited(stage, queue, paused=chance.choice(("All", "Up", "Down"))):
        yield ()


@TASK_QUEUE_FAULTS.fault("task queue: another target", Part.TASK_QUEUES, Explains.NOTHING, lasts_s=(2.0, 8.0))
async def target(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Jobs may wait longer or shorter."""
    queue = chance.choice(stage.queues)
    async with edited(stage, queue, maxWait=f"{chance.choice((1, 5, 60, 600))}s"):
        yield ()


@TASK_QUEUE_FAULTS.fault(
    "task queue: kubectl scale", Part.TASK_QUEUES, Explains.VICTIMS, lingers_s=GOING_S, lasts_s=(2.0, 8.0)
)
async def scaled(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """A person asks for a number of workers, which holds until it is taken back, and may cut jobs at once."""
    queue = chance.choice(stage.queues)
    await edit(stage, queue, {"replicas": chance.randrange(queue.most + 1)})
    try:
        yield (queue.name,)
    finally:
        await edit(stage, queue, {})


@TASK_QUEUE_FAULTS.fault(
    "task queue: deleted and made anew", Part.TASK_QUEUES, Explains.VICTIMS, lingers_s=GOING_S, weight=2
)
async def made_anew(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """At once, under the same name: nothing of the old one may be taken for the new one's."""
    queue = chance.choice(stage.queues)
    await delete(stage, queue)
    await insist(lambda: stage.apply(queue))
    yield (queue.name,)


@TASK_QUEUE_FAULTS.fault(
    "task queue: deleted, and made anew later",
    Part.TASK_QUEUES,
    Explains.VICTIMS,
    lingers_s=GOING_S,
    lasts_s=(1.0, 8.0),
)
async def away(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Its jobs wait meanwhile."""
    queue = chance.choice(stage.queues)
    await delete(stage, queue)
    try:
        yield (queue.name,)
    finally:
        await insist(lambda: stage.apply(queue))


async def delete(stage: Stage, queue: Queue) -> None:
    """Delete the TaskQueue, with what it owns."""
    await insist(lambda: stage.kube.delete(TASK_QUEUES, NAMESPACE, queue.name), settled=(404,))


@TASK_QUEUE_FAULTS.fault("deployment: deleted", Part.TASK_QUEUES, Explains.VICTIMS, lingers_s=GOING_S, weight=2)
async def deployment_deleted(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """By a stranger, with its pods."""
    queue = chance.choice(stage.queues)
    await insist(lambda: stage.kube.delete(DEPLOYMENTS, NAMESPACE, f"{queue.name}-worker"), settled=(404,))
    yield (queue.name,)


@TASK_QUEUE_FAULTS.fault("deployment: kubectl scale", Part.TASK_QUEUES, Explains.VICTIMS, lingers_s=GOING_S, weight=2)
async def deployment_scaled(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """A stranger sets the number of pods, past the operator, which sets it back."""
    queue = chance.choice(stage.queues)
    number = chance.randrange(queue.most + 2)
    await insist(
        lambda: stage.kube.scale(DEPLOYMENTS, NAMESPACE, f"{queue.name}-worker", number, field_manager=FOREIGN),
        settled=(404,),
    )
    yield (queue.name,)


@TASK_QUEUE_FAULTS.fault(
    "deployment: fought over", Part.TASK_QUEUES, Explains.VICTIMS, lingers_s=GOING_S, lasts_s=(2.0, 5.0)
)
async def fought_over(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """A foreign controller sets image, labels and number again and again; pods come and go with each.

    The operator sets them back each time, and has the last word.
    """
    queue = chance.choice(stage.queues)
    if not any(worker.queue == queue.name for worker in await insist(stage.workers) or []):
        raise NothingToStrikeError("no worker runs")
    fighting = asyncio.create_task(_fight(stage, f"{queue.name}-worker", chance))
    try:
        yield (queue.name,)
    finally:
        fighting.cancel()
        await asyncio.gather(fighting, return_exceptions=True)


async def _fight(stage: Stage, name: str, chance: random.Random) -> None:
    while True:
        container = {"name": "worker", "image": f"foreign:{chance.randrange(3)}"}
        body = {
            "apiVersion": DEPLOYMENTS.api_version,
            "kind": DEPLOYMENTS.kind,
            "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "foreign"}},
            "spec": {"replicas": chance.randrange(4), "template": {"spec": {"containers": [container]}}},
        }
        # Only while there is one: an apply would make it.
        if await insist(lambda: stage.kube.get(DEPLOYMENTS, NAMESPACE, name)) is not None:
            await insist(
                partial(stage.kube.apply, DEPLOYMENTS, NAMESPACE, name, body, field_manager=FOREIGN),
                settled=(404, 409, 422),
            )
        await asyncio.sleep(FIGHT_S)
