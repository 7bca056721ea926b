"""The workers of one TaskQueue as the console shows them: its pods, and what each worker says of itself in Redis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from arqube_operator.console.view import Seen
from arqube_operator.decide.state import Pod
from arqube_queue.model import Heartbeat


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker. What its heartbeat tells is None for a pod that writes none.

    Attributes:
        name: Its pod's name, or what it calls itself outside Kubernetes.
        state: What it does, in a word or two.
        problem: Why it cannot run, in words; None when it can.
        busy: Jobs that it runs.
        slots: Jobs that it may run at once.
        finished: Jobs that it has ended, by outcome.
        mean_run_s: Seconds a job of its ran on average; None before the first has ended.
    """

    name: str
    state: str
    problem: str | None = None
    busy: int | None = None
    slots: int | None = None
    finished: Mapping[str, int] | None = None
    mean_run_s: float | None = None


def workers(seen: Seen) -> tuple[Worker, ...]:
    """All that are known, by name: pods with and without a heartbeat, and heartbeats of workers that are no pod."""
    snapshot = seen.reading.snapshot
    beats = {beat.worker: beat for beat in (snapshot.heartbeats if snapshot else ())}
    pods = {pod.name: pod for pod in seen.pods}
    return tuple(_worker(name, pods.get(name), beats.get(name)) for name in sorted(beats.keys() | pods.keys()))


def _worker(name: str, pod: Pod | None, beat: Heartbeat | None) -> Worker:
    problem = f"{pod.failure}: {pod.failure_message}" if pod is not None and pod.failure is not None else None
    if beat is None:
        return Worker(name, _state(pod, beat), problem)
    ended = sum(beat.finished.values())
    return Worker(
        name=name,
        state=_state(pod, beat),
        problem=problem,
        busy=beat.busy,
        slots=beat.slots,
        finished=beat.finished,
        mean_run_s=beat.run_seconds / ended if ended else None,
    )


def _state(pod: Pod | None, beat: Heartbeat | None) -> str:
    if (pod is not None and pod.terminating) or (beat is not None and beat.draining):
        return "stopping"
    if beat is not None and beat.retiring:
        return "retiring"
    if pod is None:
        return "outside Kubernetes"
    if pod.failure is not None:
        return "failing"
    return "ready" if pod.ready_s is not None else "starting"
