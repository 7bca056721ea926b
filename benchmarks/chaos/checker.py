"""Judges a run: the books beside what is left in Redis and Kubernetes. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from arqube_queue import keys
from benchmarks.chaos import kinds
from benchmarks.chaos.faults import Explains, Part, Struck, Victims
from benchmarks.chaos.ledger import REQUEUED, Job, Run
from benchmarks.chaos.queues import Queue
from benchmarks.chaos.remains import Key, KubeRemains, RedisRemains

EARLY_S: Final = 0.05
"""How much earlier than its note a blow may have fallen, and a run have begun: notes are taken beside the deed."""
USED_UP: Final = "tries_exhausted"
RESULT_LIFE_MS: Final = 3_600_000


class Violation(NamedTuple):
    """A broken promise.

    Attributes:
        promise: Which.
        what: The job's id, a key or an object.
        detail: What is wrong with it.
    """

    promise: str
    what: str
    detail: str


class Repeat(NamedTuple):
    """A run that began once more.

    Attributes:
        job_id: The job's.
        fault: What explains it.
        blow_at: When that blow fell.
        seconds: From the blow until the run began again.
    """

    job_id: str
    fault: str
    blow_at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to.

    Attributes:
        planned: Jobs that the producer meant to enqueue.
        acknowledged: Those that Redis confirmed.
        ended: How many ended how, by the endings of ``kinds`` and ``cancelled``.
        starts: Runs that began, crons' included.
        repeats: Runs that began again because of a fault.
        violations: Broken promises.
    """

    planned: int
    acknowledged: int
    ended: Mapping[str, int]
    starts: int
    repeats: Sequence[Repeat]
    violations: list[Violation]

    def count(self, promise: str) -> int:
        """How often this promise was broken."""
        return sum(each.promise == promise for each in self.violations)


LOST: Final = "no acknowledged job is lost"
ONE_END: Final = "a job ends once, as its kind must"
COMPLETED: Final = "what is completed does not begin again"
EXPLAINED: Final = "a fault explains each repeated run"
TRIES: Final = "tries stay within bounds"
PAYLOAD: Final = "a dead letter holds the payload"
NOTHING_LEFT: Final = "nothing is left over in Redis"
CONVERGED: Final = "workers become as many as wanted"
NO_STRAYS: Final = "nothing is left over in Kubernetes"
PROMISES: Final = (LOST, ONE_END, COMPLETED, EXPLAINED, TRIES, PAYLOAD, NOTHING_LEFT, CONVERGED, NO_STRAYS)


def judge(
    jobs: Mapping[str, Job],
    struck: Sequence[Struck],
    redis: RedisRemains,
    kube: KubeRemains,
    queues: Sequence[Queue],
) -> Verdict:
    """Hold the books against what is left."""
    violations: list[Violation] = []
    repeats: list[Repeat] = []
    ended: Counter[str] = Counter()
    for job_id, job in jobs.items():
        kind = kinds.kind_of(job_id)
        violations += _repeated(job_id, job, struck, repeats)
        if kind is None:
            continue
        violations += _tries(job_id, job, kind, struck)
        ending = _ending(job_id, job, redis)
        if ending is not None:
            ended[ending] += 1
            violations += _ending_is_right(job_id, job, kind, ending, redis, struck)
        elif job.acknowledged:
            violations.append(Violation(LOST, job_id, "it is neither completed nor a dead letter"))
    violations += _left_in_redis(redis, jobs, queues)
    violations += _left_in_kubernetes(kube, queues)
    planned = sum(job.planned_at is not None for job in jobs.values())
    acknowledged = sum(job.acknowledged for job in jobs.values())
    starts = sum(len(job.runs) for job in jobs.values())
    return Verdict(planned, acknowledged, dict(ended), starts, repeats, violations)


# -- ends --


def _ending(job_id: str, job: Job, redis: RedisRemains) -> str | None:
    if job_id in redis.letters:
        return redis.letters[job_id].reason
    if job_id in redis.results:
        return "cancelled" if job.cancelled and all(run.raised is not False for run in job.runs) else kinds.SUCCEEDED
    return None


