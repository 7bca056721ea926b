"""``decide_replicas``: the steps of the policy in their order."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from arqube_operator.decide.scaling import words
from arqube_operator.decide.scaling.crons import (
    MARGIN_S,
    KnownCrons,
    cron_is_near,
    learn_crons,
    template_hash,
)
from arqube_operator.decide.scaling.demand import Demand, by_jobs, by_wait
from arqube_operator.decide.scaling.fleet import Fleet, fleet
from arqube_operator.decide.scaling.learning import Learned, begin, learn_queue, learn_startup
from arqube_operator.decide.scaling.limits import Limited, bounds, hold, limit, steps_since
from arqube_operator.decide.scaling.model import Decision, Inputs, ScalingMemory, Term
from arqube_operator.decide.scaling.retirement import retire

if TYPE_CHECKING:
    from arqube_operator.decide.scaling.limits import Bounds
    from arqube_operator.decide.state import Problem, State
    from arqube_queue.model import QueueSnapshot


def decide_replicas(state: State, now: float) -> Decision:
    """The number of workers for ``state`` at ``now`` (Unix seconds), and which of them take no more jobs."""
    memory = state.memory.scaling or _first_memory(state, now)
    if state.spec.replicas is None and state.redis_problem is None and state.queue is not None:
        return _by_queue(state, memory, state.queue, now)
    current = _current(state)
    memory = replace(memory, learned=learn_startup(memory.learned, state.pods), replicas=current, steps=(), retire=())
    if state.spec.replicas is not None:
        message = f"{state.spec.replicas} by spec.replicas; remove that field to scale by the queue again"
        return Decision(state.spec.replicas, "ManualReplicas", message, active=False, memory=memory)
    if state.redis_problem is not None:
        return _blind(state, memory, current, state.redis_problem, now)
    return Decision(None, "NotYetRead", "the queue was not read yet", active=False, memory=memory)


def _first_memory(state: State, now: float) -> ScalingMemory:
    """What the status tells of what the leader before this one knew."""
    told = state.status.scaling
    if told is None:
        return ScalingMemory(worked_s=now)
    crons = KnownCrons()
    if told.crons is not None:
        next_s = datetime.fromisoformat(told.crons.next).timestamp() if told.crons.next else None
        crons = KnownCrons(told.crons.template, next_s)
    return ScalingMemory(begin(told.inputs, told.startup_seconds), crons, worked_s=now)


def _current(state: State) -> int:
    return state.deployment.spec_replicas if state.deployment else 0


def _blind(state: State, memory: ScalingMemory, current: int, problem: Problem, now: float) -> Decision:
    """Without a fresh view of the queue nothing is taken away; the floor is seen to, and in time the fallback.

    The held number counts as wanted, so that the stabilization begins anew when the view is back.
    """
    scaling = state.spec.scaling
    away_s = now if memory.away_s is None else memory.away_s
    held, binding = max(current, bounds(scaling, memory.startup_s, None, now).floor), None
    message = f"{problem.message}; the number of workers is held"
    fallback = scaling.fallback
    if fallback is not None and now - away_s >= fallback.after_s and fallback.replicas >= held:
        held, binding = fallback.replicas, "Fallback"
        message = f"{problem.message}; {words.plural(held, 'worker')} by scaling.fallback until it is back"
    if scaling.paused in ("All", "Up") and held > current:
        held, binding = current, "Paused"
    enough = hold(memory.enough, now, held, scaling.scale_down.stabilization_s)
    memory = replace(memory, enough=enough, away_s=away_s, worked_s=now)
    return Decision(held, problem.reason, message, active=False, limit=binding, memory=memory)


def _by_queue(state: State, memory: ScalingMemory, queue: QueueSnapshot, now: float) -> Decision:
    spec, scaling, current = state.spec, state.spec.scaling, _current(state)
    learned = learn_queue(learn_startup(memory.learned, state.pods), queue, state.pods)
    template = template_hash(spec.worker.image, spec.worker.settings)
    # Cron runs and readiness are told by clocks of the cluster. Ours may be behind them; then Redis' is nearer.
    ahead_s = max(now, queue.at_ms / 1000)
    crons = learn_crons(memory.crons, template, state.pods, queue, ahead_s)
    pods = fleet(state, learned.startup.typical_s, now)
    demand = _demand(state, learned, pods, queue)
    first, is_known_ahead = _first(crons, template, queue, learned.startup.slow_s, ahead_s)
    if first is not None:
        demand = Demand(max(1, demand.ask), max(1, demand.enough), (*demand.terms, first), demand.late)
    worked_s = now if first is not None or memory.worked_s is None else memory.worked_s
    steps = steps_since(memory.steps, memory.replicas, current, scaling, now)
    allowed = bounds(scaling, learned.startup.slow_s, _read_limit(pods, spec.worker.concurrency), now)
    # From zero, what is known ahead is seen to however few jobs there are.
    active = is_known_ahead or queue.waiting + queue.running > scaling.activation_jobs
    since_s = state.memory.since_s
    limited = limit(
        scaling,
        allowed,
        demand,
        current,
        (memory.asked, memory.enough, steps),
        active=active,
        watched_s=0.0 if since_s is None else now - since_s,
        idle_s=now - worked_s,
        now=now,
    )
    going = retire(pods, limited.target, memory.retire, now)
    binding = limited.by or _binding(pods, demand.ask, limited.target, going.replicas)
    if scaling.dry_run and (going.asked or going.replicas != current):
        binding = "DryRun"
    return Decision(
        going.replicas,
        _reason(current, limited, demand, allowed),
        words.decision(queue, demand.terms, limited.target, current, allowed, binding, len(going.asked), scaling),
        True,
        Inputs(
            queue.waiting,
            queue.running,
            queue.due_soon,
            queue.oldest_wait_s,
            learned.rate.mean,
            learned.service.mean_s,
            learned.startup.slow_s,
            pods.busy,
            pods.slots,
        ),
        demand.terms,
        binding,
        ScalingMemory(learned, crons, limited.enough, limited.asked, steps, current, worked_s, None, going.asked),
        frozenset([name for name, _ in going.asked]),
    )


def _demand(state: State, learned: Learned, pods: Fleet, queue: QueueSnapshot) -> Demand:
    scaling, concurrency = state.spec.scaling, state.spec.worker.concurrency
    max_wait_s = scaling.max_wait_s
    if max_wait_s is None:
        return by_jobs(queue, scaling.jobs_per_replica or concurrency)
    if pods.is_plain and learned.service.mean_s is None:
        # Plain arq tells nothing to learn from: a slot for each job.
        return by_jobs(queue, concurrency)
    return by_wait(pods, queue, learned, concurrency, max_wait_s)


def _read_limit(pods: Fleet, concurrency: int) -> int | None:
    """Pods beyond which plain arq's would find no jobs: it looks at so many at the queue's head, running ones too."""
    return math.ceil(max(5 * concurrency, 100) / concurrency) if pods.is_plain else None


def _first(
    crons: KnownCrons, template: str, queue: QueueSnapshot, startup_s: float, now: float
) -> tuple[Term | None, bool]:
    """What speaks for one pod at least, and whether that is known ahead of its time."""
    if cron_is_near(crons, template, startup_s, now):
        return Term("Cron", 1, words.cron(crons, template, now)), True
    if queue.due_soon or (queue.next_due_s is not None and queue.next_due_s <= startup_s + MARGIN_S):
        return Term("Deferred", 1, words.deferred(queue)), True
    if queue.running or queue.waiting:
        return Term("Work", 1, "there is work, so one pod at least"), False
    return None, False


def _binding(pods: Fleet, ask: int, target: int, replicas: int) -> str | None:
    """What is in the way of a number that no limit of the user's touched."""
    if replicas > target:
        return "BusyWorkers"
    return "Unschedulable" if pods.unschedulable and ask > pods.replicas - pods.unschedulable else None


def _reason(current: int, limited: Limited, demand: Demand, allowed: Bounds) -> str:
    target = limited.target
    over = demand.ask > allowed.ceiling == target
    if limited.by == "Paused":
        return "Paused"
    if target > current:
        return "AtMaxReplicas" if over else "ScalingUp"
    if target < current:
        return "ScalingDown"
    if over:
        return "AtMaxReplicas"
    if limited.by in ("Stabilization", "Cooldown") and demand.enough < current:
        return "CoolingDown"
    if target == allowed.floor and demand.enough < allowed.floor:
        return "AtMinReplicas"
    return "Steady" if target else "Idle"
