"""Heartbeats survive what other versions and other programs write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_queue import heartbeat
from arqube_queue.model import Heartbeat

counts = st.integers(min_value=0, max_value=2**40)


@given(
    st.builds(
        Heartbeat,
        worker=st.text(),
        at_ms=counts,
        busy=counts,
        slots=counts,
        draining=st.booleans(),
        started=counts,
        finished=st.dictionaries(st.text(), counts),
        run_seconds=st.floats(min_value=0, max_value=2**40),
        functions=st.lists(st.text()).map(tuple),
    )
)
def test_what_is_written_is_read(written: Heartbeat) -> None:
    value = str(written.at_ms).encode() + b" " + heartbeat.encode(written)

    assert heartbeat.decode(written.worker.encode(), value) == written


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"123", id="a time alone"),
        pytest.param(b"soon {}", id="no number for a time"),
        pytest.param(b"1 [1,2]", id="a list"),
        pytest.param(b'1 {"busy": "many"}', id="a word for a number"),
        pytest.param(b'1 {"finished": 3}', id="a number for a table"),
        pytest.param(b"1 \xff\xfe", id="bytes that are no text"),
        pytest.param(b'1 {"busy": 1e999}', id="a number beyond all numbers"),
        pytest.param(b'1 {"busy": -1}', id="a count below 0"),
        pytest.param(b'1 {"slots": 1e300}', id="a count beyond all memory"),
        pytest.param(b'1 {"run_seconds": NaN}', id="a time that is no number"),
        pytest.param(b'1 {"run_seconds": Infinity}', id="a time without end"),
        pytest.param(b'1 {"cron_runs": {"tick": -5}}', id="a cron run before all times"),
        pytest.param(b'1 {"functions": ["\\ud800"]}', id="half a surrogate pair"),
        pytest.param(b'1 {"functions": null}', id="null for a list"),
        pytest.param(b'1 {"finished": {"failed": [1]}}', id="a list for a count"),
        pytest.param(b"1 " + b"[" * 100_000, id="lists without end"),
        pytest.param(b"1 " + b'{"busy":' * 100_000, id="tables without end"),
        pytest.param(b"1" * 5000 + b" {}", id="a time of five thousand digits"),
        pytest.param(b"-5 {}", id="a time below 0"),
        pytest.param(b'1 {"busy": ' + b"9" * 5000 + b"}", id="a count of five thousand digits"),
    ],
)
def test_what_is_no_heartbeat_is_ignored(value: bytes) -> None:
    assert heartbeat.decode(b"pod", value) is None


@given(st.binary())
def test_no_value_breaks_the_reader(value: bytes) -> None:
    heartbeat.decode(b"pod", value)


def test_names_of_a_newer_version_are_ignored_and_missing_ones_have_defaults() -> None:
    value = b"5 " + json.dumps({"busy": 1, "slots": 2, "mood": "fine"}).encode()

    assert heartbeat.decode(b"pod", value) == Heartbeat(worker="pod", at_ms=5, busy=1, slots=2)
