"""The tables of a run: each figure at each size, and the law by which it grows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from benchmarks.scale import laws

Figures = Mapping[str, Any]

_BEGIN: Final = "<!-- figures: made by `python -m benchmarks.scale --page docs/scale.md`; do not edit -->\n"
_END: Final = "<!-- end of figures -->\n"

OPERATOR: Final = (
    ("memory at its most, MiB", "peak_mib"),
    ("CPU, cores", "cpu_cores"),
    ("requests to the API server a second, applies apart", "api_requests_per_s"),
    ("applies a second in the minutes after a start", "applies_per_s"),
    ("reconcile passes a second", "passes_per_s"),
    ("pods", "pods"),
    ("ticks", "ticks"),
    ("ticks more than a period late", "late_ticks"),
    ("burst to /scale p50, s", "burst_p50_s"),
    ("burst to /scale p99, s", "burst_p99_s"),
    ("start until it is ready, s", "start_ready_s"),
    ("start until all queues were read, s", "start_all_read_s"),
    ("CPU of a start, s", "start_cpu_s"),
    ("kill -9 until another leads, s", "takeover_leads_s"),
    ("kill -9 until all queues were read, s", "takeover_all_read_s"),
    ("a scrape of all series, s", "scrape_s"),
    ("its size, MiB", "scrape_mib"),
)
SHARDS: Final = (
    ("TaskQueues", "queues"),
    ("memory at its most, MiB", "peak_mib"),
    ("CPU, cores", "cpu_cores"),
    ("requests to the API server a second", "api_requests_per_s"),
    ("ticks more than a period late", "late_ticks"),
    ("start until all queues were read, s", "start_all_read_s"),
)
HEARTBEATS: Final = (
    ("heartbeats written a second", "heartbeats_per_s"),
    ("operator's CPU, cores", "operator_cpu_cores"),
    ("operator's memory, MiB", "operator_mib"),
    ("one pass, ms", "pass_ms"),
    ("snapshot, ms of Redis", "snapshot_server_ms"),
    ("snapshot until it is read, ms", "snapshot_wall_ms"),
    ("snapshot, bytes", "snapshot_bytes"),
    ("one more heartbeat, ms of Redis", "heartbeat_server_ms"),
    ("a worker's turn, ms of Redis", "turn_server_ms"),
    ("the same with a function it does not know", "unknown_function_turn_server_ms"),
    ("arqube workers, s", "workers_command_s"),
    ("the console's page, s", "console_s"),
    ("its size, bytes", "console_bytes"),
)
JOBS: Final = (
    ("memory of Redis a job, bytes", "bytes_a_job"),
    ("snapshot, ms of Redis", "snapshot_server_ms"),
    ("the same, 10,000 running at the head", "running_snapshot_server_ms"),
    ("the same, 1,000,000 deferred", "deferred_snapshot_server_ms"),
    ("turn that ends 100 jobs and takes 100, ms of Redis", "claim_server_ms"),
    ("the same until the worker has them, ms", "claim_wall_ms"),
    ("the same, 10,000 running at the head, ms of Redis", "running_claim_server_ms"),
    ("turns of a new worker to get past those", "turns_past_running"),
    ("the same, 1,000,000 deferred, ms of Redis", "deferred_claim_server_ms"),
    ("arq's enqueue_job, ms of Redis", "enqueue_server_ms"),
    ("arq's enqueue_job, ms", "enqueue_wall_ms"),
    ("payloads kept, a page at the head, ms of Redis", "keep_first_page_server_ms"),
    ("payloads kept, a page at the end, ms of Redis", "keep_last_page_server_ms"),
    ("pages until all are looked at", "keep_all_pages"),
    ("a page of jobs, ms of Redis", "list_page_server_ms"),
    ("arqube jobs list, s", "jobs_list_s"),
    ("arqube queues, s", "queues_s"),
)
FLEETS: Final = (
    ("calls until free slots are full again", "calls_a_claim"),
    ("all of them, ms of Redis", "claim_server_ms"),
)
LETTERS: Final = (
    ("memory of Redis a dead letter, bytes", "bytes_a_letter"),
    ("snapshot, ms of Redis", "snapshot_server_ms"),
    ("turn that buries 100 jobs and takes 100, ms of Redis", "bury_server_ms"),
    ("arqube dlq list, s", "dlq_list_s"),
    ("arqube dlq list of a function that has none, s", "dlq_list_of_a_function_s"),
)


def text(figures: Figures) -> str:
    """All tables of the parts that were measured, for a terminal."""
    lines = [str(figures["machine"])]
    for title, table in _tables(figures):
        lines += ["", title]
        for what, *cells, law in table:
            lines.append(f"{what:52}" + "".join(f"{cell:>11}" for cell in cells) + f"   {law}")
    return "\n".join(lines)


def page(written: str, figures: Figures) -> str:
    """``written``, a page in Markdown, with the tables between its two marks.

    Raises:
        ValueError: A mark is missing.
    """
    before, begin, rest = written.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"the marks {_BEGIN.strip()!r} and {_END.strip()!r} are not both there")
    made = [f"On {figures['machine']}."]
    for title, ((_, *heads, law), *rows) in _tables(figures):
        made += ["", f"**{title}**", "", _row((" ", *heads, law)), _row(("---", *("--:" for _ in heads), "---"))]
        made += [_row(row) for row in rows]
    return "\n".join((before + begin, *made, "", end + after))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _tables(figures: Figures) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """A title, and rows whose first is the heading and whose last cell is the law."""
    if operator := figures.get("operator"):
        title = f"One operator: TaskQueues on {operator['redis_servers']} Redis servers, 4 in 100 of them active"
        yield title, _table("queues", OPERATOR, operator["sizes"])
        if shards := operator["shards"]:
            yield "Two operators that share the largest number by a label", _table("shard", SHARDS, shards)
    if heartbeats := figures.get("heartbeats"):
        yield "One queue: its workers", _table("workers", HEARTBEATS, heartbeats["sizes"])
    if fleets := figures.get("fleets"):
        yield (
            "One queue: jobs that run, on workers of 100 slots that end 10 and take 10",
            _table("running", FLEETS, fleets),
        )
    if jobs := figures.get("jobs"):
        yield "One queue: its jobs", _table("jobs", JOBS, jobs["jobs"])
        yield "The same queue: its dead letters", _table("dead_letters", LETTERS, jobs["dead_letters"])


def _table(size: str, named: Sequence[tuple[str, str]], measured: Sequence[Figures]) -> list[tuple[str, ...]]:
    sizes = [each[size] for each in measured]
    is_law = all(isinstance(each, int) for each in sizes)
    heading = ("", *(f"{each:,}" if is_law else each for each in sizes), "grows" if is_law else "")
    rows = [
        (
            what,
            *(f"{each[key]:,}" for each in measured),
            laws.word(power(size, key, measured)) if is_law else "",
        )
        for what, key in named
    ]
    return [heading, *rows]


def power(size: str, key: str, measured: Sequence[Figures]) -> float | None:
    """The exponent of a figure's law."""
    return laws.exponent([each[size] for each in measured], [each[key] for each in measured])
