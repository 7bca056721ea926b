"""The operator's own decisions on the simulated cluster: what it plans is done, and what it is promised comes true."""

from __future__ import annotations

from arqube_local.simulate.compare import conditions, simulate
from arqube_local.simulate.jobs import Arrival
from arqube_local.simulate.loads import SHAPES, Load
from arqube_local.simulate.operator import Operator
from arqube_local.simulate.results import Result
from arqube_local.simulate.simulation import Simulation
from arqube_operator.api.v1alpha1 import TaskQueueSpec


def _spec(**scaling: object) -> TaskQueueSpec:
    worker = {"image": "app", "settings": "app.WorkerSettings", "concurrency": 5}
    return TaskQueueSpec.model_validate(
        {"redis": {"host": "redis"}, "worker": worker, "scaling": {"maxReplicas": 20, **scaling}}, by_alias=True
    )


def _run(load: Load, spec: TaskQueueSpec) -> tuple[Result, Simulation]:
    simulation = Simulation(load, Operator(spec), conditions(spec, seed=1))
    return simulation.run(), simulation


def test_it_follows_the_queue_from_zero_and_back() -> None:
    load = Load("some", 900.0, tuple(Arrival(60.0 + at_s, 60.0 + at_s, 2.0) for at_s in range(120)))
    result, simulation = _run(load, _spec())
    assert max(sample.ready for sample in simulation.samples) >= 1
    assert (simulation.deployment.replicas, simulation.deployment.pods) == (0, [])
    assert (result.slo_share, result.jobs) == (1.0, 120)


def test_the_bounds_of_the_manifest_hold() -> None:
    load = Load("much", 600.0, tuple(Arrival(0.0, 0.0, 30.0) for _ in range(500)))
    _, simulation = _run(load, _spec(minReplicas=2, maxReplicas=7))
    numbers = {sample.replicas for sample in simulation.samples[1:]}
    assert (min(numbers), max(numbers)) == (2, 7)


def test_scaling_cuts_no_job_though_jobs_outlast_every_grace() -> None:
    result, _ = simulate("arqube", _spec(), SHAPES["long"].load("long", 1, hours=0.5), conditions(_spec(), 1))
    assert result.interrupted == 0
    assert result.scale_events > 1


def test_workers_are_there_before_cron_runs_are_due_from_zero() -> None:
    result, simulation = _run(SHAPES["cron"].load("cron", 1, hours=1.0), _spec())
    assert (simulation.missed_crons, result.jobs) == (0, 6)
    assert result.pod_hours < 0.5, "and not all the time"


def test_deferred_jobs_start_on_time_from_zero() -> None:
    load = Load("later", 1200.0, tuple(Arrival(0.0, 900.0, 5.0) for _ in range(5)))
    result, simulation = _run(load, _spec())
    assert all(job.started_s is not None and job.started_s - job.due_s < 5.0 for job in simulation.jobs)
    assert result.pod_hours < 0.1
