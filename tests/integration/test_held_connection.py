"""A held connection answers as a client does, over whatever becomes of the connection."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from arqube_queue import held_connection
from arqube_queue.held_connection import HeldConnection


@pytest.fixture(params=[True, False], ids=["packed by hiredis", "packed by redis-py"], autouse=True)
def packing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert held_connection._pack is not None
    if not request.param:
        monkeypatch.setattr(held_connection, "_pack", None)


@pytest.mark.parametrize("length", [0, 1, 300_000], ids=["nothing", "a byte", "more than a buffer takes"])
async def test_bytes_come_back_as_they_went(redis: Redis, length: int) -> None:
    held = HeldConnection(redis)
    value = bytes(range(256)) * (length // 256) + b"\xff" * (length % 256)

    assert await held.execute_command("ECHO", value) == value
    await held.disconnect()


async def test_text_and_numbers_are_what_redis_py_makes_of_them(redis: Redis) -> None:
    held = HeldConnection(redis)

    assert await held.execute_command("EVAL", "return ARGV", 0, "jöb", 12, -1) == ["jöb".encode(), b"12", b"-1"]
    await held.disconnect()


async def test_a_refusal_leaves_the_connection_of_use(redis: Redis) -> None:
    held = HeldConnection(redis)
    with pytest.raises(ResponseError):
        await held.execute_command("NO_SUCH_COMMAND")
    number = await held.execute_command("CLIENT", "ID")

    assert await held.execute_command("CLIENT", "ID") == number
    await held.disconnect()


async def test_a_connection_that_was_cut_fails_one_call(redis: Redis) -> None:
    held = HeldConnection(redis)
    number = await held.execute_command("CLIENT", "ID")
    await redis.execute_command("CLIENT", "KILL", "ID", number)  # type: ignore[no-untyped-call]

    with pytest.raises((RedisError, OSError)):
        await held.execute_command("ECHO", "lost")
    assert await held.execute_command("ECHO", "found") == b"found"
    await held.disconnect()


async def test_no_answer_in_time_fails_and_is_not_taken_for_that_of_the_next_call(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = HeldConnection(redis)
    await held.execute_command("ECHO", "there")
    monkeypatch.setattr(held_connection, "ANSWER_TIMEOUT_S", 0.05)
    with pytest.raises(TimeoutError):
        await held.execute_command("BLPOP", "nothing", 1)

    monkeypatch.undo()
    assert await held.execute_command("ECHO", "mine") == b"mine"
    await held.disconnect()


async def test_a_connection_that_was_silent_for_long_is_opened_anew(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_connection, "SILENCE_S", 0.0)
    held = HeldConnection(redis)

    assert await held.execute_command("CLIENT", "ID") != await held.execute_command("CLIENT", "ID")
    await held.disconnect()


async def test_commands_that_are_sent_together_are_answered_in_order_and_a_refusal_spoils_only_its_own(
    redis: Redis,
) -> None:
    held = HeldConnection(redis)
    one, refused, other = await held.execute_commands([("ECHO", "one"), ("NO_SUCH_COMMAND",), ("ECHO", "other")])

    assert (one, other) == (b"one", b"other")
    assert isinstance(refused, ResponseError)
    await held.disconnect()


async def test_answers_that_nobody_waited_for_are_not_taken_for_those_to_the_next_commands(redis: Redis) -> None:
    held = HeldConnection(redis)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await held.execute_commands([("ECHO", "one"), ("BLPOP", "nothing", 1), ("ECHO", "other")])

    assert await held.execute_commands([("ECHO", "mine")]) == [b"mine"]
    await held.disconnect()
