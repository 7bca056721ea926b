"""What ``arqube explain`` says of a TaskQueue, and what it draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from arqube_local.explain.account import Account, Happening
from arqube_local.explain.plot import ASCII, BLOCKS, glyphs_for, plot
from arqube_local.explain.words import tell
from arqube_operator.api.v1alpha1 import TaskQueue
from arqube_operator.decide.explanation import REMEDIES, attention, remedy
from arqube_operator.decide.scaling import words as decision_words
from arqube_queue.history import Sample

NOW_MS = 1_767_268_800_000  # 2026-01-01T12:00:00Z
WIDTH = 80

Make = Callable[..., Account]


def body(status: dict[str, Any] | None, **scaling: Any) -> dict[str, Any]:
    return {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": "emails", "namespace": "shop", "uid": "uid-1", "generation": 2},
        "spec": {
            "redis": {"host": "redis"},
            "worker": {"image": "app:1", "settings": "app.WorkerSettings"},
            "scaling": scaling,
        },
        "status": status or {},
    }


def condition(kind: str, status: str, reason: str, message: str = "it is so") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": "2026-01-01T11:00:00Z",
    }


def busy(*conditions: dict[str, Any], **scaling: Any) -> dict[str, Any]:
    """The status of a queue that has work for more workers than there are."""
    return {
        "observedGeneration": 2,
        "replicas": 4,
        "readyReplicas": 3,
        "desiredReplicas": 6,
        "queue": {
            "waiting": 412,
            "running": 30,
            "deferred": 7,
            "dueSoon": 2,
            "oldestWait": "12s",
            "deadLetters": 1,
        },
        "scaling": {
            "reason": "ScalingUp",
            "message": "412 waiting, 30 running, 2 due soon; 6 workers in place of 4",
            "inputs": {
                "waiting": 412,
                "running": 30,
                "dueSoon": 2,
                "oldestWaitSeconds": 12,
                "arrivalsPerSecond": 13.24,
                "serviceSeconds": 1.4,
                "startupSeconds": 11.2,
                "busySlots": 30,
                "slots": 30,
            },
            "terms": [
                {"name": "Arrivals", "replicas": 4.62, "message": "13.2 jobs/s of 1.4 s each keep 18.5 slots busy"},
                {"name": "Backlog", "replicas": 5.73, "message": "412 waiting"},
            ],
            **scaling,
        },
        "conditions": list(conditions),
    }


def account(status: dict[str, Any] | None, *, samples: tuple[Sample, ...] = (), **spec: Any) -> Account:
    document = body(status, **spec)
    return Account(document, TaskQueue.from_object(document), (), samples, NOW_MS)


def said(told: Account, width: int = WIDTH) -> str:
    """All of it on one line, however it was wrapped."""
    return " ".join(tell(told, width, BLOCKS).split())


@pytest.mark.parametrize(
    ("status", "spec", "expected"),
    [
        pytest.param(
            None,
            {},
            ["The operator has not seen it yet. Does one run that watches this namespace?"],
            id="a TaskQueue that no operator has seen",
        ),
        pytest.param(
            busy(),
            {},
            [
                "TaskQueue shop/emails 6 workers wanted, 3 ready: more workers are needed (ScalingUp).",
                "412 waiting, the oldest for 12s; 30 running; 7 deferred, 2 of them soon; 1 dead letter",
                "13.2 jobs/s arrive, a job runs 1.4 s",
                "30 of 30 slots busy, a new worker is ready within 11.2 s",
                "a due job starts within 30s, with 0 to 10 workers",
                "Arrivals 4.62 13.2 jobs/s of 1.4 s each keep 18.5 slots busy",
                "Backlog 5.73 412 waiting",
            ],
            id="the headline, the inputs, the target and the terms",
        ),
        pytest.param(
            busy(), {"jobsPerReplica": 1}, ["Target 1 job a worker, with 0 to 10 workers"], id="the simple target"
        ),
        pytest.param(
            busy(limit="MaxReplicas", reason="AtMaxReplicas"),
            {"maxReplicas": 6},
            [
                "more would help, but no more are allowed (AtMaxReplicas)",
                "Limit MaxReplicas. The jobs need more workers than spec.scaling.maxReplicas (6) allows. Raise it,",
            ],
            id="the limit that binds with the field, its value and the remedy",
        ),
        pytest.param(
            busy(limit="OfTomorrow"),
            {},
            ["Limit OfTomorrow. 412 waiting, 30 running, 2 due soon; 6 workers in place of 4"],
            id="a limit that only a newer operator knows",
        ),
        pytest.param(
            busy(limit="DryRun"), {"dryRun": True}, ["6 workers would be wanted, 3 ready"], id="a dry run is no deed"
        ),
        pytest.param(
            busy(retiring=1),
            {},
            ["Retiring 1 worker asked to take", "to go when theirs have ended"],
            id="who is on the way out",
        ),
        pytest.param(
            busy(
                lastChange={
                    "time": "2026-01-01T11:57:00Z",
                    "from": 2,
                    "to": 4,
                    "reason": "ScalingUp",
                    "message": "so many waited",
                }
            ),
            {},
            ["Last change 3m ago, from 2 to 4 (ScalingUp): so many waited"],
            id="the last change and why",
        ),
        pytest.param(
            busy(crons={"template": "t", "next": "2026-01-01T15:00:00Z"}),
            {},
            ["Next cron in 3h, at 2026-01-01T15:00:00Z"],
            id="the next cron run",
        ),
        pytest.param(
            busy() | {"observedGeneration": 1},
            {},
            ["The operator has not looked at the last change of the spec yet."],
            id="a status that is behind the spec",
        ),
        pytest.param(
            busy(reason="ManualReplicas", terms=[], message="3 by spec.replicas; remove that field"),
            {},
            ["a person set the number (ManualReplicas). 3 by spec.replicas; remove that field."],
            id="a decision without terms in its own words",
        ),
    ],
)
def test_it_says(status: dict[str, Any] | None, spec: dict[str, Any], expected: list[str]) -> None:
    text = said(account(status, **spec))
    for sentence in expected:
        assert sentence in text


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        pytest.param([condition("Ready", "True", "Ready")], [], id="nothing when all is well"),
        pytest.param([condition("WorkersAvailable", "False", "Starting")], [], id="nothing of workers that start"),
        pytest.param(
            [condition("ScalingLimited", "False", "WithinLimits")], [], id="nothing of limits, told elsewhere"
        ),
        pytest.param(
            [
                condition("Ready", "False", "ImagePullFailed", "pod a: no such image"),
                condition("WorkersAvailable", "False", "ImagePullFailed", "pod a: no such image"),
            ],
            ["WorkersAvailable"],
            id="the cause, and its summary not again",
        ),
        pytest.param([condition("Ready", "False", "InvalidSpec")], ["Ready"], id="what the summary alone says"),
        pytest.param(
            [condition("WorkersAvailable", "True", "RolloutStuck")], ["WorkersAvailable"], id="a rollout that hangs"
        ),
        pytest.param(
            [condition("ScalingActive", "False", "ManualReplicas")],
            ["ScalingActive"],
            id="that a person holds the number",
        ),
    ],
)
def test_attention_is_called_to(conditions: list[dict[str, Any]], expected: list[str]) -> None:
    task_queue = TaskQueue.from_object(body(busy(*conditions)))
    assert [found.type for found in attention(task_queue.status)] == expected


@pytest.mark.parametrize("limit", sorted({*REMEDIES, *decision_words._LIMITS}))
def test_each_limit_has_a_remedy(limit: str) -> None:
    text = remedy(TaskQueue.from_object(body(busy(limit=limit))).spec.scaling, limit)
    assert text is not None
    assert text.endswith(".")
    assert "{" not in text


def test_an_operator_that_fell_silent_is_told() -> None:
    assert "The operator last read the queue 3m ago." in said(account(busy(), samples=(sample(200), sample(180))))
    assert "The operator last read" not in said(account(busy(), samples=(sample(200), sample(5))))


def test_without_history_the_reason_stands_in_its_place() -> None:
    document = body(busy())
    told = Account(document, TaskQueue.from_object(document), (), (sample(0),), NOW_MS, "Redis at redis:6379/0 is away")
    assert "No history Redis at redis:6379/0 is away." in said(told)
    assert "waiting 412" not in said(told)


def test_events_come_with_their_age_and_how_often() -> None:
    document = body(busy())
    happenings = (
        Happening(NOW_MS / 1000 - 400, 1, "ScaledUp", "scaled up from 0 to 2: " + "so many words " * 40, False),
        Happening(NOW_MS / 1000 - 30, 3, "RedisUnreachable", "away\x1b[2J", True),
    )
    told = Account(document, TaskQueue.from_object(document), happenings, (), NOW_MS)
    lines = tell(told, WIDTH, BLOCKS).splitlines()
    first = next(index for index, line in enumerate(lines) if "ScaledUp: scaled up from 0 to 2" in line)
    assert lines[first].startswith("     6m ago  ")
    assert lines[first + 1].endswith("...")
    assert lines[first + 2] == "!   30s ago  RedisUnreachable (3 times): away\ufffd[2J"


@pytest.mark.parametrize("width", [60, 80, 110])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    told = account(
        busy(
            condition("WorkersAvailable", "False", "CrashLooping", "pod x: it ends with code 1 " * 9),
            limit="Unschedulable",
        ),
        samples=tuple(sample(ago, waiting=ago) for ago in range(900, 0, -5)),
    )
    assert max(map(len, tell(told, width, BLOCKS).splitlines())) <= width


def sample(ago_s: float, waiting: int = 0, replicas: int = 0, ready: int = 0) -> Sample:
    return Sample(int(NOW_MS - ago_s * 1000), waiting, 0, 0, 0, replicas, ready)


def drawn(*samples: Sample, width: int = 26) -> list[str]:
    return plot(samples, NOW_MS, width, ASCII)


def test_a_plot_shows_the_course_scaled_to_its_highest() -> None:
    # Ten columns of 6 s each.
    samples = [sample(60 - 6 * index, waiting=index, replicas=2, ready=index // 5) for index in range(10)]
    assert drawn(*samples)[:-2] == [
        "waiting      9 |       .:#",
        "               |     .:###",
        "               |   .######",
        "               | :########",
        "             0 +----------",
        "workers      2 |----------",
        "               |-----:::::",
        "               |-----#####",
        "             0 +----------",
    ]


@pytest.mark.parametrize(
    ("samples", "lines"),
    [
        pytest.param((), [], id="nothing without samples"),
        pytest.param(
            (sample(60), sample(45), sample(30), sample(15), sample(0.1)),
            ["waiting      0 +----------", "workers      0 +----------"],
            id="one line each for an idle queue",
        ),
        pytest.param(
            (sample(60), sample(6)),
            ["waiting      0 +---      -", "workers      0 +---      -"],
            id="a gap where nothing is known",
        ),
    ],
)
def test_a_plot_of_quiet_times(samples: tuple[Sample, ...], lines: list[str]) -> None:
    assert drawn(*samples)[:2] == lines


@pytest.mark.parametrize(
    ("age_s", "span"),
    [
        pytest.param(20, "-1m", id="20 s are shown within a minute"),
        pytest.param(61, "-2m", id="61 s within two"),
        pytest.param(899, "-15m", id="all that is kept within a quarter of an hour"),
        pytest.param(4000, "-15m", id="no more than that"),
    ],
)
def test_a_plot_is_as_long_as_needed(age_s: float, span: str) -> None:
    lines = drawn(sample(age_s), sample(1), width=80)
    assert lines[-2].split()[0] == span


def test_one_waiting_job_is_seen_beside_a_thousand() -> None:
    lines = drawn(sample(60, waiting=1000), sample(45, waiting=1), sample(30, waiting=0), width=26)
    assert lines[3] == "               |###.."


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        pytest.param("utf-8", BLOCKS, id="blocks in UTF-8"),
        pytest.param("ascii", ASCII, id="ASCII where there is no more"),
        pytest.param("iso8859-1", ASCII, id="ASCII where blocks are missing"),
        pytest.param(None, ASCII, id="ASCII where nobody knows"),
    ],
)
def test_it_is_drawn_with(encoding: str | None, expected: object) -> None:
    assert glyphs_for(encoding) == expected
