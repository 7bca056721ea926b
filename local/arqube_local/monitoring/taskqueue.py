"""The dashboard of one TaskQueue: its queue, its jobs, its workers and why there are so many of them."""

from __future__ import annotations

from typing import Final

from arqube_local.monitoring.grafana import Panel, Query, Row
from arqube_local.monitoring.panels import FAILED, FOR_GOOD, JOBS, JOBS_PER_S, PODS, quantile, stat

_ONE: Final = 'namespace="$namespace",taskqueue="$taskqueue"'
_FUNCTIONS: Final = f'{_ONE},function=~"$function"'


def _of(series: str, by: str = "") -> str:
    """An operator's series of the TaskQueue."""
    grouping = f" by ({by})" if by else ""
    return f'max{grouping} (arqube_taskqueue_{series}{{job=~"$job",{_ONE}}})'


def _rate(series: str, selector: str, by: str = "") -> str:
    grouping = f" by ({by})" if by else ""
    return f"sum{grouping} (rate({series}{{{selector}}}[$__rate_interval]))"


def _quantiles(series: str) -> tuple[Query, ...]:
    return tuple(
        Query(quantile(share, series, _FUNCTIONS), name)
        for share, name in (("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99"))
    )


_JOBS_TOTAL: Final = "arqube_worker_jobs_total"

