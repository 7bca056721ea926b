"""The reference of all metrics, ``docs/metrics.md``, made from what operator and worker export.

``python -m arqube_local.monitoring.reference`` writes it; with ``--check`` it tells whether it is up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from arqube_local.monitoring import examples
from arqube_operator.observe.objects import WorkerEnd
from arqube_queue.dead_letters import REASONS
from arqube_worker.runs import Outcome

PAGE: Final = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"

_UNITS: Final = {
    "per_second": "1/s",
    "seconds": "s",
    "bytes": "B",
    "jobs": "jobs",
    "letters": "jobs",
    "errors": "calls",
    "turns": "calls",
    "pipelines": "calls",
    "replicas": "pods",
    "ends": "pods",
    "slots": "jobs",
    "scalings": "decisions",
    "failures": "passes",
    "passes": "TaskQueues",
    "taskqueues": "TaskQueues",
    "requests": "calls",
    "fds": "files",
}
"""By how a name ends, without ``_total``. What is not here is 0 or 1."""
_BOUNDS: Final = {
    "namespace": "The TaskQueue's namespace.",
    "taskqueue": "The TaskQueue's name.",
    "pod": "The worker's pod. Each has its own series.",
    "function": "A function of the worker's settings, or `unknown`.",
    "outcome": (
        f"Of a job: {', '.join(f'`{each.value}`' for each in Outcome)}. "
        f"Of a worker pod: {', '.join(f'`{each.value}`' for each in WorkerEnd)}."
    ),
    "reason": (
        f"Of a dead letter: {', '.join(f'`{each}`' for each in REASONS)}. Of a scale decision: what stands in "
        "`.status.scaling.reason`. Of a Redis error: `RedisUnreachable` or `RedisAuthenticationFailed`."
    ),
    "direction": "`up` or `down`.",
    "term": "What speaks for a number of workers: `Arrivals`, `Backlog`, `Jobs`, `Cron`, `Deferred`, `Work`.",
    "limit": "What stands in `.status.scaling.limit`, such as `MaxReplicas`.",
    "verb": "As roles have it: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.",
    "resource": "What was asked for, such as `taskqueues/status`.",
    "code": "The HTTP status; `0` where no answer came.",
    "cause": "`api`, `defect` or `invalid`.",
    "worker": "The worker's name, which is its pod's.",
    "queue": "The queue's name in Redis.",
    "version": "Arqube's version.",
    "arq_version": "arq's version in the image.",
}
_INTRODUCTION: Final = """\
# Metrics

Made from the code by `python -m arqube_local.monitoring.reference`; do not edit.

Operator and workers serve `/metrics` at the ports 8080 and 9464. Units are base units; there are no `*_created` series.
What the queue holds is told by the operator alone, so that it is counted once however many workers there are; what
becomes of jobs is told by the workers.

The operator's series of TaskQueues carry `namespace` and `taskqueue`: scrape it with `honorLabels: true`. Only the
replica that leads has them, and those of a TaskQueue go when it goes. Workers' series get `namespace`, `taskqueue` and
`pod` where they are scraped, from the pod's metadata: its label `arqube.dev/taskqueue` is the TaskQueue's name.

A TaskQueue costs some 30 series at the operator; a worker costs some 45 for each function it has.
"""


def page() -> str:
    """The page's text.

    Raises:
        KeyError: A label is not described in ``_BOUNDS``.
        ValueError: A metric has no sample in the examples, so that its labels cannot be told.
    """
    operator, _ = examples.operator()
    worker, _ = examples.worker()
    lines = [_INTRODUCTION]
    labels: set[str] = set()
    for title, registry in (("Operator", operator), ("Worker", worker)):
        lines += [f"## {title}", "", "| name | type | unit | labels | meaning |", "|---|---|---|---|---|"]
        for metric in _families(registry):
            names = _labels(metric)
            labels.update(names)
            shown = ", ".join(f"`{name}`" for name in names)
            unit = _unit(metric)
            lines.append(f"| `{_name(metric)}` | {metric.type} | {unit} | {shown} | {metric.documentation} |")
        lines.append("")
    lines += ["## Labels", "", "All have few values: never the id of a job.", "", "| label | values |", "|---|---|"]
    lines += [f"| `{name}` | {_BOUNDS[name]} |" for name in _BOUNDS if name in labels | {"pod"}]
    if unknown := labels - _BOUNDS.keys():
        raise KeyError(f"labels without a description: {sorted(unknown)}")
    lines += ["", "Both export `process_*` of their own process too, and workers `python_*`.", ""]
    return "\n".join(lines)


def _families(registry: CollectorRegistry) -> Iterator[Metric]:
    """Those that are ours, by name."""
    ours = [metric for metric in registry.collect() if metric.name.startswith("arqube_")]
    return iter(sorted(ours, key=_name))


def _name(metric: Metric) -> str:
    return {"counter": f"{metric.name}_total", "info": f"{metric.name}_info"}.get(metric.type, metric.name)


def _labels(metric: Metric) -> list[str]:
    if not metric.samples:
        raise ValueError(f"{metric.name} has no sample in the examples")
    return [name for name in metric.samples[0].labels if name != "le"]


def _unit(metric: Metric) -> str:
    for end, unit in _UNITS.items():
        if metric.name.endswith(f"_{end}"):
            return unit
    return "0 or 1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with ``--check`` compare it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m arqube_local.monitoring.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when the page is stale")
    options = parser.parse_args(arguments)
    text = page()
    present = PAGE.read_text() if PAGE.exists() else ""
    if options.check:
        if present != text:
            sys.stdout.write(f"docs/{PAGE.name} is not what the code says; run `python -m {__spec__.name}`\n")
        return int(present != text)
    PAGE.write_text(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
