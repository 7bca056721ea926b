"""How many workers: what must hold for every state."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.decide.scaling import Decision, decide_replicas
from arqube_operator.decide.state import Pod, State
from arqube_queue.model import Heartbeat
from builders.scaling import NOW, learned, memory, state

counts = st.integers(min_value=0, max_value=5000)
rates = st.floats(min_value=0, max_value=100)


@st.composite
def states(draw: st.DrawFn) -> State:
    """Any queue with any workers, watched for a while or not."""
    slots = draw(st.integers(min_value=1, max_value=20))
    count = draw(st.integers(min_value=0, max_value=12))
    busy = draw(st.lists(st.integers(min_value=0, max_value=slots), min_size=count, max_size=count))
    flags = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    pods = tuple(Pod(f"w{number}", NOW - 600 - number, NOW - 590) for number in range(count))
    beats = tuple(
        Heartbeat(f"w{number}", int(NOW * 1000), busy[number], slots, retiring=flags[number]) for number in range(count)
    )
    low, mean, high = sorted([draw(rates), draw(rates), draw(rates)])
    service_s = draw(st.one_of(st.none(), st.floats(min_value=0.01, max_value=1000)))
    due_soon = draw(st.integers(min_value=0, max_value=100))
    return state(
        waiting=draw(counts),
        running=sum(busy),
        due_soon=due_soon,
        next_due_s=5.0 if due_soon else None,
        oldest_wait_s=draw(st.floats(min_value=0, max_value=100)),
        current=count + draw(st.integers(min_value=0, max_value=5)),
        pods=pods,
        heartbeats=beats,
        concurrency=slots,
        min_replicas=draw(st.integers(min_value=0, max_value=5)),
        max_replicas=draw(st.integers(min_value=5, max_value=50)),
        since_s=draw(st.one_of(st.none(), st.floats(min_value=NOW - 100, max_value=NOW))),
        remembered=memory(
            learned=learned(per_s=mean, low=low, high=high, service_s=service_s),
            enough=((NOW - draw(st.floats(min_value=0, max_value=100)), draw(st.integers(min_value=0, max_value=20))),),
            retire=tuple((pod.name, NOW - 5) for pod, flag in zip(pods, flags, strict=True) if flag),
        ),
    )


def decided(any_state: State) -> tuple[Decision, int]:
    decision = decide_replicas(any_state, NOW)
    assert decision.replicas is not None
    return decision, decision.replicas


@given(states())
def test_work_never_meets_zero_workers(any_state: State) -> None:
    queue = any_state.queue
    assert queue is not None

    _, replicas = decided(any_state)

    if queue.waiting + queue.running + queue.due_soon > 0:
        assert replicas >= 1


@given(states())
def test_the_number_stays_within_bounds_once_no_job_is_in_the_way(any_state: State) -> None:
    scaling = any_state.spec.scaling

    decision, replicas = decided(any_state)

    assert replicas >= scaling.min_replicas
    assert replicas <= scaling.max_replicas or decision.retire


@given(states())
def test_no_worker_goes_before_it_has_said_that_it_takes_no_more_and_runs_nothing(any_state: State) -> None:
    assert any_state.queue is not None
    assert any_state.deployment is not None
    remembered = any_state.memory.scaling
    assert remembered is not None
    asked = {name for name, _ in remembered.retire}
    may_go = [
        beat.worker for beat in any_state.queue.heartbeats if beat.retiring and not beat.busy and beat.worker in asked
    ]
    unmade = any_state.deployment.spec_replicas - len(any_state.pods)

    decision, replicas = decided(any_state)

    gone = any_state.deployment.spec_replicas - replicas
    assert gone <= unmade + len(decision.retire.intersection(may_go))
    assert not decision.retire or replicas <= any_state.deployment.spec_replicas


@given(states(), st.integers(min_value=1, max_value=1000))
def test_more_waiting_jobs_never_lead_to_fewer_workers(any_state: State, more: int) -> None:
    queue = any_state.queue
    assert queue is not None
    fuller = replace(any_state, queue=replace(queue, waiting=queue.waiting + more))

    (few, few_replicas), (many, many_replicas) = decided(any_state), decided(fuller)

    assert len(few.retire) >= len(many.retire)
    # One that may go waits for others that retire with it: with more of them it stays longer.
    assert few_replicas <= many_replicas or few.retire


@given(states())
def test_the_same_state_and_time_give_the_same_decision(any_state: State) -> None:
    assert decide_replicas(any_state, NOW) == decide_replicas(any_state, NOW)


@given(states())
def test_in_a_dry_run_it_says_so_exactly_when_something_would_change(any_state: State) -> None:
    dry = any_state.spec.scaling.model_copy(update={"dry_run": True})
    spec = any_state.spec.model_copy(update={"scaling": dry})
    assert any_state.deployment is not None

    decision = decide_replicas(replace(any_state, spec=spec), NOW)

    changes = decision.replicas != any_state.deployment.spec_replicas or bool(decision.retire)
    assert (decision.limit == "DryRun") == changes
