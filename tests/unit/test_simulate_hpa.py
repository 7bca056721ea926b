"""The simulated HPA against numbers worked by hand from the formulas of the Kubernetes documentation and source."""

from __future__ import annotations

import pytest

from arqube_local.simulate.hpa import (
    DEFAULT_SCALE_DOWN,
    DEFAULT_SCALE_UP,
    DOWNSCALE_STABILIZATION_S,
    SYNC_S,
    TOLERANCE,
    Behavior,
    Hpa,
    ScalingPolicy,
    ScalingRules,
    recommend,
)

UNLIMITED_UP = ScalingRules(0.0, (ScalingPolicy("Pods", 1000, 15.0),))
AT_ONCE_DOWN = ScalingRules(0.0, (ScalingPolicy("Percent", 100, 15.0),))


def test_the_defaults_are_those_of_kubernetes() -> None:
    assert (SYNC_S, TOLERANCE, DOWNSCALE_STABILIZATION_S) == (15.0, 0.1, 300.0)
    assert DEFAULT_SCALE_UP.stabilization_s == 0
    assert set(DEFAULT_SCALE_UP.policies) == {ScalingPolicy("Pods", 4, 15.0), ScalingPolicy("Percent", 100, 15.0)}
    assert DEFAULT_SCALE_DOWN.stabilization_s == 300
    assert DEFAULT_SCALE_DOWN.policies == (ScalingPolicy("Percent", 100, 15.0),)
    assert DEFAULT_SCALE_UP.select == DEFAULT_SCALE_DOWN.select == "Max"


@pytest.mark.parametrize(
    ("metric", "target", "replicas", "expected"),
    [
        pytest.param(50, 5, 10, 10, id="the metric is exactly what the pods are for"),
        pytest.param(55, 5, 10, 10, id="a tenth above is within the tolerance"),
        pytest.param(56, 5, 10, 12, id="above the tolerance it is the metric by the target, rounded up"),
        pytest.param(45, 5, 10, 10, id="a tenth below is within the tolerance"),
        pytest.param(44, 5, 10, 9, id="below the tolerance it is rounded up too"),
        pytest.param(1, 5, 1, 1, id="a fifth of one pod needs one"),
        pytest.param(0, 5, 7, 0, id="nothing needs none, which the floor corrects"),
        pytest.param(7, 5, 0, 2, id="without pods there is nothing to be tolerant of"),
        pytest.param(1007, 5, 202, 202, id="deferred jobs count: 1,000 of them and 7 due are 202 pods"),
        pytest.param(1007, 5, 1, 202, id="the same from one pod"),
    ],
)
def test_the_number_recommended_for_a_metric(metric: float, target: float, replicas: int, expected: int) -> None:
    assert recommend(metric, target, replicas) == expected


def _follow(hpa: Hpa, start: int, metrics: list[tuple[float, float]]) -> list[int]:
    """The numbers set at each (time, metric); pods are there at once."""
    numbers, current = [], start
    for now, metric in metrics:
        current = hpa.sync(now, metric, current, current)
        numbers.append(current)
    return numbers


@pytest.mark.parametrize(
    ("start", "metrics", "expected"),
    [
        pytest.param(1, [(0, 500), (15, 500), (30, 500), (45, 500)], [4, 8, 16, 32], id="up to 4, then twice a sync"),
        pytest.param(3, [(0, 500)], [6], id="twice of three is more than four"),
        pytest.param(30, [(0, 500)], [50], id="the maximum binds before twice the number"),
        pytest.param(60, [(0, 500)], [50], id="more than the maximum is brought down to it at once"),
        pytest.param(1, [(0, 5), (15, 0), (3000, 0)], [1, 1, 1], id="never below the floor of one"),
        pytest.param(0, [(0, 500), (15, 500)], [0, 0], id="at zero it is switched off"),
        pytest.param(
            10,
            [(0, 50), (15, 10), (300, 10), (301, 10)],
            [10, 10, 10, 2],
            id="down only when the most of the last 300 s allows it",
        ),
        pytest.param(
            10,
            [(0, 50), (150, 30), (301, 10), (450, 10), (451, 10)],
            [10, 10, 6, 6, 2],
            id="down to the most of the last 300 s",
        ),
        pytest.param(10, [(0, 0), (299, 0), (301, 0)], [10, 10, 1], id="the first number counts as a recommendation"),
    ],
)
def test_without_behavior(start: int, metrics: list[tuple[float, float]], expected: list[int]) -> None:
    assert _follow(Hpa(1, 50, 5.0), start, metrics) == expected


