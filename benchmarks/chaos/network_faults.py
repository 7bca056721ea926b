"""What befalls the network between Redis and its clients, by the proxy that stands there."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Final

from benchmarks.chaos.faults import ONLY_AOF, Catalogue, Explains, NothingToStrikeError, Part, Victims
from benchmarks.chaos.proxy import Proxy
from benchmarks.chaos.queues import LEASE_S
from benchmarks.chaos.stage import Stage

NETWORK_FAULTS: Final = Catalogue()
LATENCY_S: Final = (0.01, 0.2)


def _proxy(stage: Stage) -> Proxy:
    if stage.redis.proxy is None:
        raise NothingToStrikeError("there is no proxy")
    return stage.redis.proxy


@NETWORK_FAULTS.fault("network: all connections cut", Part.REDIS, Explains.RUNS, setups=ONLY_AOF)
async def cut(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Reset at once, whatever was on its way."""
    _proxy(stage).tell("cut")
    yield ()


@NETWORK_FAULTS.fault("network: cut within an answer", Part.REDIS, Explains.RUNS, setups=ONLY_AOF)
async def halved(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Each connection ends in the middle of its next answer: the command was carried out."""
    _proxy(stage).tell("halve")
    yield ()


@NETWORK_FAULTS.fault("network: latency", Part.REDIS, Explains.NOTHING, lasts_s=(2.0, 6.0), setups=ONLY_AOF)
async def slow(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Every byte takes longer, each way; far shorter than a lease, so it must cost nothing."""
    proxy = _proxy(stage)
    proxy.tell(f"delay {chance.uniform(*LATENCY_S):.3f}")
    yield ()
    proxy.tell("delay 0")


@NETWORK_FAULTS.fault("network: blackhole", Part.REDIS, Explains.RUNS, lasts_s=(0.5, LEASE_S * 2), setups=ONLY_AOF)
async def silent(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Nothing gets through either way, and nobody is told."""
    proxy = _proxy(stage)
    proxy.tell("silence")
    yield ()
    proxy.tell("speak")
