"""The client, and the ledger it keeps of what each POST was answered: outside the database, Redis and the cluster.

``python -m benchmarks.fastapi.client URL ... --rate R --seconds S --run NAME`` prints the ledger as one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import aiohttp

TIMEOUT_S: Final = 5.0
"""How long a POST may take; the client then knows nothing about it."""
PATH: Final = "/api/v1/users"


class Answer(StrEnum):
    """What a POST was answered."""

    CREATED = "created"
    """201: the user is committed, whatever happens from now on."""
    REFUSED = "refused"
    """Another status, or no connection: the app says that it did not, or does not know whether it did."""
    UNKNOWN = "unknown"
    """No whole answer in time: the API or its connection died, or all is too slow."""


@dataclass
class Ledger:
    """The answer to each POST, by the user's address.

    Attributes:
        answers: The answers so far.
        seconds: How long it took to send them all.
        late_s: The most that a POST began after its time, as a machine that is too slow makes it.
        slowest_created_s: The longest time to a 201.
    """

    answers: dict[str, Answer] = field(default_factory=dict)
    seconds: float = 0.0
    late_s: float = 0.0
    slowest_created_s: float = 0.0

    def count(self, answer: Answer) -> int:
        """How many POSTs were answered so."""
        return sum(each is answer for each in self.answers.values())

    def emails(self, answer: Answer) -> set[str]:
        """Whose POST was answered so."""
        return {email for email, each in self.answers.items() if each is answer}

    def to_json(self) -> dict[str, Any]:
        """The ledger as JSON has it."""
        return {**self.__dict__, "answers": {email: each.value for email, each in self.answers.items()}}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Ledger:
        """The ledger that ``to_json`` told."""
        return cls(**{**told, "answers": {email: Answer(each) for email, each in told["answers"].items()}})


async def create_users(
    urls: Sequence[str], *, rate: float, seconds: float, run: str, path: str = PATH, timeout_s: float = TIMEOUT_S
) -> Ledger:
    """POST users at an even rate, however slow the answers are, and none of them twice.

    Args:
        urls: Of the API's processes, which take turns; one that has no connection passes its turn on.
        rate: Users a second.
        seconds: How long.
        run: A name that makes the addresses this run's own.
        path: Where users are created.
        timeout_s: How long a POST may take.
    """
    ledger = Ledger()
    turns = itertools.cycle(range(len(urls)))
    begin = time.monotonic()
    async with (
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=timeout_s), connector=aiohttp.TCPConnector(limit=0)
        ) as session,
        asyncio.TaskGroup() as group,
    ):
        for number in range(round(rate * seconds)):
            due = begin + number / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            ledger.late_s = max(ledger.late_s, time.monotonic() - due)
            first = next(turns)
            order = [f"{url}{path}" for url in (*urls[first:], *urls[:first])]
            group.create_task(_create(session, order, f"{run}-{number}@example.com", ledger))
        ledger.seconds = time.monotonic() - begin
    return ledger


async def _create(session: aiohttp.ClientSession, urls: Sequence[str], email: str, ledger: Ledger) -> None:
    began = time.monotonic()
    ledger.answers[email] = Answer.REFUSED
    for url in urls:
        try:
            async with session.post(url, json={"name": email.partition("@")[0], "email": email}) as response:
                await response.read()
        except aiohttp.ClientConnectorError:  # Nothing was sent, so another process may have it.
            continue
        except (aiohttp.ClientError, TimeoutError):
            ledger.answers[email] = Answer.UNKNOWN
            return
        if response.status == 201:
            ledger.answers[email] = Answer.CREATED
            ledger.slowest_created_s = max(ledger.slowest_created_s, time.monotonic() - began)
        return


def main() -> None:
    """Create users, and print the ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--path", default=PATH)
    options = vars(parser.parse_args())
    ledger = asyncio.run(create_users(options.pop("urls"), **options))
    print(json.dumps(ledger.to_json()))


if __name__ == "__main__":
    main()
