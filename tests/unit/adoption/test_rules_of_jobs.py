"""What ``arqube check`` finds in the functions that are run as jobs."""

from __future__ import annotations

import pytest

from builders.project import assert_found, case, found, replaced

WORKER, JOBS = "app/worker.py", "app/jobs.py"


def worker(*pairs: tuple[str, str]) -> dict[str, str]:
    return replaced(WORKER, *pairs)


def jobs(*pairs: tuple[str, str]) -> dict[str, str]:
    return replaced(JOBS, *pairs)


SESSION_IN_CTX = worker(
    ('ctx["sessions"] = async_sessionmaker(ctx["engine"])', 'ctx["db"] = async_sessionmaker(ctx["engine"])()'),
    ("async_sessionmaker, create", "AsyncSession, async_sessionmaker, create"),
) | jobs(('ctx["sessions"].begin() as session', 'ctx["db"].begin()'), ("session.add(text)", 'ctx["db"].add(text)'))


@pytest.mark.parametrize(
    ("changed", "rule", "level", "path", "line"),
    [
        case(
            "a job is listed that its module does not have",
            worker(
                ("import report, send_email", "import report, send_email, send_sms"),
                (", report]", ", report, send_sms]"),
            ),
            "function-missing",
            "error",
            WORKER,
            "send_sms]",
        ),
        case(
            "a job is listed that nobody has imported",
            worker((", report]", ", report, send_sms]")),
            "function-missing",
            "error",
            WORKER,
            "send_sms]",
        ),
        case(
            "a job is a plain function",
            jobs(("async def report", "def report"), ("async with ctx", "with ctx"), ("await asyncio", "asyncio")),
            "no-coroutine",
            "error",
            JOBS,
            "def report",
        ),
        case(
            "a job takes no ctx",
            jobs(("async def report(ctx, text)", "async def report(*, text)")),
            "no-ctx",
            "error",
            JOBS,
            "async def report",
        ),
        case(
            "all jobs share the session in ctx",
            SESSION_IN_CTX,
            "shared-session",
            "error",
            WORKER,
            'ctx["db"] =',
        ),
        case(
            "on_startup takes the session from the endpoints' dependency",
            {
                "app/database.py": """
                    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
                    from sqlalchemy.orm import sessionmaker

                    engine = create_async_engine("postgresql+asyncpg://db/app")
                    local_session = sessionmaker(bind=engine, class_=AsyncSession, expire_on_commit=False)


                    async def async_get_db():
                        async with local_session() as db:
                            yield db
                """
            }
            | worker(
                ("from app.jobs import", "from app.database import async_get_db\n        from app.jobs import"),
                ('ctx["sessions"] =', 'ctx["db"] = await anext(async_get_db())\n            ctx["sessions"] ='),
            )
            | jobs(("session.add(text)", 'ctx["db"].add(text)')),
            "shared-session",
            "error",
            WORKER,
            'ctx["db"] =',
        ),
        case(
            "jobs use a session at the top of a module",
            {
                "app/database.py": """
                    from sqlalchemy import create_engine
                    from sqlalchemy.orm import sessionmaker

                    Session = sessionmaker(create_engine("postgresql://db/app"))
                    session = Session()
                """
            }
            | jobs(
                ("from arq import Retry", "from arq import Retry\n\n        from app.database import session"),
                (
                    'async with ctx["sessions"].begin() as session:\n                session.add(text)',
                    "session.add(text)",
                ),
            ),
            "shared-session",
            "error",
            "app/database.py",
            "session = Session()",
        ),
        case(
            "a job sleeps with the loop",
            jobs(
                ("import httpx", "import time\n\n        import httpx"),
                ("raise Retry", "time.sleep(3)\n                raise Retry"),
            ),
            "blocking-call",
            "warning",
            JOBS,
            "time.sleep",
        ),
        case(
            "a job calls a function that blocks",
            jobs(
                ("import httpx\n", "import httpx\n        import requests\n"),
                ("return len(text)", 'return requests.get("https://count.example").json()'),
                ("await asyncio.to_thread(count, text)", "count(text)"),
            ),
            "blocking-call",
            "warning",
            JOBS,
            "requests.get",
        ),
        case(
            "a job waits for an answer for ever",
            jobs(("timeout=10", "timeout=None")),
            "endless-request",
            "warning",
            JOBS,
            "timeout=None",
        ),
        case(
            "a job swallows its cancellation",
            jobs(("except Exception:", "except BaseException:")),
            "swallowed-cancellation",
            "warning",
            JOBS,
            "except BaseException",
        ),
        case(
            "a job swallows all there is",
            jobs(("except Exception:", "except:")),
            "swallowed-cancellation",
            "warning",
            JOBS,
            "except:",
        ),
        case(
            "a job raises Retry and has one try",
            worker(("max_tries=5", "max_tries=1")),
            "retry-without-tries",
            "error",
            WORKER,
            "max_tries=1",
        ),
        case(
            "a cron job raises Retry and has cron's one try",
            worker(("[cron(report,", "[cron(send_email,")),
            "retry-without-tries",
            "error",
            WORKER,
            "cron(send_email",
        ),
        case(
            "a job has many tries and nothing that would use them",
            worker(("report]\n", "func(report, max_tries=3)]\n")),
            "tries-without-retry",
            "note",
            WORKER,
            "func(report",
        ),
        case(
            "each pod runs a cron job",
            worker(("minute=0)", "minute=0, unique=False)")),
            "cron-not-unique",
            "warning",
            WORKER,
            "unique=False",
        ),
        case(
            "a nightly job runs in each minute of its hour",
            worker(("hour=3, minute=0", "hour=3")),
            "cron-each-minute",
            "warning",
            WORKER,
            "hour=3",
        ),
        case(
            "two cron jobs have one name",
            worker(
                ("minute=0)]", 'minute=0),\n                cron(send_email, name="nightly", minute=30, max_tries=5)]'),
            ),
            "cron-names",
            "error",
            WORKER,
            "cron(send_email",
        ),
        case(
            "a log goes to a file in the image",
            jobs(
                (
                    "import httpx",
                    'import logging\n\n        import httpx\n\n        logging.FileHandler("logs/app.log")',
                )
            ),
            "writes-into-the-image",
            "warning",
            JOBS,
            "FileHandler",
        ),
    ],
)
def test_it_is_found_where_it_stands(changed: dict[str, str], rule: str, level: str, path: str, line: str) -> None:
    assert_found(changed, rule, level, path, line)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        pytest.param(
            {name: text.replace("max_jobs = 20", "max_jobs = 1") for name, text in SESSION_IN_CTX.items()},
            "shared-session",
            id="one job at a time has the session to itself",
        ),
        pytest.param(
            SESSION_IN_CTX
            | {
                WORKER: SESSION_IN_CTX[WORKER].replace(
                    "class WorkerSettings:",
                    "from arqube_worker.contrib.sqlalchemy import Database\n"
                    "        database = Database(DATABASE_URL)\n\n"
                    "        @database.settings\n"
                    "        class WorkerSettings:",
                )
            },
            "shared-session",
            id="each job gets a session of its own in ctx",
        ),
        pytest.param(
            jobs(
                ("return len(text)", "return time.sleep(1)"), ("import asyncio", "import asyncio\n        import time")
            ),
            "blocking-call",
            id="what runs in a thread may block",
        ),
        pytest.param(
            jobs(
                (
                    "except Exception:",
                    "except asyncio.CancelledError:\n                raise\n            except Exception:",
                )
            ),
            "swallowed-cancellation",
            id="a cancellation that is raised again",
        ),
        pytest.param(
            worker(("report]\n", "func(report, max_tries=3)]\n"))
            | jobs(
                (
                    "from arq import Retry",
                    "from arq import Retry\n        from arqube_worker.retries import RetryPolicy",
                ),
                ("async def report", "@RetryPolicy(max_tries=3)\n        async def report"),
            ),
            "tries-without-retry",
            id="a retry policy uses the tries",
        ),
        pytest.param(
            jobs(
                (
                    "import httpx",
                    'import logging\n\n        import httpx\n\n        logging.FileHandler("/tmp/app.log")',
                )
            ),
            "writes-into-the-image",
            id="a log below /tmp",
        ),
    ],
)
def test_it_is_not_found_where_nothing_is_wrong(changed: dict[str, str], rule: str) -> None:
    assert [each for each in found(changed) if each.rule == rule] == []
