"""The dashboard of all TaskQueues: several namespaces and TaskQueues may be chosen."""

from __future__ import annotations

from typing import Final

from arqube_local.monitoring.grafana import Panel, Query, Row
from arqube_local.monitoring.panels import FAILED, FOR_GOOD, JOBS, JOBS_PER_S, PODS, quantile, stat

_BY_QUEUE: Final = "{{namespace}}/{{taskqueue}}"
_MANY: Final = 'namespace=~"$namespace",taskqueue=~"$taskqueue"'


def _each(series: str) -> str:
    """An operator's series, one a TaskQueue, whichever replica leads."""
    return f'max by (namespace, taskqueue) (arqube_taskqueue_{series}{{job=~"$job",{_MANY}}})'


def _rates(outcomes: str) -> str:
    outcomes = f",{outcomes}" if outcomes else ""
    return f"sum by (namespace, taskqueue) (rate(arqube_worker_jobs_total{{{_MANY}{outcomes}}}[$__rate_interval]))"


_OPERATOR: Final = 'job=~"$job"'

ROWS: Final = (
    Row(
        "Now",
        (
            stat("Waiting", "Jobs that are due and do not run.", f"sum({_each('waiting_jobs')})"),
            stat("Running", "Jobs that run.", f"sum({_each('running_jobs')})"),
            stat("Deferred", "Jobs that are due later.", f"sum({_each('deferred_jobs')})"),
            stat(
                "Oldest wait",
                "How long the longest-waiting due job of any queue has waited.",
                f"max({_each('oldest_wait_seconds')})",
                "s",
            ),
            stat("Dead letters", "Jobs that failed for good and are kept.", f"sum({_each('dead_letters')})", warn_at=1),
            stat(
                "Unreadable queues",
                "TaskQueues whose Redis the operator cannot read. Their figures here are those of the last look.",
                f"sum(1 - {_each('redis_up')})",
                warn_at=1,
            ),
            Panel(
                "TaskQueues",
                "One line each; the name leads to the dashboard of that TaskQueue.",
                "short",
                tuple(
                    Query(_each(series), title)
                    for series, title in (
                        ("waiting_jobs", "waiting"),
                        ("running_jobs", "running"),
                        ("deferred_jobs", "deferred"),
                        ("oldest_wait_seconds", "oldest wait"),
                        ("desired_replicas", "desired"),
                        ("ready_replicas", "ready"),
                        ("max_replicas", "max"),
                        ("dead_letters", "dead letters"),
                    )
                ),
                "table",
                24,
                7,
            ),
        ),
    ),
    Row(
        "Queues",
        (
            Panel(
                "Waiting jobs",
                "Due and not running. A queue that grows while its workers are at their maximum needs more of them.",
                JOBS,
                (Query(_each("waiting_jobs"), _BY_QUEUE),),
            ),
            Panel(
                "Oldest wait by queue",
                "How long the longest-waiting due job has waited.",
                "s",
                (Query(_each("oldest_wait_seconds"), _BY_QUEUE),),
            ),
            Panel(
                "Running jobs", "What the workers run.", JOBS, (Query(_each("running_jobs"), _BY_QUEUE),), stacked=True
            ),
            Panel(
                "Throughput",
                "Jobs that succeed a second.",
                JOBS_PER_S,
                (Query(_rates('outcome="succeeded"'), _BY_QUEUE),),
                stacked=True,
            ),
            Panel(
                "Failed share",
                "Of the jobs that end for good, how many fail. Those that are tried again do not count.",
                "percentunit",
                (Query(f"{_rates(FAILED)} / {_rates(FOR_GOOD)}", _BY_QUEUE),),
                most=1,
            ),
            Panel(
                "Dead letters by queue",
                "Kept until retried, purged or aged out.",
                JOBS,
                (Query(_each("dead_letters"), _BY_QUEUE),),
            ),
        ),
    ),
    Row(
        "Workers",
        (
            Panel(
                "Workers of all TaskQueues",
                "Ready below desired for long: pods do not start. Desired at max with jobs waiting: raise maxReplicas.",
                PODS,
                (
                    Query(f"sum({_each('desired_replicas')})", "desired"),
                    Query(f"sum({_each('ready_replicas')})", "ready"),
                    Query(f"sum({_each('max_replicas')})", "max"),
                ),
                width=12,
            ),
            Panel(
                "Ready workers",
                "By TaskQueue.",
                PODS,
                (Query(_each("ready_replicas"), _BY_QUEUE),),
                width=12,
                stacked=True,
            ),
        ),
    ),
    Row(
        "Operator",
        (
            Panel(
                "Leader",
                "1 for the replica that acts. None for long: nothing is scaled.",
                "short",
                (Query(f"arqube_operator_leader{{{_OPERATOR}}}", "{{pod}}"),),
                most=1,
            ),
            Panel(
                "Reconcile pass, p99",
                "Time of a pass over one TaskQueue; grows when the API server is slow.",
                "s",
                (Query(quantile("0.99", "arqube_operator_reconcile_duration_seconds", _OPERATOR), "p99"),),
            ),
            Panel(
                "Delay of readings, p99",
                "How late the queues of a Redis are read. Above 1 s the operator has too much to do.",
                "s",
                (Query(quantile("0.99", "arqube_operator_tick_delay_seconds", _OPERATOR), "p99"),),
            ),
            Panel(
                "Failures",
                "Reconcile passes and readings of Redis that failed, by cause.",
                "suffix: /s",
                (
                    Query(
                        "sum by (cause) ("
                        f"rate(arqube_operator_reconcile_failures_total{{{_OPERATOR}}}[$__rate_interval]))",
                        "pass: {{cause}}",
                    ),
                    Query(
                        f"sum by (reason) (rate(arqube_operator_redis_errors_total{{{_OPERATOR}}}[$__rate_interval]))",
                        "{{reason}}",
                    ),
                ),
            ),
            Panel(
                "CPU",
                "Cores that the operator uses.",
                "suffix: cores",
                (Query(f"rate(process_cpu_seconds_total{{{_OPERATOR}}}[$__rate_interval])", "{{pod}}"),),
            ),
            Panel(
                "Memory",
                "Of the operator's process.",
                "bytes",
                (Query(f"process_resident_memory_bytes{{{_OPERATOR}}}", "{{pod}}"),),
            ),
        ),
    ),
)
