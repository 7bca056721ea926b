"""What ``arqube check`` finds in settings, each beside the project in which it finds nothing."""

from __future__ import annotations

import pytest

from builders.project import assert_found, case, found, replaced

WORKER = "app/worker.py"


def worker(*pairs: tuple[str, str]) -> dict[str, str]:
    return replaced(WORKER, *pairs)


def test_nothing_is_found_in_the_well_written_project() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changed", "rule", "level", "path", "line"),
    [
        case("a file is no Python", {"app/other.py": "def broken(:"}, "broken-python", "error", "app/other.py", "def"),
        case(
            "there are no jobs at all",
            worker(("[func(send_email, max_tries=5), report]", "[]"), ("cron_jobs =", "_cron_jobs =")),
            "no-jobs",
            "error",
            WORKER,
            "class WorkerSettings",
        ),
        case(
            "a setting is misspelt",
            worker(("max_jobs = 20", "max_jobs = 20\n            max_tires = 3")),
            "unknown-setting",
            "warning",
            WORKER,
            "max_tires = 3",
        ),
        case(
            "settings are inherited",
            worker(
                (
                    "class WorkerSettings:",
                    "class Base:\n            max_tries = 5\n\n\n        class WorkerSettings(Base):",
                )
            ),
            "inherited-settings",
            "note",
            WORKER,
            "class WorkerSettings(Base)",
        ),
        case(
            "the worker ends when the queue is empty",
            worker(("max_jobs = 20", "max_jobs = 20\n            burst = True")),
            "burst",
            "error",
            WORKER,
            "burst = True",
        ),
        case(
            "Redis is looked for on the pod itself",
            replaced("app/config.py", ('os.environ.get("REDIS_QUEUE_HOST", "localhost")', '"localhost"')),
            "redis-loopback",
            "warning",
            "app/config.py",
            "REDIS =",
        ),
        case(
            "nothing says where Redis is",
            worker(("redis_settings = REDIS", "_unused = REDIS")),
            "redis-unset",
            "note",
            WORKER,
            "class WorkerSettings",
        ),
        case(
            "payloads are pickles",
            worker(
                ("job_serializer = json_serializer\n", "pass\n"),
                ("            job_deserializer = json_deserializer\n", ""),
            )
            | replaced("app/api.py", ("job_serializer=json_serializer,", "")),
            "pickled-payloads",
            "note",
            WORKER,
            "class WorkerSettings",
        ),
        case(
            "only one half of a serializer is set",
            worker(("            job_deserializer = json_deserializer\n", "")),
            "half-a-serializer",
            "error",
            WORKER,
            "job_serializer =",
        ),
        case(
            "the template turns signals off",
            worker(("max_jobs = 20", "max_jobs = 20\n            handle_signals = False")),
            "handle-signals",
            "note",
            WORKER,
            "handle_signals",
        ),
        case(
            "a timeout is switched off",
            worker(("job_timeout = 60", "job_timeout = None")),
            "no-timeout",
            "warning",
            WORKER,
            "job_timeout",
        ),
        case(
            "jobs must not run again",
            worker(("max_jobs = 20", "max_jobs = 20\n            retry_jobs = False")),
            "retry-jobs-off",
            "warning",
            WORKER,
            "retry_jobs",
        ),
        case(
            "plain arq is told how far to read",
            worker(("max_jobs = 20", "max_jobs = 20\n            queue_read_limit = 1000")),
            "without-meaning",
            "note",
            WORKER,
            "queue_read_limit",
        ),
        case(
            "two classes with different functions read one queue",
            {
                "app/second.py": """
                    from arqube_worker.serializers import json_deserializer, json_serializer

                    from app.jobs import report
                    from app.worker import WorkerSettings as First


                    class SecondWorkerSettings:
                        functions = [report]
                        redis_settings = First.redis_settings
                        queue_name = "mail"
                        job_timeout = 20
                        job_serializer = json_serializer
                        job_deserializer = json_deserializer
                """
            },
            "shared-queue",
            "warning",
            WORKER,
            "queue_name",
        ),
    ],
)
def test_it_is_found_where_it_stands(changed: dict[str, str], rule: str, level: str, path: str, line: str) -> None:
    assert_found(changed, rule, level, path, line)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        pytest.param(
            worker(("max_jobs = 20", "max_jobs = 20\n            _helper = 3")), "unknown-setting", id="private names"
        ),
        pytest.param(
            worker(("max_jobs = 20", "max_jobs = 20\n            retry_policy = None")),
            "unknown-setting",
            id="our own setting",
        ),
    ],
)
def test_it_is_not_found_where_nothing_is_wrong(changed: dict[str, str], rule: str) -> None:
    assert [each for each in found(changed) if each.rule == rule] == []


def test_a_project_without_settings_is_told() -> None:
    (finding,) = [each for each in found(without=(WORKER, "taskqueue.yaml")) if each.level == "error"]
    assert finding.rule == "no-settings"


def test_a_job_that_may_outlast_the_worker_is_told_without_a_task_queue() -> None:
    (finding,) = found(without=("taskqueue.yaml",))
    assert (finding.rule, finding.level) == ("timeout-beyond-shutdown", "note")
