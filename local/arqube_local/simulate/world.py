"""What a policy sees and acts upon: the clock, the queue, the workers and their Deployment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Protocol

from arqube_local.simulate.engine import Engine
from arqube_local.simulate.jobs import JobQueue
from arqube_local.simulate.kubernetes import Deployment
from arqube_local.simulate.workers import Fleet


@dataclass(frozen=True)
class World:
    """One simulated cluster.

    Attributes:
        random: Draws the phases of controllers.
        cron_due_s: When each cron job of the workers is due next, by name; changes as time goes on.
    """

    engine: Engine
    queue: JobQueue
    fleet: Fleet
    deployment: Deployment
    random: Random
    cron_due_s: Mapping[str, float]


class Policy(Protocol):
    """Something that sets the number of workers."""

    grace_s: float
    """Seconds its pods get to finish their jobs."""

    def start(self, world: World) -> None:
        """Schedule what it does on the world's clock."""
