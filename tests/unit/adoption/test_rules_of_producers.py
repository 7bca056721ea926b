"""What ``arqube check`` finds in producers and in what a project depends on."""

from __future__ import annotations

import pytest

from builders.project import assert_found, case, found, replaced

API, WORKER = "app/api.py", "app/worker.py"
ENQUEUE = 'await redis.enqueue_job("report", name'


def api(*pairs: tuple[str, str]) -> dict[str, str]:
    return replaced(API, *pairs)


@pytest.mark.parametrize(
    ("changed", "rule", "level", "path", "line"),
    [
        case(
            "a job is enqueued before the commit",
            api(("session.add(name)", 'await redis.enqueue_job("report", name)\n            session.add(name)')),
            "enqueued-before-commit",
            "warning",
            API,
            'enqueue_job("report", name)',
        ),
        case(
            "a job is enqueued within a transaction",
            api(
                (
                    "session.add(name)\n",
                    'async with session.begin():\n                await redis.enqueue_job("report", "x")\n',
                ),
                ("            await session.commit()\n", ""),
            ),
            "enqueued-before-commit",
            "warning",
            API,
            'enqueue_job("report", "x")',
        ),
        case(
            "a job is enqueued that no worker knows",
            api((ENQUEUE, 'await redis.enqueue_job("reprot", name')),
            "unknown-function",
            "warning",
            API,
            "reprot",
        ),
        case(
            "a job goes into a queue that nobody reads",
            api((ENQUEUE, f'{ENQUEUE}, _queue_name="post"')),
            "unread-queue",
            "warning",
            API,
            "post",
        ),
        case(
            "a pool writes what the worker cannot read",
            api(
                ("        job_serializer=json_serializer,\n", ""),
                ("        job_deserializer=json_deserializer,\n", ""),
            ),
            "pool-serializer",
            "error",
            API,
            "create_pool(",
        ),
        case(
            "a payload is gone when its job is due",
            api(("_defer_by=5, _expires=600", "_defer_by=3600, _expires=60")),
            "expires-before-due",
            "error",
            API,
            "_expires=60",
        ),
        case(
            "a pool lets payloads live shorter than the settings say",
            api(('default_queue_name="mail",', 'default_queue_name="mail", expires_extra_ms=3_600_000,')),
            "payload-life",
            "warning",
            API,
            "create_pool(",
        ),
        case(
            "a due time has no zone",
            api(("datetime.now(tz=timezone.utc)", "datetime.now()")),
            "naive-due-time",
            "warning",
            API,
            "datetime.now()",
        ),
        case(
            "a result is awaited that is not kept",
            replaced(WORKER, ("max_jobs = 20", "max_jobs = 20\n            keep_result = 0")),
            "result-not-kept",
            "error",
            API,
            "job.result",
        ),
        case(
            "a function keeps no result and it is awaited",
            replaced(WORKER, ("max_tries=5", "max_tries=5, keep_result=0")),
            "result-not-kept",
            "error",
            API,
            "job.result",
        ),
        case(
            "arq is pinned below what the worker runs with",
            replaced("pyproject.toml", ("arq>=0.26,<0.29", "arq==0.23")),
            "arq-version",
            "error",
            "pyproject.toml",
            "arq==0.23",
        ),
        case(
            "Poetry's caret holds arq below what the worker runs with",
            {
                "pyproject.toml": """
                    [tool.poetry]
                    name = "mailer"
                    version = "1.4.2"

                    [tool.poetry.dependencies]
                    python = "^3.11"
                    arq = "^0.23"
                """
            },
            "arq-version",
            "error",
            "pyproject.toml",
            'arq = "^0.23"',
        ),
        case(
            "a requirements file pins arq below what the worker runs with",
            {"requirements.txt": "httpx\narq==0.22  # as ever\n"},
            "arq-version",
            "error",
            "requirements.txt",
            "arq==0.22",
        ),
        case(
            "the project is for an old Python alone",
            replaced("pyproject.toml", (">=3.11", ">=3.8,<3.10")),
            "python-version",
            "error",
            "pyproject.toml",
            "requires-python",
        ),
        case(
            "nobody asks for arq",
            replaced("pyproject.toml", ('"arq>=0.26,<0.29", ', "")),
            "arq-unasked",
            "warning",
            "pyproject.toml",
            "dependencies",
        ),
    ],
)
def test_it_is_found_where_it_stands(changed: dict[str, str], rule: str, level: str, path: str, line: str) -> None:
    assert_found(changed, rule, level, path, line)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        pytest.param(
            api((ENQUEUE, "await redis.enqueue_job(name, name")), "unknown-function", id="a function's name is computed"
        ),
        pytest.param(
            replaced(WORKER, (", report]", ", report, *others()]")) | api((ENQUEUE, 'await redis.enqueue_job("x"')),
            "unknown-function",
            id="not all functions can be told",
        ),
        pytest.param(
            {"requirements.txt": "--index-url https://example.org\narq==0.26.3 \\\n    --hash=sha256:00\n"},
            "arq-version",
            id="a pinned arq that will do",
        ),
    ],
)
def test_it_is_not_found_where_nothing_is_wrong(changed: dict[str, str], rule: str) -> None:
    assert [each for each in found(changed) if each.rule == rule] == []
