"""What successive snapshots teach: how many jobs arrive, how long one runs, how long a pod takes to start.

Arrivals are counted by balance: what started since the last snapshot, as the workers' counters tell, and by how much
more wait. A job that started but was not told of yet is missing now and comes back with the next heartbeat.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from arqube_queue.model import Heartbeat, QueueSnapshot

if TYPE_CHECKING:
    from arqube_operator.api.v1alpha1 import ScalingInputs
    from arqube_operator.decide.state import Pod

BIN_S: Final = 2.5
"""Arrivals are counted in bins of so many seconds: some heartbeats long, a fraction of a start-up."""
BINS: Final = 48
"""Bins kept: two minutes."""
CONFIDENCE: Final = 1.5
"""Standard errors by which a rate's bounds are off its mean: wider ones mean fewer changes and slower ones."""
REMEMBERED_JOBS: Final = 400
"""Ended jobs that the service time is the mean of, at most: a few per cent of error, and yet it follows a change."""
REMEMBERED_STARTS: Final = 20
LONGEST_STARTUP_S: Final = 600.0
DEFAULT_STARTUP_S: Final = 10.0
"""Seconds a pod is taken to start in until one was seen."""
MOST_TOLD: Final = 1e6
"""The largest figure that is believed of a status: others than operators may have written it."""
_FEW: Final = 20
"""What a leader learned before counts as so many jobs to the next."""

Counters = tuple[int, int, float]
"""Of a worker: jobs started, jobs ended, seconds run."""
_NOTHING: Final[Counters] = (0, 0, 0.0)


class Rate(NamedTuple):
    """Arrivals a second: ``mean`` since the last change, and the bounds ``low`` and ``high`` that it likely is within.

    The bounds are the tightest of all windows that end now, so that a change shows within two or three bins while a
    steady rate is known from two minutes. The spread of the bins makes them wide: a lone burst raises no lower bound.
    """

    low: float = 0.0
    mean: float | None = None
    high: float = 0.0


class Service(NamedTuple):
    """Sums over the last jobs: seconds they ran, seconds slots were busy in the meantime, jobs ended."""

    run_s: float = 0.0
    busy_s: float = 0.0
    ended: float = 0.0

    @property
    def mean_s(self) -> float | None:
        """Seconds a job runs; None when none ended yet.

        Busy time over ended jobs counts what the jobs in flight have run already. Ended jobs alone would tell only of
        the short ones at first.
        """
        return max(self.run_s, self.busy_s, 0.001) / self.ended if self.ended else None


class Startup(NamedTuple):
    """How long the last pods took from their creation to readiness; ``seen_s`` is when the last one got ready."""

    samples: tuple[float, ...] = ()
    seen_s: float = 0.0
    typical_s: float = DEFAULT_STARTUP_S
    slow_s: float = DEFAULT_STARTUP_S


class Learned(NamedTuple):
    """All that is learned, and the last snapshot it was learned from.

    Attributes:
        at_ms: When that was taken; None before the first.
        waiting: The jobs that waited then.
        counters: Of each worker.
        bin_from_ms: When the open bin began.
        arrived: Jobs that arrived in the open bin.
        bins: Jobs that arrived in each closed bin, newest first.
    """

    at_ms: int | None = None
    waiting: int = 0
    counters: Mapping[str, Counters] = MappingProxyType({})
    bin_from_ms: int = 0
    arrived: float = 0.0
    bins: tuple[float, ...] = ()
    rate: Rate = Rate()
    service: Service = Service()
    startup: Startup = Startup()


def begin(inputs: ScalingInputs | None, startup_s: float | None) -> Learned:
    """What a new leader knows from the status that the last one wrote."""
    if inputs is not None and inputs.startup_seconds is not None:
        startup_s = inputs.startup_seconds
    startup = Startup()
    if startup_s is not None:
        startup_s = min(startup_s, LONGEST_STARTUP_S)
        startup = Startup(typical_s=startup_s, slow_s=startup_s)
    if inputs is None:
        return Learned(startup=startup)
    service = Service()
    if inputs.service_seconds is not None:
        seconds = min(inputs.service_seconds, MOST_TOLD) * _FEW
        service = Service(seconds, seconds, _FEW)
    rate = inputs.arrivals_per_second
    known = Rate() if rate is None else Rate(*[min(rate, MOST_TOLD)] * 3)
    return Learned(rate=known, service=service, startup=startup)


