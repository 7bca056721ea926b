"""The lines of a job's tries: what is written is read again, and what is not known is passed over."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_queue import job_tries
from arqube_queue.job_tries import ERROR_LENGTH, Ending, JobTry

TIMES = st.integers(1, 2**45)
TEXTS = st.text(st.characters(), max_size=ERROR_LENGTH)  # with lone surrogates, as errors and names may have
OUTCOMES = st.sampled_from(["succeeded", "failed", "retried", "aborted", "returned"])
TRIES = st.builds(JobTry, st.integers(1, 99), TEXTS, TIMES, TIMES, OUTCOMES, TEXTS)


def line(one: JobTry) -> str:
    assert one.ended_ms is not None
    assert one.outcome is not None
    worker = job_tries.quoted(one.worker)
    return job_tries.ended_try(one.number, worker, one.started_ms, one.ended_ms, one.outcome, one.error)


@given(TRIES.map(lambda one: [one]) | st.lists(TRIES, max_size=5), st.none() | TEXTS, TIMES, OUTCOMES, TEXTS)
def test_what_is_written_is_read_again(
    tries: list[JobTry], function: str | None, enqueued_ms: int, outcome: str, error: str
) -> None:
    name = "null" if function is None else job_tries.quoted(function)
    lines = [job_tries.ending(name, enqueued_ms, outcome, error), *map(line, tries)]
    told, found = job_tries.parse("\n".join(lines).encode())
    assert told == Ending(function, enqueued_ms, outcome, error)
    assert list(found) == tries
    assert job_tries.parse("\n".join(lines[1:]).encode()) == (None, tuple(tries))


@given(TEXTS, TIMES, TIMES, TIMES)
def test_the_lines_of_most_jobs_are_those_that_are_written_one_by_one(
    name: str, enqueued_ms: int, started_ms: int, ended_ms: int
) -> None:
    function, worker = job_tries.quoted(name), job_tries.quoted("pod")
    lines = [
        job_tries.ending(function, enqueued_ms, "succeeded"),
        job_tries.ended_try(1, worker, started_ms, ended_ms, "succeeded"),
    ]
    assert job_tries.only_try(function, enqueued_ms, worker, started_ms, ended_ms, "succeeded") == "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "outcomes"),
    [
        pytest.param('[1,"a",5]', [None], id="the last without an end may run yet"),
        pytest.param('[1,"a",5]\n[2,"b",9]', ["lost", None], id="one without an end that another follows was lost"),
        pytest.param('[1,"a",5,7,"retried"]\n[2,"b",9]', ["retried", None], id="one with an end was not"),
        pytest.param("", [], id="nothing"),
        pytest.param('[1,"a",5]\nnonsense\n{}\n[]\n[3]\n12\n[2,"b",9]', ["lost", None], id="lines of another kind"),
        pytest.param('[1,"a",5,7,"retried","e",1,2]', ["retried"], id="more than is known, of a newer worker"),
        pytest.param("[" * 10_000, [], id="what would overflow a reader"),
    ],
)
def test_what_lines_mean(text: str, outcomes: list[str | None]) -> None:
    told, tries = job_tries.parse(text.encode())
    assert told is None
    assert [one.outcome for one in tries] == outcomes


@given(st.binary(max_size=200))
def test_whatever_stands_there_is_read_without_an_error(text: bytes) -> None:
    job_tries.parse(text)


def test_a_long_error_is_cut() -> None:
    text = job_tries.ended_try(1, '"a"', 1, 2, "failed", "e" * 9000)
    assert len(json.loads(text)[-1]) == ERROR_LENGTH


def test_a_duration_is_known_once_the_try_has_ended() -> None:
    assert JobTry(1, "a", 1000, 3500, "failed").duration_s == 2.5
    assert JobTry(1, "a", 1000).duration_s is None
