"""The figures that must be reached, out of those of each load and policy."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from arqube_local.simulate.results import Result

OURS: Final = "arqube"
TUNED: Final = "keda-tuned"
DEFAULT: Final = "keda"

ByLoad = Mapping[str, Mapping[str, Result]]


@dataclass(frozen=True, slots=True)
class Must:
    """A figure that must be reached.

    Attributes:
        what: What it is, for people.
        key: Its name in the JSON.
        against: The policy it compares with.
        value: Makes it from the figures, with the load it stands for where that is one.
        compare: How the value stands to the limit.
        limit: The limit.
    """

    what: str
    key: str
    against: str
    value: Callable[[ByLoad], tuple[float, str]]
    compare: Callable[[float, float], bool]
    limit: float

    def row(self, value: float, load: str) -> str:
        """A line of the table."""
        sign = ">=" if self.compare is operator.ge else "<="
        verdict = "met" if self.compare(value, self.limit) else "NOT MET"
        return f"{self.what:58} {value:>8.2f} {f'{sign} {self.limit:g}':>8}  {verdict:8} {load}".rstrip()


def _worst_share(figures: ByLoad) -> tuple[float, str]:
    return min(
        (100 * (by_policy[OURS].slo_share - by_policy[TUNED].slo_share), load) for load, by_policy in figures.items()
    )


def _worst_pod_hours(figures: ByLoad) -> tuple[float, str]:
    return max((by_policy[OURS].pod_hours / by_policy[TUNED].pod_hours, load) for load, by_policy in figures.items())


def _pod_hours(figures: ByLoad) -> tuple[float, str]:
    return geometric_mean(each[OURS].pod_hours / each[TUNED].pod_hours for each in figures.values()), ""


def _worst_interrupted(figures: ByLoad) -> tuple[float, str]:
    worst, load = max((by_policy[OURS].interrupted, load) for load, by_policy in figures.items())
    return worst, load if worst else ""


def _scale_events(figures: ByLoad) -> tuple[float, str]:
    # A load without any change counts as one, for there is no ratio to nothing.
    ratios = (max(1.0, each[OURS].scale_events) / max(1.0, each[TUNED].scale_events) for each in figures.values())
    return geometric_mean(ratios), ""


def _missed(figures: ByLoad) -> tuple[float, str]:
    ours = sum(each[OURS].missed for each in figures.values())
    theirs = sum(each[DEFAULT].missed for each in figures.values())
    return (ours / theirs if theirs else float(ours > 0)), ""


MUSTS: Final = (
    Must("share in time, points above tuned KEDA, worst load", "slo_points", TUNED, _worst_share, operator.ge, -0.1),
    Must("pod-hours to tuned KEDA's, worst load", "pod_hours_worst", TUNED, _worst_pod_hours, operator.le, 1.03),
    Must("pod-hours to tuned KEDA's, geometric mean", "pod_hours_mean", TUNED, _pod_hours, operator.le, 0.85),
    Must("jobs interrupted, worst load", "interrupted", OURS, _worst_interrupted, operator.le, 0),
    Must("scale events to tuned KEDA's, geometric mean", "scale_events_mean", TUNED, _scale_events, operator.le, 0.7),
    Must("jobs not in time to default KEDA's, all loads", "missed_of_default", DEFAULT, _missed, operator.le, 0.1),
)


def geometric_mean(ratios: Iterable[float]) -> float:
    """The mean that treats twice and half as much alike."""
    logarithms = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logarithms) / len(logarithms))


def reached(figures: ByLoad) -> list[tuple[Must, float, str]]:
    """Each must whose policies were simulated, with its value and the load it stands for; none without loads."""
    if not figures:
        return []
    policies = set[str].intersection(*(set(by_policy) for by_policy in figures.values()))
    return [(must, *must.value(figures)) for must in MUSTS if {OURS, must.against} <= policies]
