"""``arqube simulate``: how a TaskQueue would scale under a load, beside KEDA and the HPA, without a cluster."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from arqube_local.manifests import ManifestError, read_manifests
from arqube_local.simulate.compare import STARTUP_S, conditions, simulate
from arqube_local.simulate.load_files import LoadFileError, read_load
from arqube_local.simulate.loads import SHAPES, Load
from arqube_local.simulate.output import document, table
from arqube_local.simulate.plot import draw
from arqube_local.simulate.policies import ARQUBE, POLICIES
from arqube_local.simulate.results import Course, Result, mean
from arqube_operator.api.v1alpha1 import KIND, InvalidTaskQueueError, TaskQueue, TaskQueueSpec

_PEERS: Final = tuple(name for name in POLICIES if name != ARQUBE)


class _Range(click.ParamType):  # type: ignore[type-arg]  # older releases of click have no argument for it
    """Reads ``8..25`` as the shortest and the longest time, and ``10`` as both, in seconds."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """The two bounds, or click's error for the option."""
        if isinstance(value, tuple):
            return value
        low, _, high = value.partition("..")
        try:
            bounds = float(low), float(high or low)
        except ValueError:
            bounds = (-1.0, -1.0)
        if not 0 <= bounds[0] <= bounds[1] < 3600:
            self.fail(f"{value!r} is no range of seconds such as 8..25, from 0 to an hour.")
        return bounds


class _Peers(click.ParamType):  # type: ignore[type-arg]
    """Reads names of policies, separated by commas."""

    name = "POLICY,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """The names, or click's error for the option."""
        names = value if isinstance(value, tuple) else tuple(dict.fromkeys(value.split(",")))
        if unknown := [name for name in names if name not in _PEERS]:
            self.fail(f"there is no {', '.join(map(repr, unknown))}: choose from {', '.join(_PEERS)}.")
        return names


def _shapes() -> str:
    return "\n".join(f"  {name:12} {shape.what}" for name, shape in SHAPES.items())


@click.command(
    epilog="\b\nLoads:\n" + _shapes() + "\n  FILE.csv     columns at_s[,due_s][,run_s], in seconds: one job a line"
)
@click.option(
    "-f",
    "--filename",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Manifest of the TaskQueue.",
)
@click.option("--load", "load_name", required=True, metavar="LOAD", help="One of the loads below.")
@click.option(
    "--against",
    type=_Peers(),
    default=_PEERS,
    help=f"What to compare with, separated by commas.  [default: {','.join(_PEERS)}]",
)
@click.option("--hours", type=click.FloatRange(0, 168, min_open=True), help="How long.  [default: as the load is]")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Of the first simulation.")
@click.option(
    "--seeds", type=click.IntRange(1, 1000), default=1, show_default=True, help="So many simulations; shows the means."
)
@click.option(
    "--start-up",
    type=_Range(),
    default=STARTUP_S,
    help="Seconds until a new pod is ready, at least and at most.  [default: 8..25]",
)
@click.option(
    "--job-seconds",
    type=click.FloatRange(0, 86_400, min_open=True),
    help="Mean run time of the jobs; of a file, of those without one.  [default: as the load is]",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object instead of the table.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw load, pods and waits of the first simulation to this PNG file.",
)
def simulate_(
    file: Path,
    load_name: str,
    against: tuple[str, ...],
    hours: float | None,
    seed: int,
    seeds: int,
    start_up: tuple[float, float],
    job_seconds: float | None,
    as_json: bool,
    plot: Path | None,
) -> None:
    """Simulate how a TaskQueue scales under a load, beside KEDA and the HPA.

    It runs the operator's own decisions on simulated pods. The same seed gives every policy the same jobs and the same
    start-up times. KEDA is set up as its users do by default; keda-tuned and hpa are on the same metric, with the same
    bounds.
    """
    spec = _read_spec(file)
    policies = (ARQUBE, *against)
    results: dict[str, list[Result]] = {policy: [] for policy in policies}
    courses: dict[str, Course] = {}
    loads = [_load(load_name, each, hours, job_seconds) for each in range(seed, seed + seeds)]
    for each, load in zip(range(seed, seed + seeds), loads, strict=True):
        for policy in policies:
            result, course = simulate(policy, spec, load, conditions(spec, each, start_up))
            results[policy].append(result)
            courses.setdefault(policy, course)
    means = {policy: mean(each) for policy, each in results.items()}
    click.echo(json.dumps(document(means)) if as_json else f"{_heading(spec, loads, start_up)}\n\n{table(means)}")
    if plot is not None:
        _draw(loads[0], {policy: each[0] for policy, each in results.items()}, courses, spec, seed, plot)


def _read_spec(file: Path) -> TaskQueueSpec:
    try:
        found = [body for body in read_manifests(file) if body["kind"] == KIND]
        if len(found) != 1:
            how = "no TaskQueue: it needs one" if not found else "several TaskQueues: leave the one to simulate"
            raise click.ClickException(f"{file} holds {how}")
        (body,) = found
        body["metadata"].setdefault("namespace", "default")
        return TaskQueue.from_object(body).spec
    except ManifestError as error:
        raise click.ClickException(str(error)) from error
    except InvalidTaskQueueError as error:
        raise click.ClickException(f"{file}: {error}") from error


def _load(name: str, seed: int, hours: float | None, job_s: float | None) -> Load:
    if name in SHAPES:
        return SHAPES[name].load(name, seed, hours, job_s)
    if not name.endswith(".csv"):
        message = f"there is no load {name!r}: choose from {', '.join(SHAPES)}, or give a FILE.csv."
        raise click.BadParameter(message, param_hint="'--load'")
    try:
        return read_load(Path(name), seed, hours, job_s)
    except LoadFileError as error:
        raise click.ClickException(str(error)) from error


def _heading(spec: TaskQueueSpec, loads: list[Load], start_up: tuple[float, float]) -> str:
    jobs = sum(len(load.arrivals) for load in loads) / len(loads)
    of_seeds = "" if len(loads) == 1 else f", means of {len(loads)} seeds"
    scaling = spec.scaling
    return (
        f"{loads[0].name}: {jobs:,.0f} jobs in {loads[0].seconds / 3600:.3g} h{of_seeds}\n"
        f"{spec.worker.concurrency} slots a pod, {scaling.min_replicas} to {scaling.max_replicas} pods,"
        f" ready after {start_up[0]:g} to {start_up[1]:g} s, in time within {conditions(spec, 0).max_wait_s:g} s"
    )


def _draw(
    load: Load, results: dict[str, Result], courses: dict[str, Course], spec: TaskQueueSpec, seed: int, path: Path
) -> None:
    try:
        draw(load, results, courses, conditions(spec, seed).max_wait_s, path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror or error}") from error
