"""The files of the Grafana dashboards in the chart, and the variables that a reader of them chooses.

``python -m arqube_local.monitoring.dashboards`` writes the files; with ``--check`` it tells whether they are stale.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from arqube_local.monitoring import overview, taskqueue
from arqube_local.monitoring.grafana import Variable, dashboard

FOLDER: Final = Path(__file__).resolve().parents[3] / "charts" / "arqube" / "dashboards"


def files() -> dict[Path, dict[str, Any]]:
    """Each dashboard by the path of its file."""
    job = Variable("job", "Operator's job", "label_values(arqube_operator_leader, job)", several=True)
    known = 'arqube_taskqueue_desired_replicas{job=~"$job"'
    of_queue = 'namespace="$namespace",taskqueue="$taskqueue"'
    all_queues = dashboard(
        "arqube-overview",
        "Arqube / Overview",
        "All TaskQueues: what waits, what runs, how fast it goes, what fails, and how the operator does.",
        (
            job,
            Variable("namespace", "Namespace", f"label_values({known}}}, namespace)", several=True),
            Variable(
                "taskqueue", "TaskQueue", f'label_values({known},namespace=~"$namespace"}}, taskqueue)', several=True
            ),
        ),
        overview.ROWS,
    )
    one_queue = dashboard(
        "arqube-taskqueue",
        "Arqube / TaskQueue",
        "One TaskQueue: its queue, its jobs, its workers and why there are so many of them.",
        (
            job,
            Variable("namespace", "Namespace", f"label_values({known}}}, namespace)"),
            Variable("taskqueue", "TaskQueue", f'label_values({known},namespace="$namespace"}}, taskqueue)'),
            Variable(
                "function", "Function", f"label_values(arqube_worker_jobs_total{{{of_queue}}}, function)", several=True
            ),
        ),
        taskqueue.ROWS,
    )
    return {FOLDER / "overview.json": all_queues, FOLDER / "taskqueue.json": one_queue}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` compare them; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m arqube_local.monitoring.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is stale")
    options = parser.parse_args(arguments)
    stale = False
    for path, body in files().items():
        text = json.dumps(body, indent=2) + "\n"
        if options.check:
            if not path.exists() or path.read_text() != text:
                stale = True
                sys.stdout.write(f"{path.name} is stale: run `python -m arqube_local.monitoring.dashboards`\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return int(stale)


if __name__ == "__main__":
    raise SystemExit(main())
