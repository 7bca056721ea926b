"""What the fuzzers began with and what they found, given to their targets again; and inputs of hypothesis' making."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz import targets

from arqube_queue.payload import LONGEST_NAME, read_header

CORPUS = Path(targets.__file__).parent / "corpus"
INPUTS = sorted(path for path in CORPUS.glob("*/*"))


def test_each_target_has_inputs() -> None:
    assert {path.parent.name for path in INPUTS} <= targets.TARGETS.keys()


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}: {path.name}") for path in INPUTS])
def test_an_input_that_is_kept_breaks_nothing(path: Path) -> None:
    targets.check(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("name", list(targets.TARGETS))
@settings(max_examples=25)
@given(data=st.binary(max_size=300))
def test_no_bytes_break_a_target(name: str, data: bytes) -> None:
    targets.check(name, data)


plain = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text() | st.binary()
arguments = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
jobs = st.fixed_dictionaries(
    {
        "t": st.none() | st.integers(0, 2**50),
        "f": st.text(min_size=1, max_size=40),
        "a": st.lists(arguments, max_size=3).map(tuple),
        "k": st.dictionaries(st.sampled_from(["f", "t", "et", "x"]), arguments, max_size=3),
        "et": st.integers(0, 2**50),
    }
)


@given(job=jobs, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL), order=st.permutations(["t", "f", "a", "k", "et"]))
def test_the_header_of_any_pickled_job_is_the_one_that_a_worker_reads(
    job: dict[str, Any], protocol: int, order: list[str]
) -> None:
    header = read_header(pickle.dumps({name: job[name] for name in order}, protocol=protocol))
    assert (header.function, header.tries, header.enqueued_ms) == (job["f"], job["t"], job["et"])


@given(job=jobs, order=st.permutations(["t", "f", "a", "k", "et"]))
def test_the_header_of_any_job_in_messagepack_is_the_one_that_a_worker_reads(
    job: dict[str, Any], order: list[str]
) -> None:
    header = read_header(msgpack.packb({name: job[name] for name in order}))
    assert (header.function, header.tries, header.enqueued_ms) == (job["f"], job["t"], job["et"])


@given(job=jobs, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL), cut=st.integers(0, 400))
def test_the_header_of_a_cut_pickle_is_right_or_unknown(job: dict[str, Any], protocol: int, cut: int) -> None:
    header = read_header(pickle.dumps(job, protocol=protocol)[:cut])
    assert header.function in (None, job["f"])
    assert header.enqueued_ms in (None, job["et"])


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"\x80\x04" + b"(" * 10_000_000, id="ten million marks"),
        pytest.param(b"\x80\x04" + b"}" * 10_000_000, id="ten million dicts"),
        pytest.param(b"\x80\x04}" + b"(0" * 5_000_000, id="marks that are taken away again"),
        pytest.param(b"(" + b"V" + b"x" * 10_000_000, id="a text without an end"),
        pytest.param(b"\x80\x04}(" + b"\x8c\x01fh\x00" * 2_000_000 + b"u.", id="two million entries of one name"),
        pytest.param(b"(I" + b"9" * 10_000_000 + b"\n.", id="a number of ten million digits"),
        pytest.param(b"\x80\x04\x8b" + b"\xff\xff\xff\x00" + b"\x7f" * 0xFFFFFF, id="a number of sixteen megabytes"),
        pytest.param(b"[" * 10_000_000, id="ten million lists of JSON"),
        pytest.param(b'{"f":' * 2_000_000, id="two million objects of JSON"),
        pytest.param(b" " * 10_000_000 + b"{", id="ten million spaces"),
        pytest.param(b'{"et":' + b"9" * 10_000_000 + b"}", id="a number of JSON of ten million digits"),
        pytest.param(b"\x91" * 10_000_000, id="ten million lists of MessagePack"),
        pytest.param(b"\xdf\xff\xff\xff\xff" + b"\xa1f\xa1x" * 2_000_000, id="a map of four thousand million"),
        pytest.param(b"\x81\xa1f\xdb\xff\xff\xff\xff", id="a text of four gigabytes that is not there"),
    ],
)
def test_no_payload_is_long_to_read(payload: bytes) -> None:
    targets.check("payloads", payload)
    header = read_header(payload)
    assert header.function is None or len(header.function) <= LONGEST_NAME
