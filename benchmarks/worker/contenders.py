"""Who takes part: plain arq, Arqube, and other queues at their latest releases and best settings, each in a venv."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from arqube_queue import environment as env

REPOSITORY: Final = Path(__file__).parents[2]
ENVIRONMENTS: Final = REPOSITORY / ".bench"
"""Where the peers' venvs are kept from one run to the next. They do not fit into ours: arq holds redis below 6."""
INSTALL_TIMEOUT_S: Final = 300.0

_PLAIN_ARQ: Final = (
    "import sys; from arq.worker import run_worker; from benchmarks.worker import app; "
    "run_worker(getattr(app, sys.argv[1]))"
)
_QUIET: Final = {"ARQUBE_LOG_LEVEL": "error"}


@dataclass(frozen=True, slots=True)
class Contender:
    """A worker to measure.

    Attributes:
        label: Its name in the table.
        command: How it is started.
        jobs: Preloaded for it: enough for some seconds.
        environment: Beside ours.
        producer: The command that preloads a peer's queue, less the number of jobs; empty for arq's protocol.
    """

    label: str
    command: tuple[str, ...]
    jobs: int
    environment: dict[str, str] = field(default_factory=dict)
    producer: tuple[str, ...] = ()


def _arqube(label: str, slots: int, environment: dict[str, str], jobs: int = 30_000) -> Contender:
    command = (sys.executable, "-m", "arqube_worker", "benchmarks.worker.app.WorkerSettings")
    return Contender(label, command, jobs, {env.CONCURRENCY: str(slots), env.HTTP_PORT: "0", **environment})


ARQ: Final = Contender("arq", (sys.executable, "-c", _PLAIN_ARQ, "WorkerSettings"), 800)
ARQ_TUNED: Final = Contender("arq tuned", (sys.executable, "-c", _PLAIN_ARQ, "TunedSettings"), 6_000)
ARQ_TUNED_LOGS: Final = Contender(
    "arq tuned, logs", (sys.executable, "-m", "arq", "benchmarks.worker.app.TunedSettings"), 6_000
)
ARQ_TUNED_FAR: Final = replace(ARQ_TUNED, jobs=1_500)
"""For a slow network: less, as it takes long."""
ARQUBE_10: Final = _arqube("arqube, 10 slots", 10, _QUIET)
ARQUBE: Final = _arqube("arqube, 100 slots", 100, _QUIET)
ARQUBE_LOGS: Final = _arqube("arqube, 100 slots, logs", 100, {})
OURS: Final = (ARQ, ARQ_TUNED, ARQUBE_10, ARQUBE)
WITH_LOGS: Final = (ARQ_TUNED_LOGS, ARQUBE_LOGS)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another queue.

    Attributes:
        name: Its name, and that of its module and environment.
        packages: What pip installs, at the latest releases.
        jobs: Preloaded for it.
    """

    name: str
    packages: tuple[str, ...]
    jobs: int

    def install(self) -> Contender:
        """Make its environment, unless there is one.

        Raises:
            subprocess.SubprocessError: pip could not install it.
        """
        folder = ENVIRONMENTS / self.name
        python = folder / "bin" / "python"
        installed = folder / "installed"
        if not installed.exists():
            venv.create(folder, with_pip=True, clear=True)
            command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *self.packages]
            subprocess.run(command, check=True, timeout=INSTALL_TIMEOUT_S, stderr=subprocess.PIPE)  # noqa: S603
            installed.touch()
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        asked = subprocess.run([python, "-c", code, self.name], check=True, capture_output=True, text=True)  # noqa: S603
        app = (str(python), "-m", f"benchmarks.worker.peers.{self.name}_app")
        return Contender(f"{self.name} {asked.stdout.strip()}", (*app, "work"), self.jobs, {}, (*app, "enqueue"))


PEERS: Final = (
    Peer("saq", ("saq[hiredis]", "typing-extensions", "uvloop"), 2_500),
    Peer("taskiq", ("taskiq", "taskiq-redis", "hiredis", "uvloop"), 4_000),
    Peer("streaq", ("streaq", "uvloop"), 2_500),
    Peer("dramatiq", ("dramatiq[redis]", "hiredis"), 4_000),
    Peer("rq", ("rq", "hiredis"), 800),
    Peer("celery", ("celery[redis]", "hiredis"), 2_000),
)


def environment_of(contender: Contender, port: int, **more: str) -> dict[str, str]:
    """The environment in which ``contender`` finds the Redis at ``port`` of this machine."""
    return {
        **os.environ,
        "BENCH_REDIS_PORT": str(port),
        "BENCH_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        **contender.environment,
        **more,
    }