def learn_startup(learned: Learned, pods: Iterable[Pod]) -> Learned:
    """``learned`` with the start-ups of pods that became ready since."""
    known = learned.startup
    # A pod whose worker is known was ready before: it is ready again, which is no start-up.
    new = [
        pod
        for pod in pods
        if pod.ready_s is not None and pod.ready_s > known.seen_s and pod.name not in learned.counters
    ]
    if not new:
        return learned
    took = [min(LONGEST_STARTUP_S, max(1.0, (pod.ready_s or 0.0) - pod.created_s)) for pod in new]
    samples = (*known.samples, *took)[-REMEMBERED_STARTS:]
    order = sorted(samples)
    seen_s = max(pod.ready_s or 0.0 for pod in new)
    startup = Startup(samples, seen_s, order[len(order) // 2], order[math.ceil(0.9 * len(order)) - 1])
    return learned._replace(startup=startup)


def learn_queue(learned: Learned, queue: QueueSnapshot, pods: Sequence[Pod]) -> Learned:
    """``learned`` with a snapshot; the same snapshot again teaches nothing."""
    if queue.at_ms == learned.at_ms:
        return learned
    counters, done = _count(learned.counters, queue.heartbeats, pods)
    if learned.at_ms is None or queue.at_ms < learned.at_ms:
        # The first one, or Redis' clock was set back, as by a failover: from here on times can be compared.
        return learned._replace(
            at_ms=queue.at_ms, waiting=queue.waiting, counters=counters, bin_from_ms=queue.at_ms, arrived=0.0
        )
    new, arrived = queue.waiting - learned.waiting + done.started, learned.arrived
    bins, bin_from_ms, rate = learned.bins, learned.bin_from_ms, learned.rate
    closed = int((queue.at_ms - bin_from_ms) / 1000 / BIN_S)
    if closed:
        # What is new is spread over the gap; what was known before it belongs to the bin that was open.
        share = new / closed
        oldest = arrived + share
        bins = ((max(0.0, share),) * min(closed - 1, BINS) + (max(0.0, oldest),) + bins)[:BINS]
        # What was told too early is made up for by the next bin.
        arrived = min(0.0, share) * (closed - 1) + min(0.0, oldest)
        bin_from_ms += int(closed * BIN_S * 1000)
        rate = measure_rate(bins)
    else:
        arrived += new
    service = _served(learned.service, done, (queue.at_ms - learned.at_ms) / 1000)
    return Learned(queue.at_ms, queue.waiting, counters, bin_from_ms, arrived, bins, rate, service, learned.startup)


class _Done(NamedTuple):
    """What workers did between two snapshots: jobs started, jobs ended, seconds these ran; and jobs running at last."""

    started: int
    ended: int
    run_s: float
    busy: int


def _count(
    before: Mapping[str, Counters], heartbeats: Iterable[Heartbeat], pods: Sequence[Pod]
) -> tuple[dict[str, Counters], _Done]:
    """The workers' counters, and by how much they are on from ``before``."""
    counters: dict[str, Counters] = {}
    started, ended, run_s, busy, found = 0, 0, 0.0, 0, 0
    for beat in heartbeats:
        name = beat.worker
        busy += beat.busy
        now_started, now_ended, now_run_s = told = (beat.started, sum(beat.finished.values()), beat.run_seconds)
        counters[name] = told
        was = before.get(name)
        if was is not None:
            found += 1
            if was == told:
                continue
            if now_started < was[0]:
                was = _NOTHING  # Its container began anew.
        elif any(pod.name == name for pod in pods):
            was = _NOTHING
        else:
            continue  # Another's worker, which may have run for long.
        started += now_started - was[0]
        ended += max(0, now_ended - was[1])
        run_s += max(0.0, now_run_s - was[2])
    if found < len(before):
        # One whose heartbeats fail for a while is not taken for a new one when it is back.
        counters |= {pod.name: before[pod.name] for pod in pods if pod.name in before and pod.name not in counters}
    return counters, _Done(started, ended, run_s, busy)


def _served(known: Service, done: _Done, passed_s: float) -> Service:
    if not done.busy and not done.ended:
        return known
    total = Service(known.run_s + done.run_s, known.busy_s + done.busy * passed_s, known.ended + done.ended)
    if total.ended <= REMEMBERED_JOBS:
        return total
    return Service(total.run_s / 2, total.busy_s / 2, total.ended / 2)


def measure_rate(bins: tuple[float, ...]) -> Rate:
    """The rate that ``bins``, newest first, speak for, by Lepski's method.

    From the newest bins on the window grows, and the bounds tighten, as long as the longer one does not contradict the
    shorter ones: where it does, the rate has changed.
    """
    if not any(bins):
        return Rate(0.0, 0.0, 0.0)
    total = bins[0]
    squares = total * total
    low, high, seen = 0.0, math.inf, 1
    for arrived in bins[1:]:
        total += arrived
        squares += arrived * arrived
        count = seen + 1
        mean = total / count
        # Of the bins' own variance and a Poisson process's the larger; a job more than was seen may have been due.
        variance, poisson = (squares - total * mean) / seen, mean + 1 / count
        error = CONFIDENCE * math.sqrt((variance if variance > poisson else poisson) / count)
        lower, upper = mean - error, mean + error
        if lower > high or upper < low:
            total -= arrived
            break
        if lower > low:
            low = lower
        if upper < high:
            high = upper
        seen = count
    if math.isinf(high):
        high = total
    return Rate(low / BIN_S, min(max(total / seen, low), high) / BIN_S, high / BIN_S)
