"""A pod's status out of the states of its containers.

As the kubelet writes it: ``kubelet_pods.go`` and ``status/generate.go`` of ``pkg/kubelet``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from arqube_local.timestamps import to_timestamp

POD_IP: Final = "127.0.0.1"


@dataclass(frozen=True)
class Waiting:
    """Not running; why."""

    reason: str = "ContainerCreating"
    message: str = ""


@dataclass(frozen=True)
class Running:
    """Running since ``started``, seconds since the epoch."""

    started: float


@dataclass(frozen=True)
class Terminated:
    """Ended; times in seconds since the epoch. ``code`` is 128 plus the signal's number after a signal."""

    code: int
    started: float
    finished: float
    reason: str = "Completed"
    """As a container runtime names the end: Completed, Error or StartError."""
    message: str = ""


@dataclass(frozen=True)
class ContainerState:
    """A container at one moment."""

    name: str
    image: str
    state: Waiting | Running | Terminated = Waiting()
    last: Terminated | None = None
    restarts: int = 0
    pid: int | None = None
    """Of the process that runs or ran last."""
    started: bool = False
    """It runs and its startup probe, if any, has succeeded."""
    ready: bool = False


def exit_code(returned: int) -> int:
    """The code Kubernetes shows for a process that returned ``returned`` (minus a signal's number)."""
    return returned if returned >= 0 else 128 - returned


def phase(containers: tuple[ContainerState, ...], restart_policy: str, inits: tuple[ContainerState, ...] = ()) -> str:
    """The pod's phase (``getPhase`` of ``kubelet_pods.go``)."""
    if unfinished := _unfinished(inits):
        gave_up = restart_policy == "Never" and isinstance(unfinished[0].state, Terminated)
        return "Failed" if gave_up else "Pending"
    states = [each.state for each in containers]
    ended = [each.state if isinstance(each.state, Terminated) else each.last for each in containers]
    if any(isinstance(state, Waiting) and end is None for state, end in zip(states, ended, strict=True)):
        return "Pending"
    if restart_policy == "Always" or any(isinstance(state, Running) for state in states):
        return "Running"
    codes = [end.code for end in ended if end is not None]
    if not any(codes):
        return "Succeeded"
    return "Failed" if restart_policy == "Never" else "Running"


def _unfinished(inits: tuple[ContainerState, ...]) -> list[ContainerState]:
    return [each for each in inits if not (isinstance(each.state, Terminated) and each.state.code == 0)]


def pod_status(
    containers: tuple[ContainerState, ...],
    restart_policy: str,
    previous: dict[str, Any],
    *,
    inits: tuple[ContainerState, ...] = (),
    start_time: float,
    now: float,
) -> dict[str, Any]:
    """The whole ``status`` of a pod.

    Args:
        containers: In the order of the spec.
        restart_policy: The pod's.
        inits: The init containers, likewise.
        previous: The status last written, or an empty one: a condition that stays keeps its transition time.
        start_time: When the kubelet took the pod on, seconds since the epoch.
        now: Seconds since the epoch.
    """
    unready = [each.name for each in containers if not each.ready]
    over = phase(containers, restart_policy, inits)
    uninitialized = [each.name for each in _unfinished(inits)]
    initialized = (
        ("False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(uninitialized)}]")
        if uninitialized
        else ("True", "", "")
    )
    ready = (
        ("True", "", "")
        if not unready
        else ("False", "PodCompleted", "")
        if over in ("Succeeded", "Failed")
        else ("False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    )
    values = {
        "PodScheduled": ("True", "", ""),
        "Initialized": initialized,
        "ContainersReady": ready,
        "Ready": ready,
    }
    known = {each["type"]: each for each in previous.get("conditions", [])}
    return {
        "phase": over,
        "hostIP": POD_IP,
        "podIP": POD_IP,
        "podIPs": [{"ip": POD_IP}],
        "startTime": to_timestamp(start_time),
        "conditions": [_condition(kind, value, known.get(kind), now) for kind, value in values.items()],
        **({"initContainerStatuses": [_container_status(each) for each in inits]} if inits else {}),
        "containerStatuses": [_container_status(each) for each in containers],
    }


def _condition(kind: str, value: tuple[str, str, str], previous: dict[str, Any] | None, now: float) -> dict[str, Any]:
    status, reason, message = value
    changed = previous is None or previous["status"] != status
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": to_timestamp(now) if changed or previous is None else previous["lastTransitionTime"],
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }


def _container_status(container: ContainerState) -> dict[str, Any]:
    identity = {} if container.pid is None else {"containerID": f"process://{container.pid}"}
    return {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        **identity,
        "restartCount": container.restarts,
        "ready": container.ready,
        "started": container.started,
        "state": _state(container.state, identity),
        "lastState": _state(container.last, identity) if container.last is not None else {},
    }


def _state(state: Waiting | Running | Terminated, identity: dict[str, str]) -> dict[str, Any]:
    match state:
        case Waiting(reason, message):
            return {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        case Running(started):
            return {"running": {"startedAt": to_timestamp(started)}}
        case Terminated():
            return {
                "terminated": {
                    "exitCode": state.code,
                    "reason": state.reason,
                    "startedAt": to_timestamp(state.started),
                    "finishedAt": to_timestamp(state.finished),
                    **({"message": state.message} if state.message else {}),
                    **({"signal": state.code - 128} if state.code > 128 else {}),
                    **identity,
                }
            }