def _ending_is_right(
    job_id: str, job: Job, kind: kinds.Kind, ending: str, redis: RedisRemains, struck: Sequence[Struck]
) -> Iterator[Violation]:
    allowed = kind.endings | {"cancelled"}
    if len(job.runs) >= kind.most_tries:
        allowed |= {USED_UP}
    if ending not in allowed:
        yield Violation(ONE_END, job_id, f"it ended as {ending}, not as {' or '.join(sorted(kind.endings))}")
    if ending == kinds.SUCCEEDED and not any(run.raised is False for run in job.runs):
        yield Violation(ONE_END, job_id, "it counts as completed, and never came to its end")
    said = {what for _, what in job.ends}
    if len(said) > 1 and _explaining(struck, job.ends[0][0], job.ends[-1][0], (), completed=True) is None:
        yield Violation(ONE_END, job_id, "it was completed and became a dead letter")
    if job_id in redis.letters and job.payload not in ("-", redis.letters[job_id].payload):
        yield Violation(PAYLOAD, job_id, f"{redis.letters[job_id].payload} instead of {job.payload}")
    if (life_ms := redis.results.get(job_id, RESULT_LIFE_MS)) <= 0:
        yield Violation(NOTHING_LEFT, keys.RESULT_PREFIX + job_id, f"its time to live is {life_ms} ms")


# -- runs --


def _repeated(job_id: str, job: Job, struck: Sequence[Struck], repeats: list[Repeat]) -> Iterator[Violation]:
    kind = kinds.kind_of(job_id)
    asks = 0 if kind is None else kind.asks
    for former, run in zip(job.runs, job.runs[1:], strict=False):
        ends = [at for at, _ in job.ends if at < run.began]
        if ends:
            fault = _explaining(struck, min(ends), run.began, (), completed=True)
            if fault is None:
                yield Violation(COMPLETED, job_id, f"it began at {run.began:.3f}, and was over at {min(ends):.3f}")
                continue
        elif asks and former.raised and former.attempt <= asks:
            continue
        else:
            fault = _explaining(struck, former.began, run.began, (former.pid, kinds.queue_of(job_id)), completed=False)
        if fault is None:
            yield Violation(
                EXPLAINED, job_id, f"it began in {former.pid} at {former.began:.3f} and in {run.pid} at {run.began:.3f}"
            )
        else:
            repeats.append(Repeat(job_id, fault.fault, fault.began, max(0.0, run.began - fault.began)))


def _explaining(
    struck: Sequence[Struck], since: float, until: float, where: Victims, *, completed: bool
) -> Struck | None:
    """The blow within the time that explains why a run in the process and TaskQueue ``where`` was repeated.

    One that struck the process itself goes before one that struck all, and a later one before an earlier one.
    """
    found = [
        blow
        for blow in struck
        if blow.began - EARLY_S <= until
        and _over(blow, struck) + EARLY_S >= since
        and (
            blow.explains is Explains.COMPLETED
            or (not completed and blow.explains is Explains.RUNS)
            or (not completed and blow.explains is Explains.VICTIMS and set(where) & set(blow.victims))
        )
    ]
    return max(found, key=lambda blow: (blow.explains is Explains.VICTIMS, blow.began), default=None)


def _over(blow: Struck, struck: Sequence[Struck]) -> float:
    """When no victim is left that may still be stopped: no pod goes while the API server is in trouble."""
    over = blow.healed + blow.lingers_s
    for trouble in sorted(struck, key=lambda each: each.began):
        in_its_way = trouble.began < over and trouble.healed > blow.healed
        if blow.lingers_s and in_its_way and trouble.fault.startswith(f"{Part.API_SERVER}: "):
            over += trouble.healed - max(trouble.began, blow.healed)
    return over


def _tries(job_id: str, job: Job, kind: kinds.Kind, struck: Sequence[Struck]) -> Iterator[Violation]:
    attempts = [run.attempt for run in job.runs]
    if attempts and max(attempts) > kind.most_tries:
        yield Violation(TRIES, job_id, f"try {max(attempts)} of {kind.most_tries}")
    given_back = sum(run.told == REQUEUED and not _asked(run, kind) for run in job.runs)
    forgotten = any(blow.explains is Explains.COMPLETED for blow in struck)  # The count went with the old primary.
    if len(attempts) - given_back > kind.most_tries and not forgotten:
        yield Violation(TRIES, job_id, f"{len(attempts)} runs, {given_back} of them given back")


