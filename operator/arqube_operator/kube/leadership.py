"""Leader election by a ``coordination.k8s.io`` Lease: at most one of several replicas acts at a time.

The protocol is that of client-go's ``tools/leaderelection``. A candidate never compares the Lease's times with its own
clock: it takes the Lease over when the record has not changed for the Lease's duration by its own monotonic clock. A
leader stops acting when it could not renew for ``renew_deadline_s``, before anybody could take over. One that stops in
order empties the Lease, and the next candidate takes it at its next look.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from arqube_operator.kube.client import LEASES, ApiError, KubeClient

FIELD_MANAGER: Final = "arqube-operator"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """How fast leadership changes hands, in seconds.

    Attributes:
        lease_s: A Lease that was not renewed for so long may be taken over.
        renew_deadline_s: A leader that could not renew for so long stops acting; less than ``lease_s``.
        renew_s: Pause between renewals.
        retry_s: Pause between a candidate's looks.
    """

    lease_s: float = 10.0
    renew_deadline_s: float = 7.0
    renew_s: float = 2.0
    retry_s: float = 1.0


class LeaderElector:
    """Stands for leader in the name of ``identity`` and runs work while it leads.

    Args:
        client: Of the API server that holds the Lease.
        namespace: Of the Lease.
        name: Of the Lease.
        identity: Told from the other candidates' by being unique, such as the pod's name.
        timing: Of the hand-over.
        monotonic: Seconds of a clock that never steps.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        timing: Timing = Timing(),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing
        self._monotonic = monotonic
        self._seen: tuple[dict[str, Any], float] | None = None
        self._renewed_at = -math.inf
        self.is_leading = False

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` whenever we lead, cancel it when we no longer do, for ever.

        An error of ``work`` ends it all and is raised; the Lease is given up in either case.
        """
        while True:
            await self._acquire()
            task = asyncio.ensure_future(work())
            renewal = asyncio.create_task(self._keep_renewed(), name="renew lease")
            try:
                await asyncio.wait({task, renewal}, return_when=asyncio.FIRST_COMPLETED)
                if task.done():
                    return task.result()
                log.warning("leadership.lost", identity=self._identity)
            finally:
                # Whoever reads this flag may act only while it is set: it goes before the work has ended.
                self.is_leading = False
                for each in (renewal, task):
                    each.cancel()
                await asyncio.gather(renewal, task, return_exceptions=True)
                await self._release()

    async def _acquire(self) -> None:
        while True:
            if await self._try():
                self.is_leading = True
                return
            await asyncio.sleep(self._timing.retry_s)

    async def _keep_renewed(self) -> None:
        """Renew until that has failed for too long."""
        while True:
            left_s = self._renewed_at + self._timing.renew_deadline_s - self._monotonic()
            if left_s <= 0:
                return
            await asyncio.sleep(min(self._timing.renew_s, left_s))
            try:
                left_s = self._renewed_at + self._timing.renew_deadline_s - self._monotonic()
                async with asyncio.timeout(max(0.0, left_s)):
                    if not await self._try() and self._held_by_other():
                        return
            except TimeoutError:
                return

    async def _try(self) -> bool:
        """Take or renew the Lease; whether it is ours now. A failure of the API counts as not."""
        asked_at = self._monotonic()
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
            if lease is None:
                body = self._lease(None)
                lease = await self._client.create(LEASES, self._namespace, body, field_manager=FIELD_MANAGER)
            elif self._may_take(lease):
                body = self._lease(lease)
                lease = await self._client.replace(
                    LEASES, self._namespace, self._name, body, field_manager=FIELD_MANAGER
                )
            else:
                return False
        except ApiError as error:
            if error.status != 409:  # Another candidate was faster.
                log.warning("lease.failed", error=str(error))
            return False
        self._note(lease)
        # From when we asked: the server may have written at any moment since, and the Lease runs from then.
        self._renewed_at = asked_at
        return True

    def _may_take(self, lease: dict[str, Any]) -> bool:
        self._note(lease)
        spec = lease.get("spec", {})
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        assert self._seen is not None  # noqa: S101 - noted above
        lease_s: float = spec.get("leaseDurationSeconds", self._timing.lease_s)
        return self._monotonic() - self._seen[1] > lease_s

    def _note(self, lease: dict[str, Any]) -> None:
        """Remember the record, and since when it has been so."""
        spec = lease.get("spec", {})
        if self._seen is None or self._seen[0] != spec:
            self._seen = (spec, self._monotonic())

    def _held_by_other(self) -> bool:
        holder = self._seen[0].get("holderIdentity") if self._seen else None
        return bool(holder) and holder != self._identity

    def _lease(self, current: dict[str, Any] | None) -> dict[str, Any]:
        """The Lease in our name, from the ``current`` one, whose resourceVersion makes a race a 409."""
        metadata = {"name": self._name, "namespace": self._namespace}
        spec = dict(current.get("spec", {})) if current else {}
        now = _microtime()
        if spec.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = spec.get("leaseTransitions", -1) + 1
        spec |= {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": math.ceil(self._timing.lease_s),
            "renewTime": now,
        }
        kind = {"apiVersion": LEASES.api_version, "kind": LEASES.kind}
        return {**kind, "metadata": current["metadata"] if current else metadata, "spec": spec}

    async def _release(self) -> None:
        """Empty the Lease if it is still ours, so that nobody has to wait for its end."""
        try:
            lease = await self._client.get(LEASES, self._namespace, self._name)
            if lease is None or lease.get("spec", {}).get("holderIdentity") != self._identity:
                return
            spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _microtime()}
            body = {**lease, "spec": spec}
            await self._client.replace(LEASES, self._namespace, self._name, body, field_manager=FIELD_MANAGER)
        except ApiError as error:
            log.warning("lease.not_released", error=str(error))


def _microtime() -> str:
    """Now as ``metav1.MicroTime`` is written: RFC 3339 in UTC with microseconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
