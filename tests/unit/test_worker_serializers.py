"""The serializers that run no code: what goes through them, what they refuse, and how a failure comes back."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pytest
from arq.jobs import SerializationError, deserialize_job, deserialize_result, serialize_job, serialize_result
from arq.worker import JobExecutionFailed
from hypothesis import example, given
from hypothesis import strategies as st

from arqube_worker.serializers import (
    RemoteError,
    json_deserializer,
    json_serializer,
    msgpack_deserializer,
    msgpack_serializer,
    warn_about_pickle,
)

Pair = tuple[Callable[[Mapping[str, Any]], bytes], Callable[[bytes], dict[str, Any]]]
BOTH = pytest.mark.parametrize(
    "pair",
    [
        pytest.param((json_serializer, json_deserializer), id="json"),
        pytest.param((msgpack_serializer, msgpack_deserializer), id="msgpack"),
    ],
)
SHARED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)
"""Values that both formats know."""


class ShopError(Exception):
    pass


def result_of(pair: Pair, success: bool, result: Any) -> Any:
    data = serialize_result(
        "work", (1,), {}, 1, 1000, success, result, 2000, 3000, "ref", "arq:queue", "id", serializer=pair[0]
    )
    assert data is not None
    read = deserialize_result(data, deserializer=pair[1])
    assert (read.function, read.args, read.success) == ("work", (1,), success)
    return read.result


@BOTH
@given(arguments=st.lists(SHARED, max_size=3).map(tuple), options=st.dictionaries(st.text(), SHARED, max_size=3))
def test_a_job_arrives_as_it_was_sent(pair: Pair, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    data = serialize_job("work", arguments, options, None, 1000, serializer=pair[0])
    job = deserialize_job(data, deserializer=pair[1])
    assert (job.function, job.args, job.kwargs, job.job_try) == ("work", arguments, options, None)


@BOTH
@given(value=SHARED)
def test_a_result_comes_back_as_it_was_returned(pair: Pair, value: Any) -> None:
    assert result_of(pair, True, value) == value


@pytest.mark.parametrize(
    ("error", "name", "text"),
    [
        pytest.param(ValueError("no such mail"), "ValueError", "ValueError: no such mail", id="a built-in class"),
        pytest.param(ShopError("shut"), f"{__name__}.ShopError", f"{__name__}.ShopError: shut", id="the app's class"),
        pytest.param(KeyError(), "KeyError", "KeyError", id="no text"),
        pytest.param(RemoteError("a.B", "c"), "a.B", "a.B: c", id="the error of a job that waited for another"),
    ],
)
@BOTH
def test_an_exception_comes_back_as_its_name_and_text(pair: Pair, error: Exception, name: str, text: str) -> None:
    read = result_of(pair, False, error)
    assert isinstance(read, RemoteError)
    assert (read.type_name, str(read)) == (name, text)


@BOTH
@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), TimeoutError(), JobExecutionFailed("max 5 retries exceeded")]
)
def test_what_clients_of_arq_tell_apart_comes_back_as_itself(pair: Pair, error: BaseException) -> None:
    read = result_of(pair, False, error)
    assert type(read) is type(error)
    assert str(read) == str(error)


@BOTH
def test_a_result_that_looks_like_an_exception_is_a_result(pair: Pair) -> None:
    value = {"__exception__": "ValueError", "message": "x"}
    assert result_of(pair, True, value) == value


@BOTH
@pytest.mark.parametrize("argument", [object(), {1, 2}, 2**64], ids=["an object", "a set", "more than 64 bits"])
def test_what_the_format_does_not_know_is_refused_when_enqueued(pair: Pair, argument: Any) -> None:
    if pair[0] is json_serializer and argument == 2**64:
        pytest.skip("JSON has numbers of any length")
    with pytest.raises(SerializationError):
        serialize_job("work", (argument,), {}, None, 1000, serializer=pair[0])


@pytest.mark.parametrize(
    "argument",
    [
        pytest.param({1: "one"}, id="a number as a key, which would arrive as text"),
        pytest.param([{0: "zero"}], id="a false number as a key, deep within"),
        pytest.param(float("nan"), id="not a number"),
        pytest.param(b"bytes", id="bytes"),
    ],
)
def test_json_refuses_what_would_arrive_as_something_else(argument: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        json_serializer({"a": (argument,)})


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(ValueError, match="Circular"):
        json_serializer({"a": circle})


def test_msgpack_keeps_bytes_and_numbers_as_keys() -> None:
    assert msgpack_deserializer(msgpack_serializer({"a": (b"\xff", {1: 2})})) == {"a": (b"\xff", {1: 2})}


@BOTH
@given(data=st.binary(max_size=40))
@example(data=b"\x81\x90\x01")
def test_other_bytes_are_refused_or_give_a_dict(pair: Pair, data: bytes) -> None:
    with suppress(ValueError, TypeError):
        assert isinstance(pair[1](data), dict)


def test_json_is_compact_and_readable() -> None:
    assert json_serializer({"f": "grüße", "a": (1, 2)}) == '{"f":"grüße","a":[1,2]}'.encode()
    assert json.loads(json_serializer({"r": ValueError("x")})) == {"r": {"__exception__": "ValueError", "message": "x"}}


@pytest.mark.parametrize("default", [True, False])
def test_a_worker_on_pickle_is_told_why_and_what_to_do(caplog: pytest.LogCaptureFixture, default: bool) -> None:
    with caplog.at_level(logging.WARNING, "arqube_worker.serializers"):
        warn_about_pickle(default)
    told = [record.message for record in caplog.records]
    assert ["arqube_worker.serializers on producers" in text for text in told] == ([True] if default else [])
