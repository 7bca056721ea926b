"""The reconcile loop: for each TaskQueue that was woken, observe, decide, execute. Nothing else writes.

Level-triggered: a pass stands on what is, so that a lost event, a restart or a new leader changes nothing but the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, NamedTuple

import structlog

from arqube_operator.api.v1alpha1 import TaskQueueSpec
from arqube_operator.clock import Clock
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
FIRST_APPLIES_PER_S: Final = 20
"""Deployments that a new leader applies anew in a second, though they seem to be as they should."""
RETRY_UNREAD_S: Final = 5.0
"""Pause between looks at TaskQueues whose Redis address cannot be made, such as for want of a Secret."""

_REFUSED: Final = (400, 403, 404, 405, 409, 413, 415, 422)
"""Answers that say the request itself is wrong; the others say that the API server is in trouble."""

_OF_ANOTHER_TYPE: Final = "failed to create typed patch object"
"""How a server-side apply refuses a field of another type, such as a map for a list: with the status 500."""

log = structlog.get_logger(__name__)


class _Remembered(NamedTuple):
    """The memory of one TaskQueue: of the object with that uid, from after so many jumps of the clock."""

    uid: str
    jumps: int
    memory: Memory


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
        clock: Clock,
    ) -> None:
        self._queue = queue
        self._cache = cache
        self._queues = queues
        self._addresses = addresses
        self._executor = executor
        self._metrics = metrics
        self._runtime_image = runtime_image
        self._clock = clock
        self._jumps = clock.jumps()
        self._memories: dict[Key, _Remembered] = {}
        self._unread: set[Key] = set()
        self._rests = Rests()
        self._with_work: set[Key] = set()

    def read(self, key: Key, reading: Reading) -> None:
        """Wake ``key`` for a new reading of its queue, unless it rests and that tells nothing new."""
        self._count_jumps()
        if reading.has_work:
            # Jobs where there were none cannot wait; while there are some, this is one look of many.
            self._queue.add(key, urgent=key not in self._with_work)
            self._with_work.add(key)
        else:
            self._with_work.discard(key)
            if not self._rests.covers(key, reading, self._clock.now()):
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
        jumps = self._count_jumps()
        state = await self._observe(key, known, known.spec, jumps)
        if state.queue is None and state.redis_problem is None and state.deployment is not None:
            return  # The first reading wakes it; until then what the leader before has written stands.
        now = self._clock.now()
        plan = decide(state, now)
        if plan.memory.retire is not None:
            self._queues.retire(key, state.identity.uid, plan.retire)
        self._metrics.decided(key, state, plan)
        await self._execute(key, state, lambda: known.live_status, plan, jumps)
        if does_nothing(plan) and jumps == self._count_jumps():
            self._rests.begin(key, replace(state, memory=self._memories[key].memory), now)

    async def _refuse(self, key: Key, known: KnownTaskQueue) -> None:
        """Show that the object cannot be understood: the CRD lets pass what this operator does not know."""
        self._queues.forget(key)
        self._metrics.forget(key)
        log.warning("task_queue.invalid", task_queue=str(key), error=known.problem)
        self._metrics.failed("invalid")
        live = known.live_status
        shown = {(condition["reason"], condition["message"]) for condition in live.get("conditions", ())}
        if ("InvalidSpec", known.problem) not in shown:
            status = invalid_status(known.identity, known.problem, self._clock.now())
            self._took(key, Outcome(task_queue=await self._executor.write_status(known.identity, live, status)))

    def _count_jumps(self) -> int:
        """How often the clock was set; whoever rests until a time by the clock before must not rest on."""
        jumps = self._clock.jumps()
        if jumps != self._jumps:
            self._jumps, self._rests = jumps, Rests()
            log.warning("clock.jumped", remedy="what was learned of times is forgotten, as by a new leader")
        return jumps

    async def _observe(self, key: Key, known: KnownTaskQueue, spec: TaskQueueSpec, jumps: int) -> State:
        state = State(
            identity=known.identity,
            spec=spec,
            status=known.status,
            runtime_image=self._runtime_image,
            deployment=self._cache.deployment(key),
            pods=self._cache.pods(key),
            memory=self._memory(key, known.identity.uid, jumps),
            counts_interval_s=max(COUNTS_INTERVAL_S, len(self._memories) / COUNTS_PER_S),
            first_applies_s=len(self._cache) / FIRST_APPLIES_PER_S,
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

    async def _execute(
        self, key: Key, state: State, live_status: Callable[[], Mapping[str, Any]], plan: Plan, jumps: int
    ) -> None:
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

        # Kubernetes takes a Deployment away with its TaskQueue, and its end may be told first.
        if plan.create and not await self._is_there(key, uid):
            return
        try:
            await self._executor.execute(state.identity, live_status, plan, took)
        except ApiError as error:
            if error.status == 404 and not await self._is_there(key, uid):
                return  # Deleted while we wrote.
            failed = replace(unwritten, applied_generation=generation, rejection=_rejection(error))
            self._memories[key] = _Remembered(uid, jumps, failed)
            await self._show_failure(key, replace(state, memory=failed), live_status)
            raise
        memory = replace(plan.memory, applied_generation=generation, rejection=None)
        self._memories[key] = _Remembered(uid, jumps, memory)

    async def _is_there(self, key: Key, uid: str) -> bool:
        """Whether this TaskQueue is there yet and ours; the cache learns what is, as watches may be late or miss it.

        Raises:
            ApiError: The request was refused or could not be made.
        """
        live = await self._executor.find(*key)
        if live is None:
            self._cache.forget_task_queue(key, uid)
            return False
        if self._cache.task_queue(key) is None:
            return False  # Its labels say that it is another operator's by now.
        self._cache.put_task_queue(live)
        return bool(live["metadata"].get("uid") == uid) and "deletionTimestamp" not in live["metadata"]

    async def _show_failure(self, key: Key, state: State, live_status: Callable[[], Mapping[str, Any]]) -> None:
        """Tell in the status why a write failed, as far as the API server takes that."""
        plan = decide(state, self._clock.now())
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

    def _memory(self, key: Key, uid: str, jumps: int) -> Memory:
        """What is remembered of this object: nothing of one of the same name before it, nor by a clock set since."""
        known = self._memories.get(key, _Remembered(uid, jumps, Memory()))
        if (known.uid, known.jumps) != (uid, jumps):
            self._rests.forget(key)
            return Memory()
        self._memories[key] = known._replace(memory=self._rests.end(key, known.memory))
        return self._memories[key].memory

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