def _asked(run: Run, kind: kinds.Kind) -> bool:
    return bool(run.raised) and run.attempt <= kind.asks


# -- what is left --

_ALLOWED_FIELDS: Final = "heartbeats|retiring|jobs|jobs:ended|history:.*"


def _left_in_redis(redis: RedisRemains, jobs: Mapping[str, Job], queues: Sequence[Queue]) -> Iterator[Violation]:
    allowed = re.compile("|".join(rf"arqube:{re.escape(queue.key)}:(?:{_ALLOWED_FIELDS})" for queue in queues))
    queue_keys = {queue.key for queue in queues}
    health = {f"{queue.key}:health-check" for queue in queues}
    for name, key in redis.others.items():
        of_jobs = [member for member in key.members if not member.startswith(kinds.CRON)]
        if name.startswith(
            (keys.IN_PROGRESS_PREFIX + kinds.CRON, keys.RETRY_PREFIX + kinds.CRON, keys.JOB_PREFIX + kinds.CRON)
        ):
            problem = "" if key.life_ms > 0 else "it lives for ever"
        elif name in queue_keys or re.fullmatch(r"arqube:.*:jobs:open", name):
            problem = f"it holds {', '.join(of_jobs[:5])}" if of_jobs else ""
        elif name == keys.ABORT:
            unasked = [member for member in of_jobs if member not in jobs or not jobs[member].cancelled]
            problem = f"it holds {', '.join(unasked[:5])}" if unasked else ""
        elif name in health or allowed.fullmatch(name):
            problem = "" if key.life_ms > 0 else _for_ever(name, key)
        elif name == "chaos:mark":
            problem = ""
        else:
            problem = f"a {key.kind} that should not be there, of {', '.join(key.members[:5])}"
        if problem:
            yield Violation(NOTHING_LEFT, name, problem)


def _for_ever(name: str, key: Key) -> str:
    return f"this {key.kind} lives for ever"


def _left_in_kubernetes(kube: KubeRemains, queues: Sequence[Queue]) -> Iterator[Violation]:
    for queue in queues:
        found = kube.replicas.get(queue.name)
        if found is None:
            yield Violation(CONVERGED, queue.name, "it has no Deployment")
        elif not found.wanted == found.existing == found.pods == queue.least:
            yield Violation(CONVERGED, queue.name, f"{queue.least} wanted by the TaskQueue, and there are {found}")
    for stray in kube.strays:
        yield Violation(NO_STRAYS, stray, "no TaskQueue wants it")
    if len(kube.holders) != 1 or not all(kube.holders.values()):
        yield Violation(NO_STRAYS, "Lease", f"one holder of one Lease is wanted, not {dict(kube.holders)}")


def some_of_each(violations: Sequence[Violation], most: int) -> list[Violation]:
    """The first ``most`` of each promise."""
    counts: Counter[str] = Counter()
    chosen = []
    for violation in violations:
        counts[violation.promise] += 1
        if counts[violation.promise] <= most:
            chosen.append(violation)
    return chosen


def history(job: Job) -> list[tuple[float, str]]:
    """What is known of a job, in order, for people: times and words."""
    told: list[tuple[float, str]] = [] if job.planned_at is None else [(job.planned_at, "planned")]
    for run in job.runs:
        ended = {None: "did not end", True: "raised", False: "ended"}[run.raised]
        told.append((run.began, f"try {run.attempt} began in {run.pid}, {ended}, Redis said {run.told or 'nothing'}"))
    return sorted(told + [(at, f"Redis confirmed: {what}") for at, what in job.ends])


def to_json(verdict: Verdict) -> dict[str, Any]:
    """The figures by name."""
    return {
        "planned": verdict.planned,
        "acknowledged": verdict.acknowledged,
        "ended": dict(verdict.ended),
        "starts": verdict.starts,
        "repeats": dict(Counter(each.fault for each in verdict.repeats)),
        "violations": {promise: verdict.count(promise) for promise in PROMISES},
    }
