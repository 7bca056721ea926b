"""What a run came to: the client's ledger beside the rows of the database. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.fastapi.client import Answer, Ledger


@dataclass(frozen=True, slots=True)
class Records:
    """What is left at the end.

    Attributes:
        users: The addresses of the committed users.
        mails: The recipient of each mail recorded.
        starts: How often each job started, by its id.
    """

    users: frozenset[str]
    mails: Sequence[str]
    starts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The figures of a run. The four from ``vanished`` on are broken promises.

    Attributes:
        posts: Requests to create a user, each for an address of its own.
        created, refused, unknown: What they were answered.
        committed: Users in the database at the end.
        committed_untold: Those of them that were not answered with 201: their answer or its connection was killed.
        mails: Mails recorded.
        jobs: Jobs that started, by their ids.
        starts: Their starts: those beyond ``jobs`` ran again, as their worker was killed or the database was away.
        vanished: Users answered with 201 that are not in the database.
        without_mail: Committed users without a mail.
        with_several_mails: Committed users with more than one.
        mails_to_nobody: Mails to an address that was not committed.
    """

    posts: int
    created: int
    refused: int
    unknown: int
    committed: int
    committed_untold: int
    mails: int
    jobs: int
    starts: int
    vanished: int
    without_mail: int
    with_several_mails: int
    mails_to_nobody: int

    @property
    def is_kept(self) -> bool:
        """Every committed user has exactly one mail, nobody else has one, and there were some."""
        broken = self.vanished + self.without_mail + self.with_several_mails + self.mails_to_nobody
        return self.committed > 0 and broken == 0

    def to_json(self) -> dict[str, Any]:
        """The figures by name."""
        return asdict(self)


def judge(ledger: Ledger, records: Records) -> Verdict:
    """Compare what the client was told with what is there."""
    told = ledger.emails(Answer.CREATED)
    received = Counter(records.mails)
    return Verdict(
        posts=len(ledger.answers),
        created=len(told),
        refused=ledger.count(Answer.REFUSED),
        unknown=ledger.count(Answer.UNKNOWN),
        committed=len(records.users),
        committed_untold=len(records.users - told),
        mails=len(records.mails),
        jobs=len(records.starts),
        starts=sum(records.starts.values()),
        vanished=len(told - records.users),
        without_mail=sum(email not in received for email in records.users),
        with_several_mails=sum(received[email] > 1 for email in records.users),
        mails_to_nobody=sum(count for email, count in received.items() if email not in records.users),
    )
