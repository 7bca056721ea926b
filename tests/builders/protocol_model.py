"""A queue as plain dicts: what a worker's steps should make of it, and the same as it is read from a real Redis."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from arq.jobs import serialize_result
from redis import Redis

from arqube_queue import job_tries, keys, turns
from arqube_queue.dead_letters import Outcome
from arqube_queue.keys import IN_PROGRESS_PREFIX, JOB_PREFIX, RESULT_PREFIX, RETRY_PREFIX
from arqube_queue.turns import Death, Lease

PUT_BACK = -1
"""The due time of a job that was put back, before Redis's clock has told it."""
_DEATH = Death("failed", "work", "ValueError", "", 1, 0)
_RESULT = serialize_result("work", (), {}, 1, 0, True, None, 0, 0, "", "", job_id="")
_TRY = job_tries.ended_try(1, '"us"', 1, 2, "retried")
_RECORD = "\n".join((job_tries.ending('"work"', 1, "failed"), _TRY))


@dataclass
class Model:
    """Jobs by id, as Redis holds them."""

    queue: dict[str, int] = field(default_factory=dict)
    """When they are due."""
    payloads: set[str] = field(default_factory=set)
    holders: dict[str, str] = field(default_factory=dict)
    """The tokens of their leases."""
    tries: dict[str, int] = field(default_factory=dict)
    aborts: set[str] = field(default_factory=set)
    results: set[str] = field(default_factory=set)
    dead: dict[str, bool] = field(default_factory=dict)
    """Whether the dead letter has its payload."""
    open: dict[str, list[bool]] = field(default_factory=dict)
    """Those with recorded tries that have not ended: of each try, whether its end was told."""
    recorded: set[str] = field(default_factory=set)
    """Those that ours have ended."""

    def remove(self, job: str) -> None:
        """Forget a job that is over."""
        for kept in (self.queue, self.holders, self.tries):
            kept.pop(job, None)
        self.payloads.discard(job)
        self.aborts.discard(job)

    def finish(self, job: str) -> None:
        """Forget it but for its result."""
        self.remove(job)
        self.results.add(job)

    def free(self, now: int, token: str) -> list[str]:
        """Which jobs a turn with this token may lease, the earliest first."""
        due = [job for score, job in sorted((score, job) for job, score in self.queue.items()) if score <= now]
        return [job for job in due if self.holders.get(job, token) == token]

    def chosen(self, free: Iterable[str], token: str, limit: int, *, suspects: bool) -> list[str]:
        """Which of the free jobs that it looks at a turn leases."""
        jobs: list[str] = []
        for job in free:
            suspect = self.is_suspect(job, token)
            if suspect and self.holders.get(job) != token and (jobs or not suspects):
                if suspects:
                    break
                continue
            jobs.append(job)
            if suspect or len(jobs) == limit:
                break
        return jobs

    def is_suspect(self, job: str, token: str) -> bool:
        """Whether its last two tries were lost with their workers; one that the token holds does not count."""
        tries = self.open.get(job, [])
        former = tries[:-1] if self.holders.get(job) == token else tries
        return job in self.tries and former[-2:] == [False, False]

    def lease(self, jobs: Iterable[str], token: str) -> None:
        """Lease them; those that the token holds already are not tried once more."""
        for job in jobs:
            if self.holders.get(job) != token:
                self.holders[job] = token
                self.tries[job] = self.tries.get(job, 0) + 1
                self.open[job] = [*self.open.get(job, [])[1 - job_tries.MOST_TRIES :], False]

    def end(self, end: str, lease: Lease, due: int, *, known: bool) -> tuple[bool, bool]:
        """End a run; whether that is written, and whether it is a death.

        A job that is put back dies of it unless its function is ``known``, or might be.
        """
        job = lease.job_id
        if not self._is_of(job, lease):
            return False, False
        death = end == "bury" or (end == "put back" and not known)
        if end == "finish" or death:
            if death:
                self.dead[job] = job in self.payloads
            self.finish(job)
            self.open.pop(job, None)
            self.recorded.add(job)
        elif end == "lease again":
            self.holders[job] = lease.token
        else:
            self.holders.pop(job, None)
            if end == "retry":
                self.queue[job] = due
            elif end == "put back":
                self.queue[job] = PUT_BACK
            self.open[job] = [True] if end in ("retry", "again") else ends_told(lease.former)
            if not self.open[job]:
                del self.open[job]
            if end in ("give back", "put back"):
                self.tries[job] = lease.tries - 1
                if not self.tries[job]:
                    del self.tries[job]
        return True, death

    def _is_of(self, job: str, lease: Lease) -> bool:
        """Whether the job is still the lease's: held, or let go of while nobody took it."""
        holder = self.holders.get(job)
        if holder is None:
            return self.tries.get(job) == lease.tries and self.queue.get(job) == lease.score
        return holder == lease.token

    def retry_dead(self, job: str, now: int) -> Outcome:
        """Put a dead letter's job back to its queue."""
        if job not in self.dead:
            return Outcome.MISSING
        if not self.dead[job]:
            return Outcome.WITHOUT_PAYLOAD
        if job in self.queue or job in self.payloads:
            return Outcome.QUEUED
        self.remove(job)
        del self.dead[job]
        self.results.discard(job)
        self.payloads.add(job)
        self.queue[job] = now
        if job in self.recorded:
            self.recorded.discard(job)
            self.open[job] = [True]
        return Outcome.RETRIED

    def settle(self) -> None:
        """Count open jobs that have left the queue as ended."""
        gone = self.open.keys() - self.queue.keys()
        self.open = {job: tries for job, tries in self.open.items() if job not in gone}
        self.recorded |= gone


