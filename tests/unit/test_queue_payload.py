"""What is read of a payload that is never loaded: every serializer's, cut short, wrong and hostile."""

from __future__ import annotations

import json
import pickle
import time
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import msgpack
import pytest
from arq.jobs import serialize_job
from hypothesis import example, given
from hypothesis import strategies as st

from arqube_queue.msgpack_reader import MOST_VALUES
from arqube_queue.payload import JobHeader, read_header
from arqube_queue.pickle_reader import MOST_OPCODES

AT = 1_700_000_000_000

PICKLES = [pytest.param(partial(pickle.dumps, protocol=number), id=f"pickle, protocol {number}") for number in range(6)]
SERIALIZERS = [
    *PICKLES,
    pytest.param(lambda document: json.dumps(document).encode(), id="json"),
    pytest.param(msgpack.packb, id="msgpack"),
]
NAMES = st.text(min_size=1, max_size=40).filter(lambda text: "\r" not in text)
SHARED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.sampled_from(["f", "et", "t", "a", "k"])
    | st.text(max_size=20),
    lambda children: (
        st.lists(children, max_size=4) | st.dictionaries(st.sampled_from(["f", "et", "t", "x"]), children, max_size=4)
    ),
    max_leaves=20,
)
"""Arguments that hold the very keys of the payload, as a reader that is not exact would be misled by them."""


class Custom:
    """Pickled by reference: its module is imported when it is loaded."""

    def __init__(self, value: object) -> None:
        self.value = value


class Bomb:
    """Runs code when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return pytest.fail, ("the payload was loaded",)


@pytest.mark.parametrize("serializer", SERIALIZERS)
@given(
    name=st.from_regex(r"[a-z_.:é]{1,40}", fullmatch=True),
    at=st.integers(0, 2**53),
    tries=st.none() | st.integers(1, 99),
    arguments=st.lists(SHARED, max_size=4),
    options=st.dictionaries(st.sampled_from(["f", "et", "t", "x"]), SHARED, max_size=4),
)
def test_the_header_of_any_payload_is_read(
    serializer: Callable[[Any], bytes], name: str, at: int, tries: int | None, arguments: list[Any], options: Any
) -> None:
    payload = serialize_job(name, tuple(arguments), options, tries, at, serializer=serializer)
    assert read_header(payload) == JobHeader(function=name, enqueued_ms=at, tries=tries)


@pytest.mark.parametrize("serializer", PICKLES)
@pytest.mark.parametrize(
    "argument",
    [
        pytest.param(Custom({"f": "other"}), id="an object of the app's"),
        pytest.param(Bomb(), id="an object that runs code"),
        pytest.param({1, 2}, id="a set"),
        pytest.param(frozenset({"f"}), id="a frozen set"),
        pytest.param(Decimal("1.5"), id="a class called with text"),
        pytest.param(bytearray(b"f"), id="bytes that can change"),
        pytest.param(b"\xff" * 300, id="bytes"),
        pytest.param(2**200, id="a long number"),
        pytest.param(1.5, id="a fraction"),
        pytest.param(["f", "et", "work"], id="texts that are shared with the keys"),
        pytest.param([[]] * 3, id="the same list three times"),
    ],
)
def test_every_kind_of_pickled_argument_is_passed_over(serializer: Callable[[Any], bytes], argument: Any) -> None:
    payload = serialize_job("work", (argument,), {"x": argument}, 2, AT, serializer=serializer)
    assert read_header(payload) == JobHeader("work", AT, 2)


def test_arguments_that_hold_themselves_are_passed_over() -> None:
    circle: list[Any] = []
    circle.append({"f": circle})
    assert read_header(serialize_job("work", (circle,), {}, None, AT)) == JobHeader("work", AT)


@pytest.mark.parametrize("serializer", [*PICKLES, SERIALIZERS[-1]])
@given(data=st.data())
def test_a_payload_cut_short_tells_the_truth_or_nothing(serializer: Callable[[Any], bytes], data: Any) -> None:
    arguments = data.draw(st.lists(SHARED, max_size=4))
    payload = serialize_job("work", tuple(arguments), {}, 3, AT, serializer=serializer)
    read = read_header(payload[: data.draw(st.integers(0, len(payload) - 1))])
    assert read.function in (None, "work")
    assert read.tries in (None, 3)
    assert read.enqueued_ms in (None, AT)


def test_the_beginning_of_a_long_payload_has_the_function() -> None:
    for serializer in (pickle.dumps, msgpack.packb):
        payload = serialize_job("work", ("x" * 10_000,), {}, None, AT, serializer=serializer)
        assert read_header(payload[:1024]) == JobHeader("work")


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x80")
@example(b"S'\\q'\n.")
@example(b"(dp0\nVf\nV\\ud800\ns.")
@example(b"}}s.")
@example(b"\x80\x04]\x94\x8c\x01f\x94s.")
@example(b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff.")
@example(b"I" + b"9" * 5000 + b"\n.")
@example(b"\xdf\xff\xff\xff\xff\xa1f")
@example(b"\x81\xdd\xff\xff\xff\xff\x01")
def test_no_bytes_whatever_make_it_fail(payload: bytes) -> None:
    for beginning in (b"", b"\x80\x04}\x94(", b"(d", b"}", b"{", b"\x85"):
        assert isinstance(read_header(beginning + payload), JobHeader)


@given(
    st.lists(st.sampled_from([bytes([code]) for code in b"}(.d0123su\x94aelotRbc\x86\x87\x85\x8c\x01f"]), max_size=60)
)
def test_no_opcodes_in_any_order_make_it_fail(codes: list[bytes]) -> None:
    assert isinstance(read_header(b"\x80\x04" + b"".join(codes)), JobHeader)


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(["f", "work"], id="a list"),
        pytest.param({"f": 7, "et": "soon", "t": True}, id="values of other types"),
        pytest.param({"f": "", "et": -1, "t": -1}, id="an empty name and times before all time"),
        pytest.param({"f": "x" * 501, "et": 2**63}, id="values nobody means"),
        pytest.param({"f": None, "et": 1.5}, id="nothing and a fraction"),
        pytest.param({}, id="an empty dict"),
    ],
)
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_what_is_no_header_is_unknown(serializer: Callable[[Any], bytes], document: Any) -> None:
    assert read_header(serializer(document)) == JobHeader()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(pickle.dumps({"f": "\ud800"}), id="pickled"),
        pytest.param(b'{"f": "\\ud800"}', id="as JSON"),
    ],
)
def test_a_name_that_cannot_be_written_is_unknown(payload: bytes) -> None:
    assert read_header(payload) == JobHeader()


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(pickle.dumps({"f": "work", "a": list(range(3_000_000)), "et": AT}), id="pickled"),
        pytest.param(msgpack.packb({"f": "work", "a": list(range(3_000_000)), "et": AT}), id="msgpack"),
        pytest.param(b"\x80\x04" + b"}\x94" * 3_000_000, id="three million dicts"),
        pytest.param(b'{"f":' + b"[" * 3_000_000, id="JSON without a bottom"),
    ],
)
def test_huge_payloads_cost_little(payload: bytes) -> None:
    started = time.process_time()
    assert read_header(payload).enqueued_ms is None
    assert time.process_time() - started < 1
    assert max(MOST_OPCODES, MOST_VALUES) < 100_000
