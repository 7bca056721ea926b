"""How many pods the jobs need: to start within ``maxWait``, or by the simple rule of so many jobs a pod.

``ask`` is what must be there, ``enough`` what is worth keeping; between the two nothing changes. Both come from the
same terms, ``ask`` with the least that is likely and ``enough`` with the most: that is the hysteresis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

from arqube_operator.decide.scaling import words
from arqube_operator.decide.scaling.fleet import Fleet
from arqube_operator.decide.scaling.learning import BIN_S, Learned
from arqube_operator.decide.scaling.model import Term
from arqube_queue.model import QueueSnapshot

ASK_SHARE: Final = 0.6
"""Pods are added when jobs would start later than this share of ``maxWait``: the rest is for what nobody foresees."""
ENOUGH_SHARE: Final = 0.3
"""Pods go only while the jobs that wait start within this share of ``maxWait`` without them."""
BUSY_SHARE: Final = 0.9
"""Pods are kept while without them more than this share of the slots would be busy: queues grow long beyond it."""
REACTION_S: Final = 2.0
"""Seconds from a need to a pod's creation: a reading of the queue, and what Kubernetes takes."""
CATCH_UP_SHARE: Final = 1 / 6
"""Jobs that are late whatever is done start within this share of ``maxWait`` from when new pods are ready."""
UNKNOWN_S: Final = 3600.0
"""Until a job was seen to end, jobs are taken to run for so long: each needs a slot of its own."""
SPREAD: Final = 2.0
"""Standard deviations by which more jobs may arrive than on average, where they cannot wait for a new pod."""


class Demand(NamedTuple):
    """Pods the jobs need: ``ask`` must be there, more than ``enough`` are not worth keeping."""

    ask: int
    enough: int
    terms: tuple[Term, ...]
    late: bool = False
    """Jobs that wait would start too late with the pods there are."""


def by_jobs(queue: QueueSnapshot, jobs_per_pod: int) -> Demand:
    """``ceil((waiting + running + due soon) / jobs_per_pod)``: a HorizontalPodAutoscaler's AverageValue."""
    jobs = queue.waiting + queue.running + queue.due_soon
    pods = math.ceil(jobs / jobs_per_pod)
    return Demand(pods, pods, (Term("Jobs", jobs / jobs_per_pod, words.jobs(queue, jobs_per_pod)),))


def by_wait(fleet: Fleet, queue: QueueSnapshot, learned: Learned, concurrency: int, max_wait_s: float) -> Demand:
    """The pods with which due jobs start within ``max_wait_s``.

    Two things ask for pods, and the larger counts: arrivals must be kept up with, and what waits must start in time.
    """
    service_s = learned.service.mean_s or UNKNOWN_S
    rate, startup = learned.rate, learned.startup
    ahead = _Ahead(queue.running, service_s, startup.typical_s, startup.slow_s + REACTION_S, max_wait_s)
    ask_slots, enough_slots = ahead.slots(rate.low), ahead.slots(rate.high)
    terms = [
        Term("Arrivals", ask_slots / concurrency, words.arrivals(rate, learned.service.mean_s, ask_slots, enough_slots))
    ]
    if rate.mean is None:  # As long as nothing is known of arrivals, what is busy is taken to stay so.
        enough_slots = max(enough_slots, queue.waiting + queue.running)
    ask, enough = _whole(ask_slots / concurrency), _whole(enough_slots / concurrency / BUSY_SHARE)
    late = False
    if queue.waiting or queue.due_soon:
        pods = pods_in_time(fleet, queue, learned, concurrency, max_wait_s, service_s)
        late = pods > len(fleet.workers) + fleet.starting
        terms.append(Term("Backlog", pods, words.backlog(queue, learned.service.mean_s, max_wait_s)))
        ask = max(ask, math.ceil(pods))
        work_s = (queue.waiting + queue.due_soon) * service_s
        enough = max(enough, ask, math.ceil(work_s / concurrency / (max_wait_s * ENOUGH_SHARE)))
    return Demand(ask, max(ask, enough), tuple(terms), late)


def _whole(pods: float) -> int:
    """``pods`` rounded up; the first one is for work that is there, and stays for the cool-down, not for a rate."""
    return math.ceil(pods) if pods > 1 else 0


class _Ahead(NamedTuple):
    """Busy slots at the time a pod ordered now would be ready."""

    running: int
    service_s: float
    startup_s: float
    lead_s: float
    max_wait_s: float

    def slots(self, rate: float) -> float:
        """Slots that ``rate`` jobs a second need then.

        Of the jobs that run now ``exp(-t/service)`` still run, and of those that arrive until then as many run as in a
        queue without waits: ``rate x service x (1 - exp(-t/service))`` (Eick, Massey, Whitt 1993).
        """
        left = math.exp(-self.startup_s / self.service_s)
        return self.running * left + rate * self.service_s * (1 - left) + self._headroom(rate)

    def _headroom(self, rate: float) -> float:
        """Slots for jobs that arrive beyond the average until a pod is ready, as far as they cannot wait for it."""
        beyond = SPREAD * math.sqrt(rate * self.lead_s) - rate * self.max_wait_s * ASK_SHARE
        return max(0.0, beyond) * min(1.0, self.service_s / self.lead_s)


def pods_in_time(
    fleet: Fleet, queue: QueueSnapshot, learned: Learned, concurrency: int, max_wait_s: float, service_s: float
) -> float:
    """Pods with which every job that waits starts within its share of ``max_wait_s``.

    For each deadline the jobs that must have started by then are compared with the starts that the ready pods, those
    that start and, from a start-up on, new ones make possible.
    """
    startup_s = learned.startup.typical_s
    soonest_s = learned.startup.slow_s + REACTION_S + max_wait_s * CATCH_UP_SHARE
    ready = len(fleet.workers)
    slots, idle = fleet.slots, max(0, fleet.slots - fleet.busy)
    most = 0.0
    for due, by_s in _deadlines(queue, learned, max_wait_s * ASK_SHARE, soonest_s):
        turnover = slots * by_s / service_s
        # Surely so many: ends come by chance.
        starts = idle + max(0.0, turnover - math.sqrt(turnover))
        if due <= starts:
            most = max(most, ready * due / starts)
            continue
        pods, left = float(ready), due - starts
        if fleet.starting:
            each = concurrency * (1 + max(0.0, by_s - fleet.starting_s) / service_s)
            pods += min(fleet.starting, left / each)
            left -= fleet.starting * each
        if left > 0:
            pods += left / (concurrency * (1 + max(0.0, by_s - startup_s) / service_s))
        most = max(most, pods)
    return most


def _deadlines(
    queue: QueueSnapshot, learned: Learned, within_s: float, soonest_s: float
) -> Iterator[tuple[float, float]]:
    """How many jobs must have started by which time from now; those that wait are the last that arrived."""
    if queue.due_soon:
        due_s = queue.next_due_s or 0.0
        yield queue.waiting + queue.due_soon, max(due_s + within_s, soonest_s)
    left: float = queue.waiting
    age_s = 0.0
    arrivals = iter((learned.arrived, *learned.bins))
    while left > 0:
        by_s = within_s - age_s
        yield left, max(by_s, soonest_s)
        if by_s <= soonest_s:
            return
        left -= next(arrivals, left)
        age_s += BIN_S
