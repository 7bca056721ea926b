"""When workers must be up for a cron run: only a worker that is there queues it.

The next run is known from the heartbeats and remembered over zero. A worker of new settings is started once to tell.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from arqube_queue.model import QueueSnapshot

if TYPE_CHECKING:
    from arqube_operator.decide.state import Pod

MARGIN_S: Final = 10.0
"""Seconds a pod is up before a run beyond its start-up: a worker plans its runs a moment after it is ready."""
PLANNED_S: Final = 5.0
"""Seconds after which a ready worker has told its runs."""
SILENT_S: Final = 30.0
"""Seconds after which a ready worker without heartbeats is taken for plain arq's, which tells nothing."""


@dataclass(frozen=True, slots=True)
class KnownCrons:
    """What is known of the cron jobs.

    Attributes:
        template: Hash of the image and settings whose workers told it; empty before any did.
        next_s: Unix seconds of the next run; None when there is none.
    """

    template: str = ""
    next_s: float | None = None


@lru_cache(maxsize=4096)
def template_hash(image: str, settings: str) -> str:
    """Names the image and settings of workers: with another one there may be other cron jobs."""
    return hashlib.blake2s(f"{image}\n{settings}".encode(), digest_size=8).hexdigest()


def learn_crons(known: KnownCrons, template: str, pods: Iterable[Pod], queue: QueueSnapshot, now: float) -> KnownCrons:
    """What the heartbeats of the newest pods tell of the next run at ``now``."""
    if known.template == template and known.next_s is None and not any(beat.cron_runs for beat in queue.heartbeats):
        return known
    living = [pod for pod in pods if not pod.terminating]
    if not living:
        return known
    newest = max(living, key=_age).template
    told = {pod.name: pod for pod in living if pod.template == newest and pod.ready_s is not None}
    runs: list[int] = []
    planned = False
    for beat in queue.heartbeats:
        pod = told.pop(beat.worker, None)
        if pod is not None and pod.ready_s is not None:
            runs.extend(beat.cron_runs.values())
            planned = planned or now - pod.ready_s >= PLANNED_S
    if runs:
        return KnownCrons(template, min(runs) / 1000)
    silent = any(now - (pod.ready_s or now) >= SILENT_S for pod in told.values())
    return KnownCrons(template) if planned or silent else known


def _age(pod: Pod) -> tuple[float, str]:
    return pod.created_s, pod.name


def cron_is_near(known: KnownCrons, template: str, startup_s: float, now: float) -> bool:
    """Whether a pod must be there for a run, or to tell when the next one is.

    A run whose time has come is near until a worker tells of a later one: then it was queued.
    """
    if known.template != template:
        return True
    return known.next_s is not None and known.next_s - now <= startup_s + MARGIN_S