def ends_told(lines: bytes | None) -> list[bool]:
    """Of each try of these lines, whether its end was told."""
    return [len(json.loads(line)) > 3 for line in (lines or b"").splitlines()]


def told(end: str, lease: Lease, due: int) -> turns.End:
    """How a worker tells of such an end."""
    match end:
        case "finish":
            return turns.finish(lease, _RESULT, record=_RECORD, life_ms=3_600_000)
        case "bury":
            return turns.bury(lease, _RESULT, _DEATH, record=_RECORD, life_ms=3_600_000)
        case "retry":
            return turns.requeue(lease, record=_TRY, due_ms=due)
        case "again":
            return turns.requeue(lease, record=_TRY)
        case "give back":
            return turns.give_back(lease)
        case "put back":
            return turns.put_back(lease, _RESULT, _DEATH, record=_RECORD, life_ms=3_600_000)
    return turns.lease_again(lease)


def read_model(redis: Redis, queue: str, jobs: Iterable[str]) -> Model:
    """What a Redis holds of these jobs, of one queue."""

    def values(prefix: str) -> dict[str, str]:
        found: Any = redis.mget([prefix + job for job in jobs])
        return {
            job: value.decode(errors="replace") for job, value in zip(jobs, found, strict=True) if value is not None
        }

    def members(key: str) -> dict[str, int]:
        found: Any = redis.zrange(key, 0, -1, withscores=True)
        return {member.decode(): int(score) for member, score in found}

    def fields(key: str) -> dict[str, bytes]:
        found: Any = redis.hgetall(key)
        return {name.decode(): value for name, value in found.items()}

    return Model(
        queue=members(queue),
        payloads=set(values(JOB_PREFIX)),
        holders=values(IN_PROGRESS_PREFIX),
        tries={job: int(count) for job, count in values(RETRY_PREFIX).items()},
        aborts=set(members(keys.ABORT)),
        results=set(values(RESULT_PREFIX)),
        dead={
            job: bool(redis.hget(keys.dead_letter(queue, job), "payload")) for job in members(keys.dead_letters(queue))
        },
        open={job: ends_told(lines) for job, lines in fields(keys.open_jobs(queue)).items()},
        recorded=set(fields(keys.job_records(queue))),
    )
