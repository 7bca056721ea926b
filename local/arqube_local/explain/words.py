"""An account of a TaskQueue in words a person reads, in lines of the terminal's width."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Final

from arqube_local.explain.account import Account, Happening
from arqube_local.explain.plot import Glyphs, plot
from arqube_local.text import age, printable
from arqube_local.timestamps import from_timestamp
from arqube_operator.api.duration import format_duration
from arqube_operator.api.v1alpha1 import ScalingStatus, TaskQueue
from arqube_operator.decide.explanation import REASONS, attention, remedy

EVENTS_SHOWN: Final = 8
SILENT_S: Final = 30.0
"""An operator that has left no sample for so long does not read the queue."""

_INDENT: Final = 13
_LINES_OF_EVENT: Final = 2


def tell(account: Account, width: int, glyphs: Glyphs) -> str:
    """The whole account."""
    return "\n".join(line.rstrip() for line in _lines(account, width, glyphs))


def _lines(account: Account, width: int, glyphs: Glyphs) -> Iterator[str]:
    task_queue = account.task_queue
    status, now_s = task_queue.status, account.now_ms / 1000
    yield f"TaskQueue {task_queue.metadata.namespace}/{task_queue.metadata.name}"
    yield from _headline(task_queue, width)
    for condition in attention(task_queue.status):
        yield from _entry("Attention", f"{condition.type}, {condition.reason}: {condition.message}", width)
    yield from _doubts(account, width)
    if status.scaling is not None:
        yield ""
        yield from _present(task_queue, status.scaling, width)
        yield from _decision(task_queue, status.scaling, now_s, width)
    yield ""
    yield from _past(account, width, glyphs)


def _headline(task_queue: TaskQueue, width: int) -> Iterator[str]:
    status = task_queue.status
    if status.scaling is None:
        yield from _wrapped("The operator has not seen it yet. Does one run that watches this namespace?", width, 0)
        return
    wanted, ready = status.desired_replicas or 0, status.ready_replicas or 0
    reason = status.scaling.reason
    why = f"{REASONS[reason]} ({reason})" if reason in REASONS else reason
    would = "would be wanted" if status.scaling.limit == "DryRun" else "wanted"
    yield from _wrapped(f"{_workers(wanted)} {would}, {ready} ready: {why}.", width, 0)
    if not status.scaling.terms:
        yield from _wrapped(f"{status.scaling.message}.", width, 0)


def _doubts(account: Account, width: int) -> Iterator[str]:
    """Why what follows may not be how things stand."""
    task_queue = account.task_queue
    observed = task_queue.status.observed_generation
    if observed is not None and observed < task_queue.metadata.generation:
        yield from _entry("Note", "The operator has not looked at the last change of the spec yet.", width)
    if account.without_history is None and account.samples:
        silent_s = (account.now_ms - account.samples[-1].at_ms) / 1000
        if silent_s > SILENT_S:
            text = f"The operator last read the queue {age(int(silent_s))} ago. Does it run, and reach Redis?"
            yield from _entry("Note", text, width)


def _present(task_queue: TaskQueue, scaling: ScalingStatus, width: int) -> Iterator[str]:
    """What there is, and what is wanted of it."""
    status, spec = task_queue.status, task_queue.spec
    if (queue := status.queue) is not None:
        oldest = f", the oldest for {queue.oldest_wait}" if queue.waiting else ""
        soon = f", {queue.due_soon} of them soon" if queue.due_soon else ""
        dead = f"; {_count(queue.dead_letters, 'dead letter')}" if queue.dead_letters else ""
        text = f"{queue.waiting} waiting{oldest}; {queue.running} running; {queue.deferred} deferred{soon}{dead}"
        yield from _entry("Queue", text, width)
    if (inputs := scaling.inputs) is not None:
        load = []
        if inputs.arrivals_per_second is not None:
            load.append(f"{inputs.arrivals_per_second:.3g} jobs/s arrive")
        if inputs.service_seconds is not None:
            load.append(f"a job runs {inputs.service_seconds:.3g} s")
        yield from _entry("Load", ", ".join(load) or "not known yet", width)
        workers = []
        if inputs.slots is not None:
            workers.append(f"{inputs.busy_slots or 0:.0f} of {inputs.slots:.0f} slots busy")
        if inputs.startup_seconds is not None:
            workers.append(f"a new worker is ready within {inputs.startup_seconds:.3g} s")
        yield from _entry("Workers", ", ".join(workers) or "not known yet", width)
    wait_s = spec.scaling.max_wait_s
    if wait_s is not None:
        target = f"a due job starts within {format_duration(wait_s)}"
    else:
        target = f"{_count(spec.scaling.jobs_per_replica or 0, 'job')} a worker"
    bounds = f"with {spec.scaling.min_replicas} to {spec.scaling.max_replicas} workers"
    yield from _entry("Target", f"{target}, {bounds}", width)


def _decision(task_queue: TaskQueue, scaling: ScalingStatus, now_s: float, width: int) -> Iterator[str]:
    """Why so many, what is in the way, what is under way, and what comes next."""
    if scaling.terms:
        yield ""
        yield "What speaks for how many workers"
        longest = max(len(term.name) for term in scaling.terms)
        for term in scaling.terms:
            head = f"  {term.name:{longest}} {term.replicas:>6.3g}  "
            yield from _wrapped(head + term.message, width, len(head))
        yield ""
    if scaling.limit is not None:
        yield from _entry(
            "Limit", f"{scaling.limit}. {remedy(task_queue.spec.scaling, scaling.limit) or scaling.message}", width
        )
    if scaling.retiring:
        text = f"{_workers(scaling.retiring)} asked to take no more jobs, and to go when theirs have ended"
        yield from _entry("Retiring", text, width)
    if (change := scaling.last_change) is not None:
        ago = age(max(0, int(now_s - from_timestamp(change.time))))
        text = f"{ago} ago, from {change.from_replicas} to {change.to_replicas} ({change.reason}): {change.message}"
        yield from _entry("Last change", text, width)
    if scaling.crons is not None and scaling.crons.next is not None:
        left_s = from_timestamp(scaling.crons.next) - now_s
        when = f"in {age(int(left_s))}" if left_s >= 0 else f"{age(int(-left_s))} ago"
        yield from _entry("Next cron", f"{when}, at {scaling.crons.next}", width)


def _past(account: Account, width: int, glyphs: Glyphs) -> Iterator[str]:
    """The plot and the Events."""
    if account.without_history is not None:
        text = f"{printable(account.without_history)}. So only what is seen from now on is drawn; --watch goes on."
        yield from _entry("No history", text, width)
    elif not account.samples:
        yield from _entry("No history", "The operator has left no samples of the last hour in Redis.", width)
    if account.without_history is None or len(account.samples) > 1:
        yield from plot(account.samples, account.now_ms, width, glyphs)
    yield ""
    yield "Events" if account.happenings else "Events: none that are kept"
    for happening in account.happenings[-EVENTS_SHOWN:]:
        yield from _event(happening, account.now_ms / 1000, width)


def _event(happening: Happening, now_s: float, width: int) -> Iterator[str]:
    ago = age(max(0, int(now_s - happening.at_s)))
    times = f" ({happening.count} times)" if happening.count > 1 else ""
    mark = "!" if happening.warning else " "
    head = f"{mark} {ago:>5} ago  "
    text = textwrap.shorten(
        f"{happening.reason}{times}: {printable(happening.message)}",
        (width - len(head)) * _LINES_OF_EVENT - 10,
        placeholder=" ...",
    )
    yield from _wrapped(head + text, width, len(head))


def _entry(name: str, text: str, width: int) -> Iterator[str]:
    return _wrapped(f"{name:{_INDENT - 1}} {text}", width, _INDENT)


def _wrapped(text: str, width: int, indent: int) -> Iterator[str]:
    """``text`` in lines of ``width``, all but the first indented; words that are longer stand as they are."""
    head, body = text[:indent], printable(text[indent:])
    lines = textwrap.wrap(body, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
    yield head + lines[0]
    yield from (" " * indent + line for line in lines[1:])


def _workers(count: int) -> str:
    return _count(count, "worker")


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
