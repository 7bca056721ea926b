"""What befalls the API server: it is away, silent, slow, refuses, resets connections, and forgets its history."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from arqube_local.apiserver import WATCH, Trouble
from benchmarks.chaos.faults import Catalogue, Explains, Part, Victims
from benchmarks.chaos.stage import Stage

BRIEF_S: Final = (0.5, 5.0)
LONG_S: Final = (11.0, 15.0)
"""Longer than the operators' Lease."""
WRITES: Final = frozenset({"POST", "PUT", "PATCH"})
READS: Final = frozenset({"GET"})
STORMS: Final = ((WRITES, 409), (WRITES | READS, 429), (WRITES | READS, 500), (READS, 503), (frozenset[str](), 503))
"""Methods and the status they are refused with."""

API_SERVER_FAULTS: Final = Catalogue()


@contextmanager
def troubled(stage: Stage, trouble: Trouble) -> Iterator[None]:
    """Let ``trouble`` strike within the block."""
    stage.cluster.api.faults.begin(trouble)
    try:
        yield
    finally:
        stage.cluster.api.faults.end(trouble)


@API_SERVER_FAULTS.fault("api server: stopped", Part.API_SERVER, Explains.NOTHING, lasts_s=BRIEF_S, weight=2)
async def stopped(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Connections are refused; what it holds is there when it is back."""
    await stage.cluster.api.stop()
    try:
        yield ()
    finally:
        await stage.cluster.api.start()


@API_SERVER_FAULTS.fault("api server: stopped for long", Part.API_SERVER, Explains.NOTHING, lasts_s=LONG_S)
async def stopped_long(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """The leader must give up, and one must lead again."""
    await stage.cluster.api.stop()
    try:
        yield ()
    finally:
        await stage.cluster.api.start()


@API_SERVER_FAULTS.fault("api server: silent", Part.API_SERVER, Explains.NOTHING, lasts_s=(1.0, 12.0))
async def silent(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """It takes requests and answers none until it is over."""
    stage.cluster.api.pause()
    try:
        yield ()
    finally:
        stage.cluster.api.resume()


@API_SERVER_FAULTS.fault("api server: refusals", Part.API_SERVER, Explains.NOTHING, lasts_s=(2.0, 8.0), weight=3)
async def storm(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Most requests of some methods are told 409, 429, 500 or 503."""
    methods, status = chance.choice(STORMS)
    wait_s = chance.choice((None, 1, 2)) if status in (429, 503) else None
    with troubled(stage, Trouble(methods, "^/apis?/", status, wait_s, share=chance.uniform(0.5, 1.0), chance=chance)):
        yield ()


@API_SERVER_FAULTS.fault("api server: late answers", Part.API_SERVER, Explains.NOTHING, lasts_s=(2.0, 8.0))
async def late(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """What is asked for is done, and told seconds later; watches tell late, too."""
    with troubled(stage, Trouble(delay_s=chance.uniform(0.3, 3.0), share=chance.uniform(0.5, 1.0), chance=chance)):
        yield ()


@API_SERVER_FAULTS.fault("api server: answers lost", Part.API_SERVER, Explains.NOTHING, lasts_s=(2.0, 8.0), weight=2)
async def answers_lost(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """What is asked for is done, and the connection reset in place of the answer."""
    with troubled(stage, Trouble(cut=True, share=chance.uniform(0.2, 0.7), chance=chance)):
        yield ()


@API_SERVER_FAULTS.fault("api server: connections reset", Part.API_SERVER, Explains.NOTHING, weight=2)
async def reset(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """All at once; it takes new ones."""
    stage.cluster.api.cut_connections()
    yield ()


@API_SERVER_FAULTS.fault("api server: slow watches", Part.API_SERVER, Explains.NOTHING, lasts_s=(3.0, 10.0))
async def slow_watches(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Watches that begin meanwhile, as all do after a reset, tell each event late."""
    with troubled(stage, Trouble(frozenset({WATCH}), delay_s=chance.uniform(0.2, 1.0))):
        stage.cluster.api.cut_connections()
        yield ()
        stage.cluster.api.cut_connections()


@API_SERVER_FAULTS.fault("api server: silent watches", Part.API_SERVER, Explains.NOTHING, lasts_s=(3.0, 12.0))
async def silent_watches(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Requests are answered, and watches tell nothing; then all at once."""
    stage.cluster.api.faults.silence_watches()
    try:
        yield ()
    finally:
        stage.cluster.api.faults.let_watches_speak()


@API_SERVER_FAULTS.fault("api server: watches refused", Part.API_SERVER, Explains.NOTHING, lasts_s=(3.0, 12.0))
async def watches_refused(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Lists work, watches are told 503 or 410."""
    with troubled(stage, Trouble(frozenset({WATCH}), status=chance.choice((410, 503)))):
        stage.cluster.api.cut_connections()
        yield ()


@API_SERVER_FAULTS.fault("api server: watches end", Part.API_SERVER, Explains.NOTHING, weight=2)
async def watches_end(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Each open watch ends with 410, or with an error of the server, in its stream."""
    stage.cluster.api.end_watches(chance.choice((410, 500)))
    yield ()


@API_SERVER_FAULTS.fault(
    "api server: history compacted", Part.API_SERVER, Explains.NOTHING, lasts_s=(2.0, 8.0), weight=2
)
async def compacted(stage: Stage, chance: random.Random) -> AsyncIterator[Victims]:
    """Watches fall silent, and what happened meanwhile is never told: not what was deleted either."""
    stage.cluster.api.faults.silence_watches()
    try:
        yield ()
    finally:
        stage.cluster.api.compact()
        stage.cluster.api.faults.let_watches_speak()
