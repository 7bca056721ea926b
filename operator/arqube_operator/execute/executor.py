"""Carries out a plan in the order that is safe: Deployment, deletion costs, scale, status, Events.

``spec.replicas`` belongs to the scaler alone. A Deployment is made by the scaler's field manager, so that it begins
with the right number, then applied by the operator's without that field; from then on ``/scale`` writes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from arqube_operator.api.v1alpha1 import TaskQueueStatus
from arqube_operator.decide.manifest import DELETION_COST_ANNOTATION, deployment_name
from arqube_operator.decide.plan import Plan
from arqube_operator.decide.state import Identity
from arqube_operator.execute.events import EventPoster
from arqube_operator.kube.client import DEPLOYMENTS, PODS, TASK_QUEUES, ApiError, KubeClient

OPERATOR: Final = "arqube-operator"
SCALER: Final = "arqube-scaler"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the API server answered to a write: the newest Deployment, its Scale, or the TaskQueue."""

    deployment: Mapping[str, Any] | None = None
    scale: Mapping[str, Any] | None = None
    task_queue: Mapping[str, Any] | None = None


class Executor:
    """Writes plans through ``client``."""

    def __init__(self, client: KubeClient, events: EventPoster) -> None:
        self._client = client
        self._events = events

    async def find(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The TaskQueue of that name as it is now, whatever a cache holds; None where there is none.

        Raises:
            ApiError: The request was refused or could not be made.
        """
        return await self._client.get(TASK_QUEUES, namespace, name)

    async def execute(
        self,
        identity: Identity,
        live_status: Callable[[], Mapping[str, Any]],
        plan: Plan,
        took: Callable[[Outcome], None],
    ) -> None:
        """Carry out ``plan``; ``took`` hears of each write that was taken, also when a later one fails.

        ``live_status`` makes the status as it stands, which most plans leave.

        Raises:
            ApiError: A write was refused or could not be made; the steps after it were left.
        """
        name = deployment_name(identity.name)
        if plan.apply is not None:
            body = await (
                self._create(identity, name, plan) if plan.create else self._apply(identity, name, plan.apply)
            )
            took(Outcome(deployment=body))
        if plan.replicas is not None and not plan.create:
            await self._write_deletion_costs(identity, plan.deletion_costs)
            scale = await self._client.scale(DEPLOYMENTS, identity.namespace, name, plan.replicas, field_manager=SCALER)
            took(Outcome(scale=scale))
        self._events.post(identity, *plan.deeds)
        if plan.status is not None:
            took(Outcome(task_queue=await self.write_status(identity, live_status(), plan.status)))
        self._events.post(identity, *plan.transitions)

    async def write_status(
        self, identity: Identity, live: Mapping[str, Any], status: TaskQueueStatus
    ) -> dict[str, Any]:
        """Turn the ``live`` status into ``status``; the TaskQueue as it then is.

        Raises:
            ApiError: The write was refused or could not be made.
        """
        patch = merge_patch(live, status.to_object())
        return await self._client.patch_status(
            TASK_QUEUES, identity.namespace, identity.name, patch, field_manager=OPERATOR
        )

    async def _apply(self, identity: Identity, name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return await self._client.apply(DEPLOYMENTS, identity.namespace, name, dict(manifest), field_manager=OPERATOR)

    async def _create(self, identity: Identity, name: str, plan: Plan) -> dict[str, Any]:
        manifest = dict(plan.apply or {})
        replicas = {"replicas": plan.replicas or 0}
        whole = {**manifest, "spec": {**manifest["spec"], **replicas}}
        await self._client.apply(DEPLOYMENTS, identity.namespace, name, whole, field_manager=SCALER)
        await self._apply(identity, name, manifest)
        # The scaler lets go of all but the number, so that a field we drop later is really dropped.
        only = {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "metadata": {"name": name, "namespace": identity.namespace},
            "spec": replicas,
        }
        return await self._client.apply(DEPLOYMENTS, identity.namespace, name, only, field_manager=SCALER)

    async def _write_deletion_costs(self, identity: Identity, costs: Mapping[str, int]) -> None:
        for pod, cost in costs.items():
            metadata = {"annotations": {DELETION_COST_ANNOTATION: str(cost)}}
            try:
                await self._client.patch_metadata(PODS, identity.namespace, pod, metadata, field_manager=SCALER)
            except ApiError as error:
                if error.status != 404:  # A pod that has gone meanwhile costs nothing.
                    raise


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that turns ``old`` into ``new``."""
    patch: dict[str, Any] = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        present = old.get(name)
        if present == value:
            continue
        patch[name] = (
            merge_patch(present, value) if isinstance(present, Mapping) and isinstance(value, Mapping) else value
        )
    return patch
