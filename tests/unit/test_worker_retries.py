"""Retry policies: what they take, what they decide, whose number of tries binds."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_worker import retries
from arqube_worker.retries import Backoff, Decision, RetryPolicy


@pytest.mark.parametrize(
    ("make", "told"),
    [
        pytest.param(lambda: Backoff(initial=-1), "Backoff.initial must be a number of at least 0, not -1", id="past"),
        pytest.param(lambda: Backoff(factor=0.5), "Backoff.factor must be a number of at least 1", id="shrinking"),
        pytest.param(lambda: Backoff(jitter=1.5), "Backoff.jitter must be a number from 0 to 1, not 1.5", id="jitter"),
        pytest.param(lambda: Backoff(maximum=float("inf")), "Backoff.maximum must be a number", id="endless"),
        pytest.param(lambda: Backoff(initial=float("nan")), "Backoff.initial must be a number", id="no number at all"),
        pytest.param(lambda: Backoff(initial="1"), "Backoff.initial must be a number, not '1'", id="a text"),
        pytest.param(
            lambda: Backoff(initial=9, maximum=3), "Backoff.maximum must be at least Backoff.initial, 9", id="order"
        ),
        pytest.param(lambda: RetryPolicy(max_tries=0), "RetryPolicy.max_tries must be at least 1, not 0", id="no try"),
        pytest.param(lambda: RetryPolicy(max_tries=2.5), "RetryPolicy.max_tries must be a whole number", id="half"),
        pytest.param(lambda: RetryPolicy(max_tries=True), "RetryPolicy.max_tries must be a whole number", id="yes"),
        pytest.param(lambda: RetryPolicy(backoff=3), "RetryPolicy.backoff must be a Backoff", id="a bare backoff"),
        pytest.param(
            lambda: RetryPolicy(retry_on=("ValueError",)), "RetryPolicy.retry_on must hold subclasses", id="a name"
        ),
        pytest.param(lambda: RetryPolicy(retry_on=3), "RetryPolicy.retry_on must be an exception class", id="a number"),
        pytest.param(
            lambda: RetryPolicy(give_up_on=(KeyboardInterrupt,)), "RetryPolicy.give_up_on must hold", id="no Exception"
        ),
        pytest.param(lambda: RetryPolicy(time_limit=-1), "RetryPolicy.time_limit must be a number", id="limit"),
    ],
)
def test_a_bad_field_is_named(make: Any, told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        make()


@pytest.mark.parametrize(
    ("policy", "number", "error", "elapsed_s", "decision"),
    [
        pytest.param(RetryPolicy(), 1, ValueError(), 0, Decision(1.0), id="any exception by default"),
        pytest.param(RetryPolicy(), 3, ValueError(), 0, Decision(4.0), id="later with each try"),
        pytest.param(RetryPolicy(), 5, ValueError(), 0, Decision(None, "tries_exhausted"), id="the last try"),
        pytest.param(RetryPolicy(), 9, ValueError(), 0, Decision(None, "tries_exhausted"), id="beyond the last try"),
        pytest.param(RetryPolicy(retry_on=(OSError,)), 1, ValueError(), 0, Decision(None, "failed"), id="another"),
        pytest.param(RetryPolicy(retry_on=OSError), 1, TimeoutError(), 0, Decision(1.0), id="a subclass, of one class"),
        pytest.param(
            RetryPolicy(give_up_on=(KeyError,)), 1, KeyError(), 0, Decision(None, "failed"), id="one to give up on"
        ),
        pytest.param(RetryPolicy(), 1, SystemExit(), 0, Decision(None, "failed"), id="what is no Exception"),
        pytest.param(RetryPolicy(time_limit=60), 1, ValueError(), 59, Decision(1.0), id="just within the limit"),
        pytest.param(
            RetryPolicy(time_limit=60), 1, ValueError(), 59.5, Decision(None, "tries_exhausted"), id="beyond the limit"
        ),
        pytest.param(
            RetryPolicy(backoff=Backoff(10, 3, 25, 0)), 2, ValueError(), 0, Decision(25.0), id="no later than said"
        ),
    ],
)
def test_what_is_decided(
    policy: RetryPolicy, number: int, error: BaseException, elapsed_s: float, decision: Decision
) -> None:
    assert retries.decide(policy, number, error, most=5, elapsed_s=elapsed_s, chance=0) == decision


def test_a_job_with_one_try_in_all_has_just_failed() -> None:
    assert retries.decide(RetryPolicy(), 1, ValueError(), most=1, elapsed_s=0, chance=0) == Decision(None, "failed")


SECONDS = st.floats(0, 1e6)


@given(SECONDS, st.floats(1, 100), SECONDS, st.floats(0, 1), st.integers(1, 10**6), st.floats(0, 1))
def test_waits_are_bounded_whatever_the_number(
    initial: float, factor: float, more: float, jitter: float, number: int, chance: float
) -> None:
    backoff = Backoff(initial, factor, initial + more, jitter)
    longest = backoff.delay_s(number, 0)
    assert initial * (1 - 1e-9) <= longest <= backoff.maximum
    assert longest <= backoff.delay_s(number + 1, 0)
    assert longest * (1 - jitter) * (1 - 1e-9) <= backoff.delay_s(number, chance) <= longest


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1), SECONDS, st.floats(0, 1e7))
def test_a_next_try_is_allowed_and_begins_within_the_limit(
    number: int, most: int, chance: float, limit: float, elapsed_s: float
) -> None:
    policy = RetryPolicy(time_limit=limit)
    decision = retries.decide(policy, number, ValueError(), most=most, elapsed_s=elapsed_s, chance=chance)
    assert (decision.retry_in_s is None) == bool(decision.reason)
    if decision.retry_in_s is not None:
        assert number < most
        assert elapsed_s + decision.retry_in_s <= limit


@pytest.mark.parametrize(
    ("policy", "function", "worker", "most"),
    [
        pytest.param(None, None, None, 5, id="arq's default when nobody says"),
        pytest.param(None, None, 3, 3, id="the settings'"),
        pytest.param(None, 7, 3, 7, id="the function's in place of the settings', as in arq"),
        pytest.param(RetryPolicy(max_tries=9), None, None, 9, id="the policy's beyond the default"),
        pytest.param(RetryPolicy(max_tries=9), None, 3, 3, id="the settings' when it is smaller"),
        pytest.param(RetryPolicy(max_tries=9), 12, 3, 9, id="the policy's when it is smaller"),
        pytest.param(RetryPolicy(max_tries=9), 1, None, 1, id="a cron job's single try"),
        pytest.param(RetryPolicy(), None, None, 5, id="arq's default when the policy does not say either"),
    ],
)
def test_whose_number_of_tries_binds(
    policy: RetryPolicy | None, function: int | None, worker: int | None, most: int
) -> None:
    assert retries.tries_allowed(policy, function=function, worker=worker, default=5) == most


def test_the_decorator_attaches_the_policy_and_changes_nothing_else() -> None:
    own, default = RetryPolicy(max_tries=2), RetryPolicy(max_tries=3)

    async def plain(ctx: dict[str, Any]) -> int:
        return 1

    decorated = own(plain)
    assert decorated is plain

    @functools.wraps(decorated)
    async def wrapped(ctx: dict[str, Any]) -> int:
        return await plain(ctx)

    async def other(ctx: dict[str, Any]) -> None:
        """Carries none."""

    assert retries.policy_of(decorated, default) is own
    assert retries.policy_of(wrapped, default) is own
    assert retries.policy_of(functools.partial(decorated), default) is own
    assert retries.policy_of(other, default) is default
    assert retries.policy_of(other, None) is None