ROWS: Final = (
    Row(
        "Now",
        (
            stat("Waiting", "Jobs that are due and do not run.", _of("waiting_jobs")),
            stat("Running", "Jobs that run.", _of("running_jobs")),
            stat("Oldest wait", "How long the longest-waiting due job has waited.", _of("oldest_wait_seconds"), "s"),
            stat("Ready workers", "Workers that take jobs.", _of("ready_replicas")),
            stat("Dead letters", "Jobs that failed for good and are kept.", _of("dead_letters"), warn_at=1),
            stat("Redis", "1 while the operator can read the queue, else 0.", _of("redis_up")),
        ),
    ),
    Row(
        "Queue",
        (
            Panel(
                "Jobs by state",
                "Due soon are those deferred jobs that are due before a new pod would be ready.",
                JOBS,
                (
                    Query(_of("waiting_jobs"), "waiting"),
                    Query(_of("running_jobs"), "running"),
                    Query(_of("deferred_jobs"), "deferred"),
                    Query(_of("due_soon_jobs"), "due soon"),
                ),
            ),
            Panel(
                "Oldest wait and target",
                "Against scaling.maxWait, the time within which a due job should start.",
                "s",
                (Query(_of("oldest_wait_seconds"), "oldest wait"), Query(_of("max_wait_seconds"), "target")),
            ),
            Panel(
                "Wait until the start",
                "From when a job was due to its start, of the jobs that started.",
                "s",
                _quantiles("arqube_worker_job_wait_seconds"),
            ),
            Panel(
                "Arrivals and ends",
                "What comes due, as the operator has learned it, and what ends for good.",
                JOBS_PER_S,
                (
                    Query(_of("arrivals_per_second"), "arrivals"),
                    Query(_rate(_JOBS_TOTAL, f"{_ONE},{FOR_GOOD}"), "ends"),
                ),
            ),
            Panel(
                "Dead letters kept", "Until retried, purged or aged out.", JOBS, (Query(_of("dead_letters"), "kept"),)
            ),
            Panel(
                "New dead letters by reason",
                "Why jobs fail for good: `arqube dlq` shows each with its traceback.",
                JOBS_PER_S,
                (Query(_rate("arqube_worker_dead_letters_total", _ONE, "reason"), "{{reason}}"),),
                stacked=True,
            ),
        ),
    ),
    Row(
        "Jobs",
        (
            Panel(
                "Outcomes",
                "How runs end. Retried ones run again.",
                JOBS_PER_S,
                (Query(_rate(_JOBS_TOTAL, _FUNCTIONS, "outcome"), "{{outcome}}"),),
                stacked=True,
            ),
            Panel(
                "Ends by function",
                "Runs that ended, however they did.",
                JOBS_PER_S,
                (Query(_rate(_JOBS_TOTAL, _FUNCTIONS, "function"), "{{function}}"),),
                stacked=True,
            ),
            Panel(
                "Failed share by function",
                "Of the jobs that end for good, how many fail.",
                "percentunit",
                (
                    Query(
                        f"{_rate(_JOBS_TOTAL, f'{_FUNCTIONS},{FAILED}', 'function')}"
                        f" / {_rate(_JOBS_TOTAL, f'{_FUNCTIONS},{FOR_GOOD}', 'function')}",
                        "{{function}}",
                    ),
                ),
                most=1,
            ),
            Panel(
                "Retries by function",
                "Runs that raised Retry or were cancelled, and will run again.",
                JOBS_PER_S,
                (Query(_rate(_JOBS_TOTAL, f'{_FUNCTIONS},outcome="retried"', "function"), "{{function}}"),),
            ),
            Panel(
                "Duration",
                "How long jobs run.",
                "s",
                _quantiles("arqube_worker_job_duration_seconds"),
            ),
            Panel(
                "Duration by function, p95",
                "95 % of a function's jobs run no longer.",
                "s",
                (
                    Query(
                        quantile("0.95", "arqube_worker_job_duration_seconds", _FUNCTIONS, "le, function"),
                        "{{function}}",
                    ),
                ),
            ),
            Panel(
                "Durations",
                "Jobs by how long they ran: the darker, the more.",
                "s",
                (
                    Query(
                        "sum by (le) ("
                        f"increase(arqube_worker_job_duration_seconds_bucket{{{_FUNCTIONS}}}[$__rate_interval]))",
                        "{{le}}",
                    ),
                ),
                "heatmap",
                16,
            ),
            Panel(
                "Runs for naught",
                "Put back: its function is not known here, or not yet. Returned: its worker stopped. Lease lost: Redis"
                " or the worker was away for too long, and another has the job.",
                JOBS_PER_S,
                (
                    Query(
                        _rate(_JOBS_TOTAL, f'{_ONE},outcome=~"put_back|returned|lease_lost"', "outcome"), "{{outcome}}"
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Workers",
        (
            Panel(
                "Workers",
                "Ready below desired for long: pods do not start. Retiring ones take no more jobs and go when idle.",
                PODS,
                tuple(Query(_of(f"{name}_replicas"), name) for name in ("desired", "ready", "retiring", "min", "max")),
            ),
            Panel(
                "What asks for workers",
                "Each term of the decision; the highest counts, within the limits.",
                PODS,
                (Query(_of("term_replicas", "term"), "{{term}}"),),
            ),
            Panel(
                "What limits them",
                "1 while that limit keeps the number of workers from what the terms ask for.",
                "short",
                (Query(_of("limited", "limit"), "{{limit}}"),),
                most=1,
            ),
            Panel(
                "Scale decisions",
                "Changes of the number of workers, by direction and reason. Many both ways: raise the stabilization.",
                "short",
                (
                    Query(
                        "sum by (direction, reason) (increase("
                        f'arqube_taskqueue_scalings_total{{job=~"$job",{_ONE}}}[$__rate_interval]))',
                        "{{direction}}: {{reason}}",
                    ),
                ),
            ),
            Panel(
                "Slots",
                "Jobs that the workers may run at once, and do.",
                JOBS,
                (
                    Query(f"sum (arqube_worker_slots{{{_ONE}}})", "slots"),
                    Query(f"sum (arqube_worker_busy_slots{{{_ONE}}})", "busy"),
                ),
            ),
            Panel(
                "Busy share by pod",
                "How full each worker is.",
                "percentunit",
                (
                    Query(
                        f"sum by (pod) (arqube_worker_busy_slots{{{_ONE}}})"
                        f" / sum by (pod) (arqube_worker_slots{{{_ONE}}})",
                        "{{pod}}",
                    ),
                ),
                most=1,
            ),
            Panel(
                "How workers ended",
                "Clean: jobs finished or given back. Failed: exit code other than 0. Killed: by SIGKILL, as the grace"
                " period or the memory was used up.",
                PODS,
                (
                    Query(
                        "sum by (outcome) (increase("
                        f'arqube_taskqueue_worker_ends_total{{job=~"$job",{_ONE}}}[$__rate_interval]))',
                        "{{outcome}}",
                    ),
                ),
            ),
            Panel(
                "Workers that stop",
                "Draining: asked to stop, they finish their jobs. Retiring: asked to take no more, they may yet stay.",
                PODS,
                (
                    Query(f"sum (arqube_worker_draining{{{_ONE}}})", "draining"),
                    Query(f"sum (arqube_worker_retiring{{{_ONE}}})", "retiring"),
                ),
            ),
            Panel(
                "Learned times",
                "What the decisions stand on: how long a job runs, and how long a pod needs to be ready.",
                "s",
                (Query(_of("service_seconds"), "job"), Query(_of("startup_seconds"), "start-up")),
            ),
        ),
    ),
    Row(
        "Redis",
        (
            Panel(
                "Redis errors of workers",
                "Calls that failed, by pod.",
                "suffix: /s",
                (Query(_rate("arqube_worker_redis_errors_total", _ONE, "pod"), "{{pod}}"),),
            ),
            Panel(
                "Turns at the queue",
                "Calls that write ends of jobs and take others; one serves many jobs under load.",
                "suffix: /s",
                (Query(_rate("arqube_worker_turns_total", _ONE), "turns"),),
            ),
            Panel(
                "Queue readable",
                "0 while the operator cannot read the queue: the number of workers is held.",
                "short",
                (Query(_of("redis_up"), "readable"),),
                most=1,
            ),
        ),
    ),
)
