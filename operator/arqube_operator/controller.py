"""The reconcile loop: for each TaskQueue that was woken, observe, decide, execute. Nothing else writes.

Level-triggered: a pass stands on what is, so that a lost event, a restart or a new leader changes nothing but the time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import structlog

from arqube_operator.api.v1alpha1 import TaskQueueSpec
from arqube_operator.decide.plan import Plan, decide, show_only
from arqube_operator.decide.rest import does_nothing
from arqube_operator.decide.state import COUNTS_INTERVAL_S, Deployment, Memory, Problem, State
from arqube_operator.decide.status import invalid_status
from arqube_operator.execute.executor import Executor, Outcome
from arqube_operator.kube.client import ApiError
from arqube_operator.metrics import Metrics
from arqube_operator.observe.addresses import AddressResolver
from arqube_operator.observe.cluster import ClusterCache, Key
from arqube_operator.observe.objects import KnownTaskQueue
from arqube_operator.observe.queues import QueueObserver, Reading
from arqube_operator.rests import Rests
from arqube_operator.workqueue import WorkQueue
from arqube_queue.snapshot import SnapshotQuery

WORKERS: Final = 8
"""TaskQueues reconciled at the same time: enough that a slow API call does not hold up the others."""
URGENT_WORKERS: Final = 4
"""Those beside them for queues that jobs have just come to, while the others have thousands to look at."""
COUNTS_PER_S: Final = 100
"""TaskQueues whose counts are written in a second, at most: with many of them each waits longer for the API server."""
RETRY_UNREAD_S: Final = 5.0
"""Pause between looks at TaskQueues whose Redis address cannot be made, such as for want of a Secret."""

_REFUSED: Final = (400, 403, 404, 405, 409, 413, 415, 422)
"""Answers that say the request itself is wrong; the others say that the API server is in trouble."""

_OF_ANOTHER_TYPE: Final = "failed to create typed patch object"
"""How a server-side apply refuses a field of another type, such as a map for a list: with the status 500."""

log = structlog.get_logger(__name__)


class Controller:
    """Reconciles the keys of ``queue`` with what ``cache`` and ``queues`` hold."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        cache: ClusterCache,
        queues: QueueObserver,
        addresses: AddressResolver,
        executor: Executor,
        metrics: Metrics,
        runtime_image: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._queue = queue
        self._cache = cache
        self._queues = queues
        self._addresses = addresses
        self._executor = executor
        self._metrics = metrics
        self._runtime_image = runtime_image
        self._clock = clock
        self._memories: dict[Key, tuple[str, Memory]] = {}
        self._unread: set[Key] = set()
        self._rests = Rests()
        self._with_work: set[Key] = set()

    def read(self, key: Key, reading: Reading) -> None:
        """Wake ``key`` for a new reading of its queue, unless it rests and that tells nothing new."""
        if reading.has_work:
            # Jobs where there were none cannot wait; while there are some, this is one look of many.
            self._queue.add(key, urgent=key not in self._with_work)
            self._with_work.add(key)
        else:
            self._with_work.discard(key)
            if not self._rests.covers(key, reading, self._clock()):
                self._queue.add(key)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._retry_unread())
            for number in range(WORKERS + URGENT_WORKERS):
                group.create_task(self._work(urgent=number < URGENT_WORKERS))

    async def _retry_unread(self) -> None:
        """Look again at TaskQueues without an address: no reading of Redis wakes them."""
        while True:
            await asyncio.sleep(RETRY_UNREAD_S)
            for key in self._unread:
                self._queue.add(key)

    async def _work(self, *, urgent: bool) -> None:
        while True:
            key = await self._queue.get(urgent=urgent)
            try:
                with self._metrics.reconciling():
                    await self.reconcile(key)
            except ApiError as error:
                pause = self._queue.failed(key, error.retry_after_s)
                self._metrics.failed("api")
                log.warning("reconcile.failed", task_queue=str(key), error=str(error), retry_in_s=pause)
            except Exception:
                # A defect of ours in one TaskQueue must not stop the others.
                pause = self._queue.failed(key)
                self._metrics.failed("defect")
                log.exception("reconcile.defect", task_queue=str(key), retry_in_s=pause)
            else:
                self._queue.done(key)

    async def reconcile(self, key: Key) -> None:
        """One pass for one TaskQueue.

        Raises:
            ApiError: The API server refused or failed; what it refused for good is remembered and shown.
        """
        known = self._cache.task_queue(key)
        if known is None or known.deleting:
            self._forget(key)
            return
        if known.spec is None:
            await self._refuse(key, known)
            return
        state = await self._observe(key, known, known.spec)
        if state.queue is None and state.redis_problem is None and state.deployment is not None:
            return  # The first reading wakes it; until then what the leader before has written stands.
        now = self._clock()
        plan = decide(state, now)
        if plan.memory.retire is not None:
            self._queues.retire(key, state.identity.uid, plan.retire)
        self._metrics.decided(key, state, plan)
        await self._execute(key, state, lambda: known.live_status, plan)
        if does_nothing(plan):
            self._rests.begin(key, replace(state, memory=self._memories[key][1]), now)

    async def _refuse(self, key: Key, known: KnownTaskQueue) -> None:
        """Show that the object cannot be understood: the CRD lets pass what this operator does not know."""
        self._queues.forget(key)
        self._metrics.forget(key)
        log.warning("task_queue.invalid", task_queue=str(key), error=known.problem)
        self._metrics.failed("invalid")
        live = known.live_status
        shown = {(condition["reason"], condition["message"]) for condition in live.get("conditions", ())}
        if ("InvalidSpec", known.problem) not in shown:
            status = invalid_status(known.identity, known.problem, self._clock())
            self._took(key, Outcome(task_queue=await self._executor.write_status(known.identity, live, status)))

    async def _observe(self, key: Key, known: KnownTaskQueue, spec: TaskQueueSpec) -> State:
        state = State(
            identity=known.identity,
            spec=spec,
            status=known.status,
            runtime_image=self._runtime_image,
            deployment=self._cache.deployment(key),
            pods=self._cache.pods(key),
            memory=self._memory(key, known.identity.uid),
            counts_interval_s=max(COUNTS_INTERVAL_S, len(self._memories) / COUNTS_PER_S),
        )
        address = await self._addresses.resolve(key.namespace, spec.redis)
        if isinstance(address, Problem):
            self._queues.forget(key)
            self._unread.add(key)
            reading = Reading(problem=address)
        else:
            self._unread.discard(key)
            memory = state.memory
            query = SnapshotQuery(
                spec.queue_name,
                horizon_s=state.startup_s,
                retiring=memory.retire or frozenset(),
                # Until it has decided a new leader leaves the marks of the last one as they are.
                owner="" if memory.retire is None else known.identity.uid,
                workers=_workers(state.deployment),
            )
            reading = self._queues.watch(key, address, query)
        return replace(state, queue=reading.snapshot, redis_problem=reading.problem)

    async def _execute(self, key: Key, state: State, live_status: Callable[[], Mapping[str, Any]], plan: Plan) -> None:
        uid = state.identity.uid
        # A write that fails does not count as made.
        unwritten = replace(
            plan.memory, applied_s=state.memory.applied_s, status_s=state.memory.status_s, leaving=state.memory.leaving
        )
        # Counted from our own answers, never read from the cache: that may hold somebody else's change already.
        generation = state.memory.applied_generation
        if generation is None and state.deployment is not None:
            generation = state.deployment.generation

        def took(outcome: Outcome) -> None:
            nonlocal generation
            if outcome.deployment is not None:
                generation = outcome.deployment["metadata"]["generation"]
            if outcome.scale is not None and generation is not None:
                generation += 1
            self._took(key, outcome)

        try:
            await self._executor.execute(state.identity, live_status, plan, took)
        except ApiError as error:
            if error.status == 404 and self._cache.task_queue(key) is None:
                return  # Deleted while we wrote.
            failed = replace(unwritten, applied_generation=generation, rejection=_rejection(error))
            self._memories[key] = (uid, failed)
            await self._show_failure(key, replace(state, memory=failed), live_status)
            raise
        self._memories[key] = (uid, replace(plan.memory, applied_generation=generation, rejection=None))

    async def _show_failure(self, key: Key, state: State, live_status: Callable[[], Mapping[str, Any]]) -> None:
        """Tell in the status why a write failed, as far as the API server takes that."""
        plan = decide(state, self._clock())
        try:
            await self._executor.execute(state.identity, live_status, show_only(plan), partial(self._took, key))
        except ApiError as error:
            log.info("status.not_written", task_queue=str(key), error=str(error))

    def _took(self, key: Key, outcome: Outcome) -> None:
        if outcome.deployment is not None:
            self._cache.put_deployment(outcome.deployment)
        if outcome.scale is not None:
            self._cache.put_scale(key, outcome.scale)
        if outcome.task_queue is not None:
            self._cache.put_task_queue(outcome.task_queue, written=True)

    def _memory(self, key: Key, uid: str) -> Memory:
        """What is remembered of this object; one of the same name that was made anew starts afresh."""
        known_uid, memory = self._memories.get(key, (uid, Memory()))
        if known_uid != uid:
            self._rests.forget(key)
            return Memory()
        self._memories[key] = uid, self._rests.end(key, memory)
        return self._memories[key][1]

    def _forget(self, key: Key) -> None:
        self._memories.pop(key, None)
        self._rests.forget(key)
        self._with_work.discard(key)
        self._unread.discard(key)
        self._queues.forget(key)
        self._queue.forget(key)
        self._metrics.forget(key)


def _workers(live: Deployment | None) -> tuple[int, int]:
    return (live.spec_replicas, live.ready_replicas) if live else (0, 0)


def _rejection(error: ApiError) -> Problem:
    if error.status in _REFUSED or error.message.startswith(_OF_ANOTHER_TYPE):
        return Problem("ApiRefused", f"Kubernetes refuses what was asked for: {error.message}")
    return Problem("ApiFailed", f"Kubernetes does not answer as it should: {error.message}")
