"""``spec``: what a user asks for."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field

from arqube_operator.api.duration import (
    DAYS_PATTERN,
    DURATION_MAX_LENGTH,
    DURATION_PATTERN,
    parse_age,
    parse_duration,
)
from arqube_operator.api.rules import ApiModel, Rule, duration_between, matching
from arqube_operator.api.v1alpha1.redis import RedisSpec
from arqube_operator.api.v1alpha1.scaling import MOST_REPLICAS, ScalingSpec
from arqube_operator.api.v1alpha1.worker import WorkerSpec

_KEYS_OF_OTHERS: Final = "^(arqube:|arq:(abort$|(job|in-progress|retry|result):))"
_RETENTION_PATTERN: Final = f"{DAYS_PATTERN}|{DURATION_PATTERN}"
_SHORTEST_RETENTION: Final = "1m"
_LONGEST_RETENTION: Final = "23976h"
"""999 days, the most that can be written in days."""


class ShutdownSpec(ApiModel):
    """How workers stop."""

    timeout: Annotated[str, Field(max_length=DURATION_MAX_LENGTH), duration_between("1s", "24h")] = "30s"
    """How long a stopping worker may finish its jobs before it gives them back: such as 5m, from 1s to 24h."""

    @property
    def timeout_s(self) -> float:
        """``timeout`` in seconds."""
        return parse_duration(self.timeout)


def _retention_is_within_bounds(text: str) -> bool:
    if not re.fullmatch(_RETENTION_PATTERN, text):
        return False
    return parse_duration(_SHORTEST_RETENTION) <= parse_age(text) <= parse_duration(_LONGEST_RETENTION)


class DeadLetterSpec(ApiModel):
    """How long, and how many, jobs that have failed for good are kept."""

    retention: Annotated[
        str,
        Field(max_length=DURATION_MAX_LENGTH),
        Rule(
            cel=(
                f"self.matches('{DAYS_PATTERN}') || (self.matches('{DURATION_PATTERN}')"
                f" && duration(self) >= duration('{_SHORTEST_RETENTION}')"
                f" && duration(self) <= duration('{_LONGEST_RETENTION}'))"
            ),
            message="must be 1d to 999d, or a duration of the same bounds from 1m on, such as 36h",
            holds=_retention_is_within_bounds,
            schema={"pattern": _RETENTION_PATTERN},
        ),
    ] = "14d"
    """How long a dead letter is kept: whole days such as 14d, up to 999d, or a duration such as 36h, from 1m on."""
    max_entries: int = Field(default=100_000, ge=0, le=10_000_000)
    """How many dead letters are kept; beyond them the oldest go. With 0 none is."""

    @property
    def retention_s(self) -> float:
        """``retention`` in seconds."""
        return parse_age(self.retention)


def _grace_outlasts_shutdown(spec: TaskQueueSpec) -> bool:
    template = spec.worker.pod_template.spec
    grace_s = template.termination_grace_period_seconds if template is not None else None
    return grace_s is None or spec.shutdown.timeout_s < grace_s


class TaskQueueSpec(ApiModel):
    """An arq queue and the workers it gets."""

    rules = (
        Rule(
            "!has(self.worker.podTemplate.spec) || !has(self.worker.podTemplate.spec.terminationGracePeriodSeconds)"
            f" || !self.shutdown.timeout.matches('{DURATION_PATTERN}')"
            " || duration(self.shutdown.timeout).getSeconds()"
            " < self.worker.podTemplate.spec.terminationGracePeriodSeconds",
            message=(
                "must be shorter than worker.podTemplate.spec.terminationGracePeriodSeconds, which kills the pod;"
                " shorten the timeout, or raise or leave out the grace period"
            ),
            holds=_grace_outlasts_shutdown,
            path="shutdown.timeout",
        ),
    )

    redis: RedisSpec
    """Which Redis holds the queue."""
    queue_name: Annotated[
        str,
        Field(max_length=200),
        matching(r"^\S+$", "must be the name of an arq queue, without white space"),
        Rule(
            f"!self.matches('{_KEYS_OF_OTHERS}')",
            message="must not be a key that arq or Arqube keeps other things under; name the queue itself",
            holds=lambda name: not re.match(_KEYS_OF_OTHERS, name),
        ),
        Rule(
            "self == oldSelf",
            message="cannot be changed, as it would strand the jobs under the old name; make another TaskQueue for it",
            holds=lambda _: True,
        ),
    ] = "arq:queue"
    """Key of the queue in Redis: arq's queue_name. It cannot be changed."""
    replicas: int | None = Field(default=None, ge=0, le=MOST_REPLICAS)
    """Number of pods, set by a person or kubectl scale: while it is set exactly so many run, whatever the queue."""
    worker: WorkerSpec
    """The pods that run the jobs."""
    scaling: ScalingSpec = ScalingSpec()
    """By what, between which bounds and how fast the number of workers follows the queue."""
    shutdown: ShutdownSpec = ShutdownSpec()
    """How workers stop."""
    dead_letters: DeadLetterSpec = DeadLetterSpec()
    """What is kept of jobs that have failed for good, for arqube dlq to show, retry and purge."""
