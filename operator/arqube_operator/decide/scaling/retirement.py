"""Whom to retire, and how many pods may go now, so that no job is ever cut.

A pod that shall go is first asked to take no more jobs. It goes once it says so and runs none. One whose jobs are long
takes jobs again as soon as an idle pod can go in its place. Pods that run nothing yet may go as soon as they were
asked.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from arqube_operator.decide.scaling.fleet import Fleet, Worker

ASKED_S: Final = 1.0
"""Seconds from asking a pod that starts until it surely takes no job when it gets ready: a heartbeat."""
TOGETHER_S: Final = 10.0
"""A pod that was asked has so long to end its jobs: pods that may go wait for it, so that one change of the number does
for all, and none that is idle takes its place."""

Asked = tuple[tuple[str, float], ...]


class Retirement(NamedTuple):
    """The number of pods now, and those that should take no more jobs with the Unix seconds they were first asked."""

    replicas: int
    asked: Asked


def retire(fleet: Fleet, target: int, asked: Asked, now: float) -> Retirement:
    """How the number of pods gets from ``fleet.replicas`` down to ``target``."""
    excess = fleet.replicas - target
    if excess <= 0:
        return Retirement(target, ())
    before = dict(asked)
    # As Kubernetes chooses: what does not run goes before what does.
    waiting = sorted((*fleet.stuck, *fleet.pending), key=lambda pod: (pod.failure is None, -pod.created_s, pod.name))
    unmade = max(0, fleet.starting - len(fleet.pending))
    gone = min(excess, unmade)
    victims = [pod.name for pod in waiting[: excess - gone]]
    gone += sum([now - before.get(name, now) >= ASKED_S for name in victims])
    left = excess - min(excess, unmade) - len(victims)
    if left > 0:
        chosen = sorted(fleet.workers, key=lambda worker: _order(worker, before, now))[:left]
        victims += [worker.pod.name for worker in chosen]
        gone += sum([_may_go(worker, before) for worker in chosen])
    named = tuple((name, before.get(name, now)) for name in victims)
    if 0 < gone < excess:
        if now - min((since for _, since in named), default=now) < TOGETHER_S:
            gone = 0
        else:  # The rest get as long again.
            named = tuple((name, now) for name in victims)
    return Retirement(fleet.replicas - gone, named)


def _order(worker: Worker, asked: dict[str, float], now: float) -> tuple[bool, bool, bool, int, float, str]:
    """Those that were asked, as long as they are idle or have time to become so; then the idle, the asked, the least
    busy, the newest.
    """
    name, since = worker.pod.name, asked.get(worker.pod.name)
    stays = since is not None and (worker.busy == 0 or now - since < TOGETHER_S)
    return not stays, worker.busy > 0, since is None and not worker.retired, worker.busy, -worker.pod.created_s, name


def _may_go(worker: Worker, asked: dict[str, float]) -> bool:
    if worker.busy or worker.pod.name not in asked:
        return False
    return worker.retired or not worker.told
