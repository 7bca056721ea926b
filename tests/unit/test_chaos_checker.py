"""What the chaos suite's checker makes of books in which a promise is broken, and of those in which none is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from benchmarks.chaos import checker, kinds, ledger
from benchmarks.chaos.checker import Verdict, judge
from benchmarks.chaos.faults import Explains, Struck
from benchmarks.chaos.ledger import BURIED, FINISHED, PRODUCER, REQUEUED, WORKER, Job, Run, digest
from benchmarks.chaos.queues import Queue
from benchmarks.chaos.recovery import recoveries
from benchmarks.chaos.remains import Key, KubeRemains, Letter, RedisRemains, Replicas

QUEUES = (Queue("bulk", 0, 3, 50, 1.0), Queue("steady", 1, 2, 50, 1.0))
PAYLOAD = digest(b"payload")
NOOP, LONG, FAILS, ASKS = "bulk.noop.1", "bulk.long.2", "bulk.fails.3", "bulk.asks.4"
HOPELESS = "bulk.hopeless.5"
ONE, OTHER = 101, 102


def done(*runs: Run, ends: list[tuple[float, str]] | None = None) -> Job:
    """A job whose last run Redis has taken for its end."""
    last = runs[-1]
    ends = [(last.began + 0.5, last.told)] if ends is None and last.told else ends or []
    return Job(planned_at=1.0, payload=PAYLOAD, acknowledged=True, runs=list(runs), ends=ends)


def run(
    began: float, *, pid: int = ONE, attempt: int = 1, raised: bool | None = False, told: str | None = FINISHED
) -> Run:
    return Run(pid, attempt, began, raised, told, began + 0.5 if told else 0.0)


def blow(explains: Explains, began: float, healed: float | None = None, *victims: int | str) -> Struck:
    return Struck("a blow", explains, began, began if healed is None else healed, victims)


@dataclass
class Case:
    """Books and remains of a run in which all is well."""

    jobs: dict[str, Job] = field(
        default_factory=lambda: {
            NOOP: done(run(2.0)),
            FAILS: done(run(2.0, raised=True, told=BURIED)),
            ASKS: done(run(2.0, raised=True, told=REQUEUED), run(4.0, attempt=2)),
            HOPELESS: done(
                run(2.0, raised=True, told=REQUEUED),
                run(3.0, attempt=2, raised=True, told=REQUEUED),
                run(4.0, attempt=3, raised=True, told=REQUEUED),
                ends=[(5.0, BURIED)],
            ),
            "cron:chaos:steady:1000": Job(runs=[run(2.0)], ends=[(2.5, FINISHED)]),
        }
    )
    struck: list[Struck] = field(default_factory=list)
    results: dict[str, int] = field(default_factory=lambda: {NOOP: 1000, FAILS: 1000, ASKS: 1000, HOPELESS: 1000})
    letters: dict[str, Letter] = field(
        default_factory=lambda: {FAILS: Letter("failed", PAYLOAD), HOPELESS: Letter("tries_exhausted", PAYLOAD)}
    )
    others: dict[str, Key] = field(
        default_factory=lambda: {
            "arqube:chaos:steady:heartbeats": Key("hash", 60_000, ("pod",)),
            "arqube:chaos:bulk:jobs": Key("hash", 60_000, (NOOP,)),
            "chaos:steady": Key("zset", -1, ("cron:chaos:steady:2000",)),
            "arq:in-progress:cron:chaos:steady:1000": Key("string", 1000),
        }
    )
    replicas: dict[str, Replicas] = field(
        default_factory=lambda: {"bulk": Replicas(0, 0, 0), "steady": Replicas(1, 1, 1)}
    )
    strays: tuple[str, ...] = ()
    holders: dict[str, str] = field(default_factory=lambda: {"arqube-operator": "operator-0"})

    def judge(self) -> Verdict:
        return judge(
            self.jobs,
            self.struck,
            RedisRemains(self.results, self.letters, self.others),
            KubeRemains(self.replicas, self.strays, self.holders),
            QUEUES,
        )


def test_books_in_order_break_no_promise() -> None:
    verdict = Case().judge()
    assert verdict.violations == []
    assert verdict.repeats == []
    assert (verdict.planned, verdict.acknowledged, verdict.starts) == (4, 4, 8)
    assert verdict.ended == {"succeeded": 2, "failed": 1, "tries_exhausted": 1}


def twice(case: Case, *, second: int = OTHER) -> None:
    """The first run of a job did not get to its end, as far as Redis has told."""
    case.jobs[NOOP] = done(run(2.0, raised=None, told=None), run(6.0, pid=second, attempt=2))


def completed_twice(case: Case) -> None:
    case.jobs[NOOP] = done(run(2.0), run(6.0, pid=OTHER, attempt=2), ends=[(2.5, FINISHED), (6.5, FINISHED)])


def given_back(case: Case) -> None:
    case.jobs[NOOP] = done(run(2.0, raised=True, told=REQUEUED), run(6.0, pid=OTHER))


def without_trace(case: Case) -> None:
    del case.results[NOOP]
    case.jobs[NOOP].runs, case.jobs[NOOP].ends = [], []


def forgotten_after_it_was_completed(case: Case) -> None:
    del case.results[NOOP]


def never_ran(case: Case) -> None:
    case.jobs[NOOP].runs = []


def dead_for_no_reason(case: Case) -> None:
    case.letters[NOOP] = Letter("failed", PAYLOAD)


def dead_and_completed(case: Case) -> None:
    case.jobs[FAILS].ends.insert(0, (2.2, FINISHED))


def succeeded_though_it_fails(case: Case) -> None:
    del case.letters[FAILS]


def other_payload(case: Case) -> None:
    case.letters[FAILS] = Letter("failed", digest(b"payloae"))


def no_payload(case: Case) -> None:
    case.letters[FAILS] = Letter("failed", digest(b""))


def one_try_too_many(case: Case) -> None:
    case.jobs[HOPELESS].runs.append(run(5.0, attempt=4, raised=True, told=BURIED))


def one_run_too_many(case: Case) -> None:
    case.jobs[HOPELESS].runs.append(run(5.0, attempt=3, raised=True, told=BURIED))


def asks_once_more(case: Case) -> None:
    case.jobs[ASKS] = done(
        run(2.0, raised=True, told=REQUEUED),
        run(4.0, attempt=2, raised=True, told=REQUEUED),
        run(6.0, attempt=3, raised=True, told=REQUEUED),
        run(8.0, attempt=4),
    )


def result_for_ever(case: Case) -> None:
    case.results[NOOP] = -1


def leak(name: str, key: Key) -> Callable[[Case], None]:
    def change(case: Case) -> None:
        case.others[name] = key

    change.__name__ = name
    return change


def one_worker_left(case: Case) -> None:
    case.replicas["bulk"] = Replicas(1, 1, 1)


def one_pod_left(case: Case) -> None:
    case.replicas["bulk"] = Replicas(0, 0, 1)


def no_worker_where_one_is_kept(case: Case) -> None:
    case.replicas["steady"] = Replicas(1, 0, 0)


def no_deployment(case: Case) -> None:
    del case.replicas["bulk"]


def stray(case: Case) -> None:
    case.strays = ("Pod bulk-worker-1",)


def no_leader(case: Case) -> None:
    case.holders["arqube-operator"] = ""


def two_leases(case: Case) -> None:
    case.holders["another"] = "operator-1"


BROKEN = {
    "a job is neither run nor dead": (without_trace, checker.LOST),
    "a completed job has left no trace in Redis": (forgotten_after_it_was_completed, checker.LOST),
    "a job counts as completed and never ran": (never_ran, checker.ONE_END),
    "a job that should succeed is dead": (dead_for_no_reason, checker.ONE_END),
    "a job was completed and is dead": (dead_and_completed, checker.ONE_END),
    "a job that fails has no dead letter": (succeeded_though_it_fails, checker.ONE_END),
    "a completed job began again": (completed_twice, checker.COMPLETED),
    "a job began again without a reason": (twice, checker.EXPLAINED),
    "a job was given back without a reason": (given_back, checker.EXPLAINED),
    "a job asked oftener than it does": (asks_once_more, checker.EXPLAINED),
    "a job had one try too many": (one_try_too_many, checker.TRIES),
    "a try was not counted": (one_run_too_many, checker.TRIES),
    "a dead letter holds another payload": (other_payload, checker.PAYLOAD),
    "a dead letter holds no payload": (no_payload, checker.PAYLOAD),
    "a result stays for ever": (result_for_ever, checker.NOTHING_LEFT),
    "a lease is left": (leak(f"arq:in-progress:{NOOP}", Key("string", 900)), checker.NOTHING_LEFT),
    "a payload is left": (leak(f"arq:job:{NOOP}", Key("string", 900)), checker.NOTHING_LEFT),
    "a count of tries is left": (leak(f"arq:retry:{NOOP}", Key("string", 900)), checker.NOTHING_LEFT),
    "a member of the queue is left": (leak("chaos:bulk", Key("zset", -1, (NOOP,))), checker.NOTHING_LEFT),
    "tries of a job are left": (leak("arqube:chaos:bulk:jobs:open", Key("hash", 900, (NOOP,))), checker.NOTHING_LEFT),
    "a wish to abort is left that nobody had": (leak("arq:abort", Key("zset", -1, (NOOP,))), checker.NOTHING_LEFT),
    "a cron's lease stays for ever": (leak("arq:in-progress:cron:x", Key("string", -1)), checker.NOTHING_LEFT),
    "a key that nobody knows is left": (leak("whatever", Key("string", 900)), checker.NOTHING_LEFT),
    "heartbeats stay for ever": (leak("arqube:chaos:bulk:heartbeats", Key("hash", -1)), checker.NOTHING_LEFT),
    "a worker is left": (one_worker_left, checker.CONVERGED),
    "a pod is left": (one_pod_left, checker.CONVERGED),
    "no worker is where one is kept": (no_worker_where_one_is_kept, checker.CONVERGED),
    "a Deployment is missing": (no_deployment, checker.CONVERGED),
    "a pod belongs to nobody": (stray, checker.NO_STRAYS),
    "nobody leads": (no_leader, checker.NO_STRAYS),
    "there is one Lease too many": (two_leases, checker.NO_STRAYS),
}


@pytest.mark.parametrize(("change", "promise"), BROKEN.values(), ids=BROKEN)
def test_a_broken_promise_is_found(change: Callable[[Case], None], promise: str) -> None:
    case = Case()
    change(case)
    assert {each.promise for each in case.judge().violations} == {promise}


EXPLAINED = {
    "its worker was killed": (twice, blow(Explains.VICTIMS, 3.0, None, ONE)),
    "its worker stood still": (twice, blow(Explains.VICTIMS, 1.0, 5.0, ONE)),
    "the workers of its TaskQueue were replaced": (twice, blow(Explains.VICTIMS, 3.0, None, "bulk")),
    "its pod was asked to go before it began": (twice, blow(Explains.VICTIMS, 1.0, None, ONE)._replace(lingers_s=2.0)),
    "Redis was away": (twice, blow(Explains.RUNS, 3.0, 4.0)),
    "its worker was stopped and gave it back": (given_back, blow(Explains.VICTIMS, 2.1, None, ONE)),
    "Redis lost its end in a failover": (completed_twice, blow(Explains.COMPLETED, 3.0, 4.0)),
    "Redis lost its lease in a failover": (twice, blow(Explains.COMPLETED, 3.0, 4.0)),
}


ASKED_TO_GO = blow(Explains.VICTIMS, 0.5, None, ONE)._replace(lingers_s=1.0)


@pytest.mark.parametrize(
    ("trouble", "explained"),
    [
        pytest.param(Struck("api server: stopped", Explains.NOTHING, 0.7, 1.6, ()), True, id="the API server was away"),
        pytest.param(Struck("api server: stopped", Explains.NOTHING, 0.1, 0.4, ()), False, id="it was away before"),
        pytest.param(Struck("operator: SIGTERM", Explains.NOTHING, 0.7, 1.6, ()), False, id="something else was"),
    ],
)
def test_a_pod_that_is_asked_to_go_stays_while_the_api_server_is_in_trouble(trouble: Struck, explained: bool) -> None:
    case = Case(struck=[ASKED_TO_GO, trouble])
    twice(case)
    assert [each.promise for each in case.judge().violations] == ([] if explained else [checker.EXPLAINED])


@pytest.mark.parametrize(("change", "struck"), EXPLAINED.values(), ids=EXPLAINED)
def test_a_fault_explains_a_repeat(change: Callable[[Case], None], struck: Struck) -> None:
    case = Case(struck=[struck])
    change(case)
    verdict = case.judge()
    assert verdict.violations == []
    assert [(each.job_id, each.fault) for each in verdict.repeats] == [(NOOP, "a blow")]


NOT_EXPLAINED = {
    "another worker was killed": (twice, blow(Explains.VICTIMS, 3.0, None, OTHER), checker.EXPLAINED),
    "the workers of another TaskQueue were replaced": (
        twice,
        blow(Explains.VICTIMS, 3.0, None, "steady"),
        checker.EXPLAINED,
    ),
    "its worker was killed before it began": (twice, blow(Explains.VICTIMS, 1.0, None, ONE), checker.EXPLAINED),
    "its worker was killed after the repeat": (twice, blow(Explains.VICTIMS, 7.0, None, ONE), checker.EXPLAINED),
    "the operator was killed": (twice, blow(Explains.NOTHING, 3.0, 4.0), checker.EXPLAINED),
    "a worker's death undoes no completion": (
        completed_twice,
        blow(Explains.VICTIMS, 3.0, None, ONE),
        checker.COMPLETED,
    ),
    "a pause of Redis undoes no completion": (completed_twice, blow(Explains.RUNS, 3.0, 4.0), checker.COMPLETED),
    "the failover was before the completion": (completed_twice, blow(Explains.COMPLETED, 1.0, 1.5), checker.COMPLETED),
}


@pytest.mark.parametrize(("change", "struck", "promise"), NOT_EXPLAINED.values(), ids=NOT_EXPLAINED)
def test_a_fault_that_has_nothing_to_do_with_it_explains_nothing(
    change: Callable[[Case], None], struck: Struck, promise: str
) -> None:
    case = Case(struck=[struck])
    change(case)
    verdict = case.judge()
    assert {each.promise for each in verdict.violations} == {promise}
    assert verdict.repeats == []


def test_a_job_that_was_never_acknowledged_may_be_missing() -> None:
    case = Case()
    case.jobs[LONG] = Job(planned_at=1.0, payload=PAYLOAD)
    assert case.judge().violations == []


def test_a_cancelled_job_need_not_come_to_its_end() -> None:
    case = Case()
    case.jobs[LONG] = replace(done(run(2.0, raised=True)), cancelled=True)
    case.results[LONG] = 1000
    verdict = case.judge()
    assert verdict.violations == []
    assert verdict.ended["cancelled"] == 1


def test_the_books_are_read_as_they_were_written(tmp_path: Path) -> None:
    (tmp_path / f"7.{PRODUCER}").write_text(f"P 1.0 {ASKS} abc\nP 1.0 {NOOP} abd\nA 1.5 {ASKS} -\nK 1.6 {ASKS} -\n")
    (tmp_path / f"{ONE}.{WORKER}").write_text(
        f"S 2.0 {ASKS} 1\nX 2.1 {ASKS} -\nrequeue 2.2 {ASKS} -\nS 3.0 {NOOP} 1\nbury 3.5 {FAILS} -\n"
    )
    (tmp_path / f"{OTHER}.{WORKER}").write_text(f"S 2.5 {ASKS} 2\nE 2.6 {ASKS} -\nfinish 2.7 {ASKS} -\n")
    jobs = ledger.read(tmp_path)
    assert jobs[ASKS] == Job(
        1.0,
        "abc",
        True,
        True,
        [Run(ONE, 1, 2.0, True, REQUEUED, 2.2), Run(OTHER, 2, 2.5, False, FINISHED, 2.7)],
        [(2.7, FINISHED)],
    )
    assert jobs[NOOP] == Job(1.0, "abd", runs=[Run(ONE, 1, 3.0)])
    assert jobs[FAILS] == Job(ends=[(3.5, BURIED)])


def test_a_book_writes_what_is_read(tmp_path: Path) -> None:
    book = ledger.Book(tmp_path, WORKER)
    book.note(ledger.STARTED, NOOP, 3)
    book.note(ledger.RETURNED, NOOP)
    book.note_all(FINISHED, [(NOOP, "-"), (FAILS, "-")])
    jobs = ledger.read(tmp_path)
    assert [(each.attempt, each.raised, each.told) for each in jobs[NOOP].runs] == [(3, False, FINISHED)]
    assert [what for _, what in jobs[FAILS].ends] == [FINISHED]


def test_the_time_until_work_went_on_is_told_for_each_blow() -> None:
    case = Case(struck=[blow(Explains.VICTIMS, 2.5, None, ONE), replace_name(blow(Explains.RUNS, 6.5, 7.0), "a pause")])
    twice(case)
    case.jobs[LONG] = done(run(9.0))
    case.results[LONG] = 1000
    found = recoveries(case.struck, case.judge(), case.jobs)
    assert found == {"a blow": [3.5], "a pause": [2.0]}


def replace_name(struck: Struck, name: str) -> Struck:
    return struck._replace(fault=name)


def test_a_job_s_history_is_told_in_order() -> None:
    told = checker.history(Case().jobs[ASKS])
    assert [at for at, _ in told] == sorted(at for at, _ in told)
    assert "try 2 began in 101, ended, Redis said finish" in [text for _, text in told]
    assert kinds.kind_of(ASKS) is not None
