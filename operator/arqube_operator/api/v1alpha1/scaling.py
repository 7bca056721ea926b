"""``spec.scaling``: by what, between which bounds and how fast the number of workers follows the queue."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

from pydantic import Field

from arqube_operator.api.cron import (
    CRON_PATTERN,
    FIVE_FIELDS_PATTERN,
    TIME_ZONE_PATTERN,
    is_cron,
    is_time_zone,
    latest_time,
    next_time,
)
from arqube_operator.api.duration import DURATION_MAX_LENGTH, parse_duration
from arqube_operator.api.rules import ApiModel, Rule, duration_between, matching

MOST_REPLICAS: Final = 10_000
_MOST_SCHEDULES: Final = 32
_DEFAULT_MAX_WAIT_S: Final = 30.0

_Text = Annotated[str, Field(max_length=DURATION_MAX_LENGTH)]
_Stabilization = Annotated[_Text, duration_between("0s", "1h")]


class ScaleLimits(ApiModel):
    """How fast the number of pods may change in one direction, as in a HorizontalPodAutoscaler's behavior."""

    stabilization: _Stabilization = "0s"
    """How long a number must hold before it is followed: the most careful one wanted within it counts. 0s to 1h."""
    max_pods: int | None = Field(default=None, ge=1, le=MOST_REPLICAS)
    """Most pods of change within a period. With maxPercent too, the larger holds; with neither there is no limit."""
    max_percent: int | None = Field(default=None, ge=1, le=10_000)
    """Most change within a period in percent of the pods at its start, rounded up, so never less than one pod."""
    period: Annotated[_Text, duration_between("1s", "30m")] = "15s"
    """The time that maxPods and maxPercent are about: a duration such as 15s, from 1s to 30m."""

    @property
    def stabilization_s(self) -> float:
        """``stabilization`` in seconds."""
        return parse_duration(self.stabilization)

    @property
    def period_s(self) -> float:
        """``period`` in seconds."""
        return parse_duration(self.period)


class ScaleDownLimits(ScaleLimits):
    """How fast pods may go."""

    stabilization: _Stabilization = "30s"
    """How long fewer pods must be enough before any goes: the most that were wanted within it count. 0s to 1h."""


class Fallback(ApiModel):
    """How many pods there are while Redis cannot be read."""

    replicas: int = Field(ge=1, le=MOST_REPLICAS)
    """So many pods at least, from zero too; more that are there already stay."""
    after: Annotated[_Text, duration_between("0s", "24h")] = "1m"
    """How long Redis must have been away: a duration such as 1m, from 0s to 24h."""

    @property
    def after_s(self) -> float:
        """``after`` in seconds."""
        return parse_duration(self.after)


Cron = Annotated[
    str,
    Field(max_length=100),
    Rule(
        cel=(
            f"self.matches(r'{CRON_PATTERN}') && self.findAll('[0-9]+-[0-9]+')"
            ".all(part, int(part.split('-')[0]) <= int(part.split('-')[1]))"
        ),
        message=(
            "must be five fields of cron that come to pass, such as 0 8 * * MON-FRI:"
            " minute, hour, day of month, month and day of week"
        ),
        holds=lambda text: re.fullmatch(CRON_PATTERN, text, re.ASCII) and is_cron(text),
        schema={"pattern": FIVE_FIELDS_PATTERN},
    ),
]
TimeZone = Annotated[
    str,
    Field(max_length=64),
    Rule(
        # A zone that is not there is an error to CEL, and refuses too; Local would be that of the API server.
        cel=(
            f"self.matches('{TIME_ZONE_PATTERN}') && self != 'Local'"
            " && timestamp('1970-01-01T00:00:00Z').getHours(self) >= 0"
        ),
        message="must be a time zone of the IANA database, such as Europe/Berlin or UTC",
        holds=lambda text: re.fullmatch(TIME_ZONE_PATTERN, text, re.ASCII) and is_time_zone(text),
        schema={"pattern": TIME_ZONE_PATTERN},
    ),
]


