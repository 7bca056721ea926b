"""Which pods can go without a job being cut, and what makes Kubernetes take these.

Kubernetes chooses whom a scale-down takes, in this order: pods that do not run, pods that are not ready, then by the
annotation ``controller.kubernetes.io/pod-deletion-cost``, the lowest first (``ActivePodsWithRanks`` in Kubernetes'
pkg/controller/controller_utils.go). During a rollout the Deployment's controller shares a scale-down out between the
old pods and the new ones as it likes. So no more may go at once than are safe by whatever choice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Final

from arqube_operator.decide.state import Pod, State
from arqube_queue.model import Heartbeat

GONE_COST: Final = -1
"""Deletion cost of a pod that shall go: below that of every other, which is 0 where none was written."""
LEAVING_S: Final = 30.0
"""A pod that a scale-down has given away is taken for gone so long; if it is still there then, it was not taken."""


def still_leaving(state: State, now: float) -> dict[str, float]:
    """Those of the pods that were given away that Kubernetes has not begun to stop, with the Unix seconds of that."""
    if not state.memory.leaving:
        return {}
    living = {pod.name for pod in state.pods if not pod.terminating}
    return {name: since for name, since in state.memory.leaving.items() if name in living and now - since < LEAVING_S}


def without(state: State, leaving: Collection[str]) -> State:
    """``state`` with the pods that are leaving as terminating: Kubernetes just has not told yet.

    They must not be counted as workers, nor be given away once more.
    """
    if not leaving:
        return state
    pods = tuple(replace(pod, terminating=True) if pod.name in leaving else pod for pod in state.pods)
    return replace(state, pods=pods)


def fewest_without_harm(state: State) -> int:
    """The number of pods that a scale-down may write now without cutting a job."""
    if state.deployment is None:
        return 0
    living = _living(state)
    unmade = max(0, state.deployment.spec_replicas - len(living))
    safe = _safe(state, living)
    removable = len(living)
    for template in {pod.template for pod in living}:
        pods = [pod for pod in living if pod.template == template]
        first = [pod for pod in pods if pod.ready_s is None]
        safe_first = sum(pod.name in safe for pod in first)
        # One that is not ready and runs jobs goes before all that are ready, whatever they cost.
        taken = safe_first if safe_first < len(first) else sum(pod.name in safe for pod in pods)
        if taken < len(pods):
            removable = min(removable, taken)
    return max(0, state.deployment.spec_replicas - unmade - removable)


def victims(state: State, replicas: int, retiring: frozenset[str]) -> frozenset[str]:
    """The pods that a scale-down to ``replicas`` gives away, those of ``retiring`` before others that are as good.

    In a rollout these are all that are safe, as each template may have to give its share. With one that has not started
    all such are: whether a pod has a node and runs comes before the costs.
    """
    if state.deployment is None:
        return frozenset()
    living = _living(state)
    count = max(0, min(len(living), state.deployment.spec_replicas) - replicas)
    if not count:
        return frozenset()
    safe, busy = _safe(state, living), _busy(state)

    def order(pod: Pod) -> tuple[bool, bool, bool, int, float, str]:
        ready = pod.ready_s is not None
        return pod.name not in safe, ready, pod.name not in retiring, busy.get(pod.name, 0), -pod.created_s, pod.name

    chosen = frozenset(pod.name for pod in sorted(living, key=order)[:count])
    if len({pod.template for pod in living}) > 1:
        return chosen | safe
    unready = frozenset(pod.name for pod in living if pod.ready_s is None)
    return chosen | (unready & safe) if chosen & unready else chosen


def deletion_costs(state: State, going: frozenset[str]) -> dict[str, int]:
    """The costs to write so that a scale-down takes ``going``, as far as they are not written yet.

    All of them stand below every other pod. Those of a scale-down that cuts jobs, as a person may ask for one, are told
    apart by their jobs, so that the least busy go.
    """
    living, busy = _living(state), _busy(state)
    cuts = not going <= _safe(state, living)
    costs = {}
    for pod in living:
        cost = busy.get(pod.name, 0) if cuts or pod.name not in going else GONE_COST
        present = pod.deletion_cost or 0
        if cost != present and (cuts or pod.name in going or present <= GONE_COST):
            costs[pod.name] = cost
    return costs


def _living(state: State) -> list[Pod]:
    return [pod for pod in state.pods if not pod.terminating]


def _beats(state: State) -> Mapping[str, Heartbeat]:
    return {beat.worker: beat for beat in state.queue.heartbeats} if state.queue else {}


def _busy(state: State) -> dict[str, int]:
    return {name: beat.busy for name, beat in _beats(state).items()}


def _safe(state: State, living: Iterable[Pod]) -> frozenset[str]:
    """Pods that run no job and will get none: idle in retirement, or not yet started.

    Of a ready pod without heartbeats (plain arq, or a runtime that is too old) it is only known whether jobs run that
    no heartbeat tells of: any of these may be its.
    """
    beats = _beats(state)
    running = state.queue.running if state.queue else 0
    untold = running > sum(beat.busy for beat in beats.values())
    safe = set()
    for pod in living:
        beat = beats.get(pod.name)
        if beat is None:
            if pod.ready_s is None or not untold:
                safe.add(pod.name)
        elif (beat.retiring or beat.draining) and not beat.busy:
            safe.add(pod.name)
    return frozenset(safe)
