"""Retry policies: which exceptions of a job let it run again, when, and how often."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])
Exceptions = tuple[type[Exception], ...]

ATTRIBUTE: Final = "__arqube_retry_policy__"
"""Where a job function carries its policy; plain arq does not look there."""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before the next try, all times in seconds: ``initial * factor ** (tries - 1)``.

    Attributes:
        initial: Wait after the first try.
        factor: By which each further wait is longer.
        maximum: Longest wait.
        jitter: Share of the wait that chance takes off, so that jobs which failed together do not come back together:
            0 takes nothing, 1 anything up to all of it.

    Raises:
        ValueError, TypeError: A field has a value that cannot be used; the message names it.
    """

    initial: float = 1.0
    factor: float = 2.0
    maximum: float = 300.0
    jitter: float = 0.1

    def __post_init__(self) -> None:
        _check_number("Backoff.initial", self.initial, least=0)
        _check_number("Backoff.factor", self.factor, least=1)
        _check_number("Backoff.maximum", self.maximum, least=0)
        _check_number("Backoff.jitter", self.jitter, least=0, most=1)
        if self.maximum < self.initial:
            raise ValueError(
                f"Backoff.maximum must be at least Backoff.initial, {self.initial:g}, not {self.maximum:g}"
            )

    def delay_s(self, number: int, chance: float) -> float:
        """Seconds to wait after try ``number``, the first being 1; ``chance`` is a random number from 0 to 1."""
        try:
            longest = min(self.maximum, self.initial * self.factor ** (number - 1))
        except OverflowError:
            longest = self.maximum
        return longest * (1 - self.jitter * chance)


@dataclass(frozen=True)
class RetryPolicy:
    """Lets ordinary exceptions of a job run it again. A decorator of job functions, or ``WorkerSettings.retry_policy``.

    arq's ``Retry``, ``RetryJob`` and cancellations mean what they mean without a policy; their tries count, too.

    Attributes:
        max_tries: Starts of the job in all. The smallest ``max_tries`` that is set binds: this one, and the one of
            arq's ``func`` or ``cron`` or else of the settings. Without any, arq's default of 5.
        backoff: How long to wait before the next try.
        retry_on: Exceptions that run the job again, subclasses included. A job's timeout is a ``TimeoutError``.
        give_up_on: Exceptions of ``retry_on`` that are final nevertheless.
        time_limit: Seconds since the job was enqueued after which no try begins any more; None for no limit.

    Raises:
        ValueError, TypeError: A field has a value that cannot be used; the message names it.
    """

    max_tries: int | None = None
    backoff: Backoff = field(default_factory=Backoff)
    retry_on: Exceptions = (Exception,)
    give_up_on: Exceptions = ()
    time_limit: float | None = None

    def __post_init__(self) -> None:
        if self.max_tries is not None:
            if isinstance(self.max_tries, bool) or not isinstance(self.max_tries, int):
                raise TypeError(f"RetryPolicy.max_tries must be a whole number or None, not {self.max_tries!r}")
            if self.max_tries < 1:
                raise ValueError(f"RetryPolicy.max_tries must be at least 1, not {self.max_tries}")
        if not isinstance(self.backoff, Backoff):
            raise TypeError(f"RetryPolicy.backoff must be a Backoff, such as Backoff(initial=2), not {self.backoff!r}")
        for name in ("retry_on", "give_up_on"):
            object.__setattr__(self, name, _exceptions(f"RetryPolicy.{name}", getattr(self, name)))
        if self.time_limit is not None:
            _check_number("RetryPolicy.time_limit", self.time_limit, least=0)

    def __call__(self, function: Function) -> Function:
        """``function`` itself, with the policy attached. Plain arq runs it as before."""
        setattr(function, ATTRIBUTE, self)
        return function


@dataclass(frozen=True)
class Decision:
    """What becomes of a job after a try that failed.

    Attributes:
        retry_in_s: Seconds until the next try; None for none.
        reason: Why there is none, as a dead letter says it: ``failed`` or ``tries_exhausted``; empty otherwise.
    """

    retry_in_s: float | None
    reason: str = ""


def decide(
    policy: RetryPolicy, number: int, error: BaseException, *, most: int, elapsed_s: float, chance: float
) -> Decision:
    """Whether and when a job runs again after try ``number`` has raised ``error``.

    Args:
        policy: The job's.
        number: arq's ``job_try``: 1 for the first.
        error: What the try raised.
        most: The number of tries that binds (``tries_allowed``).
        elapsed_s: Seconds since the job was enqueued.
        chance: A random number from 0 to 1, for the jitter.
    """
    if not isinstance(error, policy.retry_on) or isinstance(error, policy.give_up_on):
        return Decision(None, "failed")
    if number >= most:
        return Decision(None, "tries_exhausted" if most > 1 else "failed")
    delay_s = policy.backoff.delay_s(number, chance)
    if policy.time_limit is not None and elapsed_s + delay_s > policy.time_limit:
        return Decision(None, "tries_exhausted")
    return Decision(delay_s)


def tries_allowed(policy: RetryPolicy | None, *, function: int | None, worker: int | None, default: int) -> int:
    """How many tries a job has: the fewest that somebody has set.

    Args:
        policy: The job's; None for none.
        function: ``max_tries`` of arq's ``func`` or ``cron``, which under arq replaces the worker's; None if not set.
        worker: ``max_tries`` of the settings; None if not set.
        default: arq's, for when nobody has set any.
    """
    arqs = worker if function is None else function
    wanted = [each for each in (policy.max_tries if policy else None, arqs) if each is not None]
    return min(wanted, default=default)


def policy_of(function: Any, default: RetryPolicy | None) -> RetryPolicy | None:
    """The policy that a job function carries, also under what ``functools.partial`` made of it; else ``default``."""
    while function is not None:
        policy = getattr(function, ATTRIBUTE, None)
        if isinstance(policy, RetryPolicy):
            return policy
        function = getattr(function, "func", None)
    return default


def _check_number(name: str, value: object, *, least: float, most: float = math.inf) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not least <= value <= most or math.isinf(value) or math.isnan(value):
        bounds = f"of at least {least:g}" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} must be a number {bounds}, not {value!r}")


def _exceptions(name: str, value: Any) -> Exceptions:
    """A class or some, as a tuple."""
    found = (value,) if isinstance(value, type) else value
    if not isinstance(found, tuple | list | set | frozenset):
        raise TypeError(f"{name} must be an exception class or a tuple of them, not {value!r}")
    for each in found:
        if not (isinstance(each, type) and issubclass(each, Exception)):
            raise TypeError(f"{name} must hold subclasses of Exception, not {each!r}")
    return tuple(found)