@pytest.mark.parametrize(
    ("behavior", "start", "metrics", "expected"),
    [
        pytest.param(
            Behavior(), 1, [(0, 500), (15, 500), (30, 500)], [5, 10, 20], id="default up: 4 more or twice, the larger"
        ),
        pytest.param(
            Behavior(),
            10,
            [(0, 500), (10, 500), (14, 500), (15, 500)],
            [20, 20, 20, 40],
            id="default up: what was added within 15 s counts against the step",
        ),
        pytest.param(
            Behavior(), 40, [(0, 200), (15, 5), (299, 5), (300, 5)], [40, 40, 40, 1], id="default down: all after 300 s"
        ),
        pytest.param(
            Behavior(scale_up=UNLIMITED_UP), 1, [(0, 500), (15, 600)], [50, 50], id="unlimited up: the maximum at once"
        ),
        pytest.param(
            Behavior(scale_up=ScalingRules(60.0, (ScalingPolicy("Pods", 1000, 15.0),))),
            2,
            [(0, 100), (15, 50), (30, 100), (60, 100), (76, 100)],
            [2, 2, 2, 10, 20],
            id="a window upwards: the least within it",
        ),
        pytest.param(
            Behavior(scale_down=ScalingRules(60.0, AT_ONCE_DOWN.policies)),
            20,
            [(0, 100), (15, 50), (59, 50), (60, 50), (74, 25), (119, 25), (120, 25)],
            [20, 20, 20, 10, 10, 10, 5],
            id="a window downwards: the most within it",
        ),
        pytest.param(
            Behavior(scale_down=ScalingRules(0.0, (ScalingPolicy("Pods", 2, 60.0),))),
            10,
            [(0, 5), (15, 5), (59, 5), (60, 5), (75, 5)],
            [8, 8, 8, 6, 6],
            id="2 pods a minute down",
        ),
        pytest.param(
            Behavior(scale_down=ScalingRules(0.0, (ScalingPolicy("Percent", 10, 60.0),))),
            40,
            [(0, 5), (15, 5), (60, 5)],
            [36, 36, 32],
            id="10 % a minute down, rounded in favour of the step: 36 x 0.9 = 32.4",
        ),
        pytest.param(
            Behavior(scale_up=ScalingRules(0.0, (ScalingPolicy("Percent", 10, 15.0),))),
            1,
            [(0, 500), (15, 500), (30, 500)],
            [2, 3, 4],
            id="10 % up is rounded up, else it would never begin",
        ),
        pytest.param(
            Behavior(scale_up=ScalingRules(0.0, DEFAULT_SCALE_UP.policies, "Min")),
            10,
            [(0, 500), (15, 500)],
            [14, 18],
            id="selectPolicy Min up: the smaller step of 4 pods and 100 %",
        ),
        pytest.param(
            Behavior(
                scale_down=ScalingRules(
                    0.0, (ScalingPolicy("Pods", 4, 60.0), ScalingPolicy("Percent", 10, 60.0)), "Min"
                )
            ),
            20,
            [(0, 5), (60, 5)],
            [18, 16],
            id="selectPolicy Min down: the smaller step of 4 pods and 10 %",
        ),
        pytest.param(
            Behavior(
                scale_down=ScalingRules(0.0, (ScalingPolicy("Pods", 4, 60.0), ScalingPolicy("Percent", 10, 60.0)))
            ),
            80,
            [(0, 5)],
            [72],
            id="selectPolicy Max down: the larger step",
        ),
        pytest.param(
            Behavior(scale_up=ScalingRules(0.0, DEFAULT_SCALE_UP.policies, "Disabled"), scale_down=AT_ONCE_DOWN),
            5,
            [(0, 500), (15, 10)],
            [5, 2],
            id="selectPolicy Disabled up: down alone",
        ),
        pytest.param(
            Behavior(scale_down=ScalingRules(0.0, DEFAULT_SCALE_DOWN.policies, "Disabled")),
            5,
            [(0, 0), (15, 45)],
            [5, 9],
            id="selectPolicy Disabled down: up alone",
        ),
        pytest.param(
            Behavior(
                scale_up=ScalingRules(0.0, (ScalingPolicy("Pods", 4, 60.0),)),
                scale_down=ScalingRules(0.0, (ScalingPolicy("Pods", 4, 60.0),)),
            ),
            10,
            [(0, 5), (15, 500), (30, 500)],
            [6, 14, 14],
            id="what was removed within the period may be added again beyond the step",
        ),
    ],
)
def test_with_behavior(behavior: Behavior, start: int, metrics: list[tuple[float, float]], expected: list[int]) -> None:
    maximum = 100 if start > 50 else 50
    assert _follow(Hpa(1, maximum, 5.0, behavior), start, metrics) == expected
