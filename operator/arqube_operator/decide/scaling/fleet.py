"""The pods that there are: which take jobs, which will soon, which cannot, and how busy each is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from arqube_operator.decide.state import Pod, State

SOON_S: Final = 2.0
"""A pod that should have been ready by now is expected within so many seconds."""


class Worker(NamedTuple):
    """A pod that takes or took jobs.

    Attributes:
        busy: Jobs it runs; for one without heartbeats its share of those that no heartbeat tells of.
        retired: It has said that it takes no more jobs.
        told: It writes heartbeats.
    """

    pod: Pod
    busy: int
    slots: int
    retired: bool
    told: bool


class Fleet(NamedTuple):
    """The pods of one TaskQueue.

    Attributes:
        replicas: Pods asked for.
        workers: Those that are ready.
        slots: Jobs that these can run at once; retiring ones count, for they are back as soon as they are asked.
        busy: Jobs that these run.
        is_plain: Pods are ready and none writes heartbeats: plain arq runs in them.
        starting: Pods that will be ready, also those not made yet.
        starting_s: Seconds until they are, on average.
        pending: The pods among them that exist.
        stuck: Pods that cannot run until somebody or something helps.
        unschedulable: Those of ``stuck`` that no node takes.
    """

    replicas: int
    workers: tuple[Worker, ...] = ()
    slots: int = 0
    busy: int = 0
    is_plain: bool = False
    starting: int = 0
    starting_s: float = 0.0
    pending: tuple[Pod, ...] = ()
    stuck: tuple[Pod, ...] = ()
    unschedulable: int = 0


def fleet(state: State, startup_s: float, now: float) -> Fleet:
    """The pods of ``state``; one that starts is expected ``startup_s`` seconds after its creation."""
    replicas = state.deployment.spec_replicas if state.deployment else 0
    beats = {beat.worker: beat for beat in state.queue.heartbeats} if state.queue else {}
    workers: list[Worker] = []
    silent: list[Pod] = []
    pending: list[Pod] = []
    stuck: list[Pod] = []
    living = slots = busy = unschedulable = 0
    wait_s = 0.0
    for pod in state.pods:
        if pod.terminating:
            continue
        living += 1
        if pod.ready_s is not None:
            beat = beats.get(pod.name)
            if beat is None:
                silent.append(pod)
            elif not beat.draining:
                slots += beat.slots
                busy += beat.busy
                workers.append(Worker(pod, beat.busy, beat.slots, beat.retiring, True))
        elif pod.failure is not None:
            stuck.append(pod)
            unschedulable += pod.unschedulable
        else:
            pending.append(pod)
            # No longer than one made now: the cluster's clock may be ahead of ours.
            wait_s += min(startup_s, max(SOON_S, pod.created_s + startup_s - now))
    if silent and state.queue is not None:
        untold = state.queue.running - sum([beat.busy for beat in beats.values()])
        share, concurrency = math.ceil(max(0, untold) / len(silent)), state.spec.worker.concurrency
        slots += concurrency * len(silent)
        busy += share * len(silent)
        workers += [Worker(pod, share, concurrency, False, False) for pod in silent]
    unmade = max(0, replicas - living)
    starting = len(pending) + unmade
    return Fleet(
        replicas,
        tuple(workers),
        slots,
        busy,
        bool(silent) and len(silent) == len(workers),
        starting,
        (wait_s + unmade * startup_s) / starting if starting else 0.0,
        tuple(pending),
        tuple(stuck),
        unschedulable,
    )
