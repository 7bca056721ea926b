"""Draws which faults strike when. Pure: one seed gives one schedule, for ever the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Final

from benchmarks.chaos.faults import Blow, Fault, Setup

QUIET: Final = 0.08
"""The share of the time at the start and at the end without a blow."""


def draw_setup(seed: int) -> Setup:
    """The set-up of Redis of a run: in four in a row three are on one server, which more faults can befall."""
    return Setup.SENTINEL if seed % 4 == 0 else Setup.AOF


def draw(seed: int, faults: Sequence[Fault], *, setup: Setup, count: int, seconds: float) -> tuple[Blow, ...]:
    """``count`` blows over a load of so many seconds, at random times, in order.

    They are dealt from a shuffled pack that holds every fault as often as it weighs, and then from another.

    Raises:
        ValueError: No fault is possible on ``setup``.
    """
    chance = random.Random(f"{seed}/{setup}/{count}")  # noqa: S311 - no secret
    possible = sorted((each for each in faults if setup in each.setups), key=lambda each: each.name)
    if not possible:
        raise ValueError(f"none of the chosen faults is possible on {setup}")
    drawn: list[Fault] = []
    while len(drawn) < count:
        pack = [each for each in possible for _ in range(each.weight)]
        chance.shuffle(pack)
        drawn += pack[: count - len(drawn)]
    times = sorted(chance.uniform(QUIET, 1 - QUIET) * seconds for _ in drawn)
    return tuple(
        Blow(round(at_s, 3), round(chance.uniform(*fault.lasts_s), 3), fault.name, chance.randrange(2**32))
        for at_s, fault in zip(times, drawn, strict=True)
    )
