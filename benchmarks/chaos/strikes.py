"""Has the blows of a schedule fall in their time, and notes when each fell and healed."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from benchmarks.chaos.faults import Blow, Fault, NothingToStrikeError, Part, Struck
from benchmarks.chaos.stage import Stage

HEAL_S: Final = 60.0
"""Longest time that a fault may take to strike and to heal, beside what it lasts."""
CALM_S: Final = 1.5
"""Between two blows to one part of the whole, so that work goes on meanwhile."""


async def strike(
    stage: Stage, blows: Sequence[Blow], faults: Mapping[str, Fault], say: Callable[[str], None]
) -> list[Struck]:
    """All blows, each in its time; those to one part of the whole wait for each other.

    Returns:
        Those that fell. The others found nothing to strike.
    """
    begin = time.monotonic()
    turns: defaultdict[Part, asyncio.Lock] = defaultdict(asyncio.Lock)
    struck: list[Struck] = []

    async def fall(blow: Blow) -> None:
        fault = faults[blow.fault]
        await asyncio.sleep(max(0.0, begin + blow.at_s - time.monotonic()))
        async with turns[fault.part]:
            began = time.monotonic()
            try:
                async with asyncio.timeout(blow.lasts_s + HEAL_S):
                    async with fault.inflict(stage, random.Random(blow.seed)) as victims:  # noqa: S311
                        say(f"{fault.name}{f' for {blow.lasts_s:.1f} s' if blow.lasts_s else ''} {victims or ''}")
                        await asyncio.sleep(blow.lasts_s)
            except NothingToStrikeError as error:
                say(f"{fault.name}: {error}")
            else:
                healed = time.monotonic()
                struck.append(Struck(fault.name, fault.explains, began, healed, victims, fault.lingers_s))
                await asyncio.sleep(CALM_S)

    async with asyncio.TaskGroup() as group:
        for blow in blows:
            group.create_task(fall(blow))
    return sorted(struck, key=lambda each: each.began)