class Schedule(ApiModel):
    """A recurring window of time with a floor of its own."""

    name: Annotated[
        str,
        Field(max_length=63),
        matching(
            "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
            "must be lower-case letters, digits and - between letters or digits, such as office-hours",
        ),
    ]
    """What the window is called, such as office-hours."""
    start: Cron
    """When the window opens: five fields of cron such as 0 8 * * MON-FRI, read from the clock of timeZone."""
    duration: Annotated[_Text, duration_between("1m", "168h")]
    """How long it is open: a duration such as 10h, from 1m to 168h."""
    time_zone: TimeZone = "UTC"
    """Time zone of the IANA database that start is meant in, such as Europe/Berlin."""
    min_replicas: int = Field(ge=1, le=MOST_REPLICAS)
    """Fewest pods while it is open. Where several are open, the largest counts."""

    @property
    def duration_s(self) -> float:
        """``duration`` in seconds."""
        return parse_duration(self.duration)

    def is_open(self, now: float) -> bool:
        """Whether ``now``, in Unix seconds, is within a window: from its start on, up to and without its end."""
        opened = latest_time(self.start, self.time_zone, now)
        return opened is not None and now < opened + self.duration_s

    def next_start(self, now: float) -> float | None:
        """When the next window after ``now`` opens, both in Unix seconds; None where that is 50 years off."""
        return next_time(self.start, self.time_zone, now)


class ScalingSpec(ApiModel):
    """By what, between which bounds and how fast the number of workers follows the queue."""

    rules = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            message="must not be above maxReplicas; lower minReplicas or raise maxReplicas",
            holds=lambda scaling: scaling.min_replicas <= scaling.max_replicas,
            path="minReplicas",
        ),
        Rule(
            "!has(self.maxWait) || !has(self.jobsPerReplica)",
            message="must not be given beside maxWait; keep the one of them that is to be scaled by",
            holds=lambda scaling: scaling.max_wait is None or scaling.jobs_per_replica is None,
            path="jobsPerReplica",
        ),
        Rule(
            "!has(self.fallback) || self.fallback.replicas <= self.maxReplicas",
            message="must not be above maxReplicas; lower it or raise maxReplicas",
            holds=lambda scaling: scaling.fallback is None or scaling.fallback.replicas <= scaling.max_replicas,
            path="fallback.replicas",
        ),
        Rule(
            "!has(self.schedules) || self.schedules.all(window, window.minReplicas <= self.maxReplicas)",
            message="must not hold a minReplicas above maxReplicas; lower it there or raise maxReplicas",
            holds=lambda scaling: all(window.min_replicas <= scaling.max_replicas for window in scaling.schedules),
            path="schedules",
        ),
    )

    min_replicas: int = Field(default=0, ge=0, le=MOST_REPLICAS)
    """Fewest pods. With 0 none runs while the queue is empty."""
    max_replicas: int = Field(default=10, ge=1, le=MOST_REPLICAS)
    """Most pods, however long the queue is."""
    max_wait: Annotated[_Text, duration_between("1s", "24h")] | None = None
    """The target: a due job starts within this time. A duration such as 30s, from 1s to 24h; 30s unless it or
    jobsPerReplica is given."""
    jobs_per_replica: int | None = Field(default=None, ge=1, le=100_000)
    """The simple target in maxWait's place: so many jobs that wait, run or are due soon for each pod."""
    activation_jobs: int = Field(default=0, ge=0, le=1_000_000)
    """From zero the first pod comes when more jobs than this wait. Cron runs are on time whatever it is."""
    paused: Literal["All", "Up", "Down"] | None = None
    """Which scaling is held back: All keeps the number as it is, Up adds no pods, Down removes none."""
    scale_up: ScaleLimits = ScaleLimits()
    """How fast pods may come."""
    scale_down: ScaleDownLimits = ScaleDownLimits()
    """How fast pods may go."""
    cooldown: Annotated[_Text, duration_between("0s", "24h")] = "1m"
    """How long a queue must be without any work before its last pod goes: a duration such as 30s, from 0s to 24h."""
    tolerance: int = Field(default=10, ge=0, le=100)
    """Percent of the current number of pods by which the wanted number may differ without a change."""
    fallback: Fallback | None = None
    """How many pods there are while Redis cannot be read. Unless it is given, the number is held."""
    schedules: tuple[Schedule, ...] = Field(
        default=(),
        max_length=_MOST_SCHEDULES,
        strict=False,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    """Recurring windows of time with a higher floor than minReplicas."""
    dry_run: bool = False
    """Decide and report, and change nothing: not the number of pods, nor which of them go first."""

    @property
    def max_wait_s(self) -> float | None:
        """The service level in seconds; None where ``jobs_per_replica`` is the target."""
        if self.max_wait is not None:
            return parse_duration(self.max_wait)
        return _DEFAULT_MAX_WAIT_S if self.jobs_per_replica is None else None

    @property
    def cooldown_s(self) -> float:
        """``cooldown`` in seconds."""
        return parse_duration(self.cooldown)
