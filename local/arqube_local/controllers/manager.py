"""Run the Deployment and ReplicaSet controllers: watches wake a pass, and a pass reads everything afresh.

Reading afresh costs little against an API server of this machine and spares the bookkeeping ("expectations") by which
kube-controller-manager survives its own stale caches.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import structlog

from arqube_local.controllers.objects import (
    REVISION_ANNOTATION,
    deployment_status,
    key,
    new_pod,
    new_replica_set,
    owned,
    pod_of,
    replica_set_of,
    replica_set_status,
    rollout_of,
    status_of,
)
from arqube_local.controllers.replicas import PodState, plan_replicas
from arqube_local.controllers.rollout import ReplicaSetState, RolloutPlan, conditions, plan_rollout, rollout_status
from arqube_local.follow import follow
from arqube_operator.kube.client import DEPLOYMENTS, PODS, ApiError, KubeClient, Resource

REPLICA_SETS: Final = Resource("apps/v1", "replicasets", "ReplicaSet")

FIELD_MANAGER: Final = "arqube-controllers"
COALESCE_S: Final = 0.05
"""Changes within this time share one pass."""
RESYNC_S: Final = 5.0
"""A pass without any change: for deadlines, and for what a lost watch event would hide."""
RETRY_S: Final = 0.5

log = structlog.get_logger(__name__)


class ControllerManager:
    """Both controllers over all namespaces; run by :meth:`run` until cancelled."""

    def __init__(self, client: KubeClient, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._clock = clock
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for resource in (DEPLOYMENTS, REPLICA_SETS, PODS):
                tasks.create_task(
                    follow(self._client, resource, lambda _: self._wake.set(), lambda _kind, _object: self._wake.set())
                )
            tasks.create_task(self._passes())

    async def _passes(self) -> None:
        pause = RESYNC_S
        while True:
            # Not wait_for: before Python 3.12 it swallows a cancellation that meets the event.
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()
                    await asyncio.sleep(COALESCE_S)
            self._wake.clear()
            pause = await self._reconcile()

    async def _reconcile(self) -> float:
        """One pass over everything; the seconds after which to pass again if nothing changes."""
        try:
            deployments, _ = await self._client.list(DEPLOYMENTS, None)
            replica_sets, _ = await self._client.list(REPLICA_SETS, None)
            pods, _ = await self._client.list(PODS, None)
        except ApiError as error:
            log.warning("list_failed", error=str(error))
            return RETRY_S
        pause = RESYNC_S
        states: dict[str, ReplicaSetState] = {}
        now = self._clock()
        # Pods first, by sizes read before them: a size about to change is at most one pass old.
        for replica_set in replica_sets:
            its_pods = tuple(pod_of(pod) for pod in owned(pods, replica_set))
            state = states[replica_set["metadata"]["uid"]] = replica_set_of(replica_set, its_pods, now)
            went_through = await self._attempt(replica_set, self._reconcile_replica_set(replica_set, state, its_pods))
            if not went_through or state.available < state.ready:  # minReadySeconds pass without any event
                pause = RETRY_S
        for deployment in deployments:
            its_states = tuple(states[each["metadata"]["uid"]] for each in owned(replica_sets, deployment))
            if not await self._attempt(deployment, self._reconcile_deployment(deployment, its_states)):
                pause = RETRY_S
        return pause

    async def _attempt(self, resource: dict[str, Any], work: Awaitable[None]) -> bool:
        """Whether ``work`` went through; one object's failure must not hold up the others."""
        try:
            await work
        except ApiError as error:
            # 404 and 409: it went or changed since it was listed, and that change has woken the next pass.
            if error.status not in (404, 409):
                log.warning("reconcile_failed", kind=resource["kind"], object=key(resource), error=str(error))
            return False
        except Exception:
            # The API server of a laptop holds no schemas of built-in kinds: a manifest may be anything.
            log.exception("reconcile_failed", kind=resource["kind"], object=key(resource))
            return False
        return True

    async def _reconcile_replica_set(
        self, replica_set: dict[str, Any], state: ReplicaSetState, pods: tuple[PodState, ...]
    ) -> None:
        namespace, name = key(replica_set)
        if "deletionTimestamp" not in replica_set["metadata"]:
            plan = plan_replicas(state.desired, pods)
            for victim in plan.delete:
                await self._client.delete(PODS, namespace, victim)
            for _ in range(plan.create):
                await self._client.create(PODS, namespace, new_pod(replica_set), field_manager=FIELD_MANAGER)
        status = replica_set_status(replica_set, state)
        if status != {field: replica_set.get("status", {}).get(field) for field in status}:
            await self._client.patch_status(REPLICA_SETS, namespace, name, status, field_manager=FIELD_MANAGER)

    async def _reconcile_deployment(self, deployment: dict[str, Any], states: tuple[ReplicaSetState, ...]) -> None:
        namespace, name = key(deployment)
        rollout = rollout_of(deployment)
        if "deletionTimestamp" not in deployment["metadata"]:
            await self._execute(deployment, plan_rollout(rollout, states), states)
        before, previous = status_of(deployment)
        counts = rollout_status(rollout, states)
        status = deployment_status(
            deployment, counts, conditions(rollout, name, before, counts, previous, self._clock())
        )
        if status != {field: deployment.get("status", {}).get(field) for field in status}:
            await self._client.patch_status(DEPLOYMENTS, namespace, name, status, field_manager=FIELD_MANAGER)

    async def _execute(
        self, deployment: dict[str, Any], plan: RolloutPlan, states: tuple[ReplicaSetState, ...]
    ) -> None:
        namespace, name = key(deployment)
        if plan.create is not None:
            body = new_replica_set(deployment, plan.create, plan.revision)
            await self._client.create(REPLICA_SETS, namespace, body, field_manager=FIELD_MANAGER)
        for replica_set, size in plan.resize:
            await self._client.scale(REPLICA_SETS, namespace, replica_set, size, field_manager=FIELD_MANAGER)
        for replica_set in plan.remove:
            await self._client.delete(REPLICA_SETS, namespace, replica_set)
        revision = {"annotations": {REVISION_ANNOTATION: str(plan.revision)}}
        digest = rollout_of(deployment).template_hash
        for state in states:
            if state.template_hash == digest and state.revision != plan.revision:
                await self._client.patch_metadata(
                    REPLICA_SETS, namespace, state.name, revision, field_manager=FIELD_MANAGER
                )
        if deployment["metadata"].get("annotations", {}).get(REVISION_ANNOTATION) != str(plan.revision):
            await self._client.patch_metadata(DEPLOYMENTS, namespace, name, revision, field_manager=FIELD_MANAGER)
