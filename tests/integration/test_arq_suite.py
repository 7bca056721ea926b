"""arq's own tests with its Worker replaced by ours: which pass, and why the others cannot.

docs/arq-compatibility.md tells the same to people.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

APPS = Path(__file__).parent / "apps"
SUITE = Path(__file__).parents[2] / "build/arq-suite"
ARQ = "0.28.0"
PACKAGES = ("dirty-equals", "msgpack", "pydantic", "pytest-asyncio", "pytest-mock", "pytest-timeout", "pytz", "tzdata")
PASS = 135
DIFFERENT = {
    "the text of arq's log lines": """
        cli::run cron::job_successful[0.0] cron::job_successful[0.5] cron::job_successful[0.9]
        cron::job_successful_on_specific_queue worker::abort_deferred_job_before worker::abort_job
        worker::abort_job_before worker::exc_extra worker::job_cancel_on_max_jobs worker::job_expired
        worker::job_job_not_found worker::job_old worker::job_retry worker::job_retry_dont_retry
        worker::job_retry_max_jobs worker::job_successful worker::job_successful_no_result_logging worker::job_timeout
        worker::many_jobs_expire worker::max_bursts_multiple worker::max_bursts_sub_call worker::non_burst
        worker::not_abort_job worker::retry_job_error worker::retry_lots worker::str_function
    """,
    "a signal lets jobs finish": "worker::handle_sig worker::handle_no_sig",
    "a stop uses up no try": "worker::worker_signal_completes_job_before_shutting_down",
    "no limit to how far to look": "worker::queue_read_limit_equals_max_jobs worker::custom_queue_read_limit",
    "turns have a connection of their own, not the pool's": """
        worker::worker_retry[exception_thrown0] worker::worker_retry[exception_thrown1]
        worker::worker_crash[exception_thrown0] worker::worker_crash[exception_thrown1]
    """,
    "arq's run_cron is not called": "cron::calculate_next_is_called_with_aware_datetime",
}
"""What cannot pass, by what differs."""


def prepare() -> Path:
    """Make an environment with arq, and lay arq's tests beside it, without the package that they would import."""
    python = SUITE / "venv/bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(SUITE / "venv")], check=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    root = Path(__file__).parents[2]
    subprocess.run([*install, "--editable", f"{root}[worker]", f"arq[watch]=={ARQ}", *PACKAGES], check=True)
    fetch = [str(python), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "arq", f"arq=={ARQ}"]
    subprocess.run([*fetch, "--dest", str(SUITE)], check=True)
    with tarfile.open(SUITE / f"arq-{ARQ}.tar.gz") as archive:
        members = [member for member in archive if member.name.startswith(f"arq-{ARQ}/tests/")]
        archive.extractall(SUITE, members=members, filter="data")
    return python


@pytest.mark.skipif("ARQUBE_ARQ_SUITE" not in os.environ, reason="installs packages: run `make suite`")
@pytest.mark.timeout(600)
async def test_arqs_own_tests_pass_but_for_what_is_meant_to_differ() -> None:
    python = await asyncio.to_thread(prepare)
    options = ["-p", "arq_suite", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", "."]
    options += ["-o", "asyncio_mode=auto", "--timeout=20", "-q", "-rf"]
    ran = await asyncio.to_thread(
        subprocess.run,
        [str(python), "-m", "pytest", *options, "tests"],
        cwd=SUITE / f"arq-{ARQ}",
        env={**os.environ, "PYTHONPATH": str(APPS)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    failed = {
        f"{file}::{name}" for file, name in re.findall(r"^FAILED tests/test_(\w+)\.py::test_(\S+)", ran.stdout, re.M)
    }
    expected = {name for names in DIFFERENT.values() for name in names.split()}
    assert failed == expected, ran.stdout[-3000:]
    assert re.search(rf"^{len(expected)} failed, {PASS} passed\b", ran.stdout, re.M), ran.stdout[-300:]
