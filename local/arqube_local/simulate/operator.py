"""The operator on the simulated cluster: its real ``decide``, on a State made of the model, and what it plans, done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from arqube_local.simulate.kubernetes import Pod
from arqube_local.simulate.world import World
from arqube_operator.api.v1alpha1 import TaskQueueSpec, TaskQueueStatus
from arqube_operator.decide import state as seen
from arqube_operator.decide.manifest import SPEC_HASH_ANNOTATION
from arqube_operator.decide.plan import Plan, decide
from arqube_queue.model import QueueSnapshot

START_UNIX_S: Final = 1_767_571_200.0
"""Monday 2026-01-05 at 00:00 UTC: what decide takes the simulation's start for."""
TICK_S: Final = 1.0
BEAT_S: Final = 1.0
_BEAT_BEFORE_TICK_S: Final = 0.5
_RUNTIME_IMAGE: Final = "arqube-worker"
_IDENTITY: Final = seen.Identity("simulated", "default", "simulated", 1)


class Operator:
    """Decides each tick and carries out the plan."""

    def __init__(self, spec: TaskQueueSpec, tick_s: float = TICK_S) -> None:
        self.grace_s = spec.shutdown.timeout_s
        self._spec = spec
        self._tick_s = tick_s
        self._status = TaskQueueStatus()
        self._memory = seen.Memory()
        self._spec_hash: str | None = None
        self._generation = 0
        self._retire: frozenset[str] = frozenset()
        self._world: World

    def start(self, world: World) -> None:
        """Tick, and let the workers write heartbeats."""
        self._world = world
        world.engine.every(BEAT_S, self._beat, BEAT_S - _BEAT_BEFORE_TICK_S)
        world.engine.every(self._tick_s, self._tick)

    def _beat(self) -> None:
        crons = {name: int((START_UNIX_S + due_s) * 1000) for name, due_s in self._world.cron_due_s.items()}
        self._world.fleet.beat(int((START_UNIX_S + self._world.engine.now) * 1000), crons)

    def _tick(self) -> None:
        self._world.fleet.marks = self._retire
        self._carry_out(decide(self._observe(), START_UNIX_S + self._world.engine.now))

    def _observe(self) -> seen.State:
        deployment = self._world.deployment
        state = seen.State(
            identity=_IDENTITY,
            spec=self._spec,
            status=self._status,
            runtime_image=_RUNTIME_IMAGE,
            deployment=None
            if self._spec_hash is None
            else seen.Deployment(
                spec_hash=self._spec_hash,
                generation=self._generation,
                spec_replicas=deployment.replicas,
                replicas=deployment.status_replicas,
                ready_replicas=deployment.ready,
                updated_replicas=deployment.status_replicas,
            ),
            pods=tuple(_pod(pod) for pod in deployment.pods),
            memory=self._memory,
        )
        return replace(state, queue=self._snapshot(state.startup_s))

    def _snapshot(self, horizon_s: float) -> QueueSnapshot:
        queue, now = self._world.queue, self._world.engine.now
        workers = self._world.fleet.workers.values()
        return QueueSnapshot(
            at_ms=int((START_UNIX_S + now) * 1000),
            waiting=queue.waiting,
            running=queue.running,
            deferred=queue.deferred,
            due_soon=queue.due_soon(now, horizon_s),
            oldest_wait_s=queue.oldest_wait_s(now),
            next_due_s=queue.next_due_s(now),
            heartbeats=tuple(worker.heartbeat for worker in workers if worker.heartbeat is not None),
        )

    def _carry_out(self, plan: Plan) -> None:
        deployment = self._world.deployment
        if plan.apply is not None:
            annotated: dict[str, Any] = plan.apply["metadata"]["annotations"]
            if annotated[SPEC_HASH_ANNOTATION] != self._spec_hash:
                self._spec_hash = annotated[SPEC_HASH_ANNOTATION]
                self._generation += 1
        if plan.deletion_costs:
            for pod in deployment.pods:
                pod.deletion_cost = plan.deletion_costs.get(pod.name, pod.deletion_cost)
        if plan.create:
            deployment.create(plan.replicas or 0)
        elif plan.replicas is not None and plan.replicas != deployment.replicas:
            deployment.scale(plan.replicas)
            self._generation += 1
        if plan.status is not None:
            self._status = plan.status
        self._retire = plan.retire
        self._memory = replace(plan.memory, applied_generation=self._generation)


def _pod(pod: Pod) -> seen.Pod:
    """As Kubernetes tells it: times in whole seconds."""
    return seen.Pod(
        name=pod.name,
        created_s=START_UNIX_S + int(pod.created_s),
        ready_s=None if pod.ready_s is None else START_UNIX_S + int(pod.ready_s),
        terminating=pod.terminating,
        deletion_cost=pod.deletion_cost,
    )
