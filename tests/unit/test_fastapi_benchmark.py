"""The benchmark of the FastAPI example: what its verdict tells apart, and when it strikes."""

from __future__ import annotations

import itertools
import json
from collections import Counter

import pytest
from benchmarks.fastapi import records
from benchmarks.fastapi.client import Answer, Ledger
from benchmarks.fastapi.faults import Fault, schedule
from benchmarks.fastapi.verdict import Records, judge

LEDGER = Ledger(
    answers={"a": Answer.CREATED, "b": Answer.CREATED, "c": Answer.UNKNOWN, "d": Answer.UNKNOWN, "e": Answer.REFUSED}
)
BROKEN = ("vanished", "without_mail", "with_several_mails", "mails_to_nobody")


@pytest.mark.parametrize(
    ("users", "mails", "broken"),
    [
        pytest.param("abc", "abc", {}, id="an unknown one has committed, and all have their mail"),
        pytest.param("ac", "ac", {"vanished": 1}, id="one that was answered with 201 is not there"),
        pytest.param("abc", "ab", {"without_mail": 1}, id="one has no mail"),
        pytest.param("abc", "aabbc", {"with_several_mails": 2}, id="two have two mails"),
        pytest.param("ab", "abde", {"mails_to_nobody": 2}, id="two mails went to nobody"),
    ],
)
def test_a_broken_promise_is_told(users: str, mails: str, broken: dict[str, int]) -> None:
    verdict = judge(LEDGER, Records(frozenset(users), list(mails), {"1": 1, "2": 3}))
    assert {name: count for name in BROKEN if (count := getattr(verdict, name))} == broken
    assert verdict.is_kept == (not broken)
    assert (verdict.posts, verdict.created, verdict.refused, verdict.unknown) == (5, 2, 1, 2)
    assert (verdict.jobs, verdict.starts) == (2, 4)


def test_nobody_is_no_success() -> None:
    assert not judge(Ledger(), Records(frozenset(), [], {})).is_kept


def test_ledger_and_records_come_through_json() -> None:
    assert Ledger.from_json(json.loads(json.dumps(LEDGER.to_json()))) == LEDGER
    kept = Records(frozenset("ab"), ["a"], {"1": 2})
    assert records.from_json(json.loads(json.dumps(records.to_json(kept)))) == kept


def test_every_fault_is_struck_within_the_load_in_even_distances() -> None:
    blows = schedule(130)
    assert Counter(blow.fault for blow in blows).keys() == set(Fault)
    times = [0.0, *(blow.at_s for blow in blows), 130.0]
    assert {round(after - before, 6) for before, after in itertools.pairwise(times)} == {10.0}
