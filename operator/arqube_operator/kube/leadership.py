"""Leader election on a ``coordination.k8s.io/v1`` Lease: of several replicas one acts at a time.

The protocol is client-go's (tools/leaderelection), so the Lease reads as any other. Clocks of different machines are
never compared: a standby waits until the record has stood unchanged for the lease's duration by its own monotonic
clock, and a leader that cannot renew stops a margin before that by its own. A leader that stops empties the record.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from arqube_operator.kube.client import LEASES, ApiError, KubeClient

FIELD_MANAGER: Final = "arqube-operator"
RELEASE_TIMEOUT_S: Final = 2.0
"""Seconds a leader that stops spends on handing over; after them a standby waits for the lease to run out."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Observation:
    """A Lease's ``spec`` and since when, by the local monotonic clock in seconds, it has been seen as it is."""

    spec: Mapping[str, Any]
    since: float

    def updated(self, spec: Mapping[str, Any], now: float) -> Observation:
        """What is known after ``spec`` was seen at ``now``."""
        return self if spec == self.spec else Observation(spec, now)

    def free_to(self, identity: str, now: float) -> bool:
        """Whether ``identity`` may take the Lease: nobody or itself holds it, or its holder gave no sign for long."""
        holder = self.spec.get("holderIdentity")
        duration_s = self.spec.get("leaseDurationSeconds") or 0
        return not holder or holder == identity or now - self.since >= duration_s


class LeaderElector:
    """Stands for leader under ``identity``, which must be unique to this process.

    Args:
        client: Of the API server that keeps the Lease.
        namespace: Of the Lease.
        name: Of the Lease; it is made where there is none.
        identity: Who we are in the Lease, such as the pod's name.
        lease_duration_s: Whole seconds after its last sign until a leader may be replaced.
        renew_interval_s: Seconds between a leader's signs of life.
        retry_interval_s: Seconds between a standby's looks at the Lease, and a leader's tries after a failure.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        identity: str,
        *,
        lease_duration_s: int = 10,
        renew_interval_s: float = 2.0,
        retry_interval_s: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < 2 * renew_interval_s < lease_duration_s:
            raise ValueError("lease_duration_s must be more than twice renew_interval_s: one late renewal is normal")
        self.identity = identity
        self._client = client
        self._namespace = namespace
        self._name = name
        self._duration_s = lease_duration_s
        # What is left of the lease when we give up is the time that the work has to stop.
        self._deadline_s = lease_duration_s - renew_interval_s
        self._renew_interval_s = renew_interval_s
        self._retry_interval_s = retry_interval_s
        self._clock = clock
        self._seen = Observation({}, -math.inf)
        self._held: dict[str, Any] | None = None
        self._renewed_at = -math.inf
        self._api_fails = False

    @property
    def is_leading(self) -> bool:
        """Whether we hold the Lease, and may act."""
        return self._held is not None and self._clock() < self._renewed_at + self._deadline_s

    @property
    def leader(self) -> str | None:
        """Who holds the Lease, as far as we have seen; None when nobody does."""
        return self._seen.spec.get("holderIdentity") or None

    async def lead(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run ``work`` whenever we lead, and cancel it when we no longer do; return or raise when it does.

        When we are cancelled ourselves, ``work`` is cancelled and awaited before the Lease is released.
        """
        while True:
            if not await self._try_to_take():
                await asyncio.sleep(self._retry_interval_s)
                continue
            try:
                if await self._work_while_leading(work):
                    return
            finally:
                await self._release()

    async def _work_while_leading(self, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether ``work`` came to its end; otherwise leadership was lost."""
        working = asyncio.ensure_future(work())
        renewing = asyncio.create_task(self._renew_until_lost(), name="leader election")
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
                return True
            await renewing
            return False
        finally:
            # The Lease is renewed until the work has stopped: what cleans up still acts.
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def _renew_until_lost(self) -> None:
        pause_s = self._renew_interval_s
        while (left_s := self._renewed_at + self._deadline_s - self._clock()) > 0:
            await asyncio.sleep(min(pause_s, left_s))
            if await self._try_to_take():
                pause_s = self._renew_interval_s
            elif self._held is None:
                break
            else:
                pause_s = self._retry_interval_s
        log.warning("leader_election.lost", identity=self.identity, holder=self._seen.spec.get("holderIdentity"))

    async def _try_to_take(self) -> bool:
        """Take or renew the Lease if that is ours to do; whether we did."""
        # Counted from before the first request: the server's clock of our lease starts later than ours.
        asked_at = self._clock()
        left_s = self._renewed_at + self._deadline_s - asked_at if self._held else self._deadline_s
        try:
            async with asyncio.timeout(max(0.0, left_s)):
                lease = await self._client.get(LEASES, self._namespace, self._name)
                self._seen = self._seen.updated((lease or {}).get("spec") or {}, self._clock())
                if not self._seen.free_to(self.identity, self._clock()):
                    self._held = None
                    return False
                taken = await self._write(lease, self._claim())
        except ApiError as error:
            self._note_failure(error)
            return False
        except TimeoutError as error:
            self._note_failure(error)
            return False
        if self._held is None:
            log.info("leader_election.won", identity=self.identity)
        self._held, self._renewed_at, self._api_fails = taken, asked_at, False
        return True

    async def _release(self) -> None:
        """Let a standby take over at once, if the Lease is ours to give."""
        lease, self._held = self._held, None
        if lease is None:
            return
        now = _microtime()
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": now, "acquireTime": now}
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._write(lease, spec)
        except (ApiError, TimeoutError) as error:
            # Also where another took it meanwhile: the resourceVersion keeps us from emptying theirs.
            log.warning("leader_election.not_released", identity=self.identity, error=str(error))
        else:
            log.info("leader_election.released", identity=self.identity)

    async def _write(self, lease: Mapping[str, Any] | None, spec: Mapping[str, Any]) -> dict[str, Any]:
        body = {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": {"name": self._name}}
        if lease is None:
            body = {**body, "spec": spec}
            return await self._client.create(LEASES, self._namespace, body, field_manager=FIELD_MANAGER)
        # With the resourceVersion that was read: of two who see a free Lease one is told 409.
        changed = {**lease, **body, "metadata": lease["metadata"], "spec": spec}
        return await self._client.replace(LEASES, self._namespace, self._name, changed, field_manager=FIELD_MANAGER)

    def _claim(self) -> dict[str, Any]:
        spec, now = self._seen.spec, _microtime()
        ours = spec.get("holderIdentity") == self.identity
        return {
            **spec,
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._duration_s,
            "acquireTime": spec["acquireTime"] if ours and "acquireTime" in spec else now,
            "renewTime": now,
            "leaseTransitions": (spec.get("leaseTransitions") or 0) + (0 if ours or not spec else 1),
        }

    def _note_failure(self, error: Exception) -> None:
        if isinstance(error, ApiError) and error.status == 409:
            return  # Another replica was faster; the next look shows who.
        if not self._api_fails:
            log.warning("leader_election.api_failed", identity=self.identity, error=str(error) or "no answer in time")
        self._api_fails = True


def _microtime() -> str:
    """The time as ``metav1.MicroTime`` has it: RFC 3339 in UTC with six digits of a second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
