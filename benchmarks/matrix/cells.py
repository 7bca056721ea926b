"""What the matrix runs: a cell is a choice of versions and the tests that must pass on it."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from benchmarks.matrix.servers import Server

ROOT: Final = Path(__file__).parents[2]
LOCK: Final = ("--requirement", str(ROOT / "locks/dev.txt"))
EDITABLE: Final = ("--editable", f"{ROOT}[dev]")

OPERATOR_TESTS: Final = (
    "tests/unit/test_api_crd.py",
    "tests/unit/test_api_models.py",
    "tests/unit/test_decide_manifest.py",
    "tests/unit/test_decide_plan.py",
    "tests/unit/test_kube_leadership.py",
    "tests/unit/test_operator_cluster.py",
    "tests/unit/test_operator_metrics.py",
    "tests/unit/test_operator_workqueue.py",
    "tests/unit/test_scaling_decisions.py",
    "tests/contract/test_leader_election.py",
    "tests/contract/test_operator_contract.py",
    "tests/contract/test_scaling_contract.py",
    "tests/integration/test_kube_client.py",
    "tests/integration/test_operator_queues.py",
)
INJECTED_TESTS: Final = ("tests/integration/test_injected_runtime.py::test_it_runs_in_an_image_of_the_matrix",)
SERVER_TESTS: Final = (
    "tests/integration/worker/test_worker_burials.py",
    "tests/integration/worker/test_worker_dead_letters.py",
    "tests/integration/worker/test_worker_jobs.py",
    "tests/integration/worker/test_worker_lifetimes.py",
    "tests/integration/worker/test_worker_records.py",
    "tests/integration/worker/test_worker_suspects.py",
    "tests/integration/worker/test_worker_turns.py",
    "tests/integration/contrib/test_relay.py",
    "tests/integration/jobs/test_job_records.py",
    "tests/integration/redis_setups/test_redis_acl.py::test_what_the_page_grants_is_enough",
    "tests/integration/redis_setups/test_redis_acl.py::test_what_the_page_grants_is_enough_for_a_console",
    "tests/integration/redis_setups/test_redis_setups.py::test_the_queue_is_read_and_its_jobs_run[redis-users with the least rights]",  # noqa: E501
    "tests/integration/wakeup/test_wakeup_changes.py",
    "tests/integration/test_dead_letters.py",
    "tests/integration/test_operator_queues.py",
    "tests/integration/test_queue_history.py",
    "tests/integration/test_queue_retirement.py",
    "tests/integration/test_queue_snapshot.py",
)
API_SERVER_TESTS: Final = (
    "tests/contract/test_bad_manifests.py",
    "tests/contract/test_written_manifests.py",
    "tests/contract/test_operator_contract.py",
    "tests/contract/test_leader_election.py",
)
SCHEMA_TESTS: Final = ("tests/chart/test_rendered_objects.py", "tests/unit/test_kubernetes_versions.py")

OPERATOR_PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
IMAGES: Final = (
    ("3.10", ("arq==0.25.0", "redis==4.2.0", "structlog==22.2.0", "prometheus-client==0.15.0")),
    ("3.10", ("arq==0.28.0",)),
    ("3.11", ("arq==0.26.3", "prometheus-client==0.21.0")),
    ("3.11", ("arq==0.28.0", "redis==4.6.0")),
    ("3.12", ("arq==0.25.0", "redis<7")),
    ("3.12", ("arq==0.27.0", "redis==5.0.1")),
    ("3.13", ("arq==0.25.0", "redis<8")),
    ("3.13", ("arq==0.28.0",)),
    ("3.14", ("arq==0.25.0",)),
    ("3.14", ("arq==0.26.3",)),
    ("3.14", ("arq==0.27.0",)),
    ("3.14", ("arq==0.28.0",)),
)
"""A Python and what the app's image holds: each Python with the newest arq and an older one, each minor of arq with the
oldest and the newest redis-py it takes, and what old apps may have of structlog and prometheus-client."""
WANTED_SERVERS: Final = (("Redis", 6), ("Redis", 7), ("Redis", 8), ("Valkey", 7), ("Valkey", 8), ("Valkey", 9))


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of tests.

    Attributes:
        part: ``operator``, ``worker``, ``server`` or ``kubernetes``.
        name: What it stands for, for people.
        tests: What pytest is given.
        python: The Python of an environment of its own, as in ``3.11``; None for the one that runs the matrix.
        packages: pip's arguments that fill the environment.
        server: The Redis or Valkey that tests start; None for the machine's.
        missing: What the cell needs and was not found; '' if all is there.
        real_api_server: Whether tests run on a real API server as well, where there is one.
    """

    part: str
    name: str
    tests: tuple[str, ...]
    python: str | None = None
    packages: tuple[str, ...] = ()
    server: Server | None = None
    missing: str = ""
    real_api_server: bool = False


def lowest(pyproject: Path = ROOT / "pyproject.toml") -> tuple[str, ...]:
    """The operator's dependencies, each at the lowest version that pyproject.toml allows: constraints for pip."""
    project = tomllib.loads(pyproject.read_text())["project"]
    written = [*project["dependencies"], *project["optional-dependencies"]["operator"]]
    pins = []
    for requirement in map(Requirement, written):
        (floor,) = (each.version for each in requirement.specifier if each.operator == ">=")
        pins.append(f"{requirement.name}=={floor}")
    return tuple(pins)


def all_cells(servers: Sequence[Server], *, constraints: Path, api_server: str | None) -> list[Cell]:
    """The whole matrix.

    Args:
        servers: The Redis and Valkey servers that were found.
        constraints: The file that will hold ``lowest()``.
        api_server: Folder of a real kube-apiserver, if there is one.
    """
    return [
        *(Cell("operator", "the locked versions", OPERATOR_TESTS, each, LOCK) for each in OPERATOR_PYTHONS),
        Cell(
            "operator", "lowest of every range", OPERATOR_TESTS, "3.11", (*EDITABLE, "--constraint", str(constraints))
        ),
        Cell("operator", "newest of every range", OPERATOR_TESTS, "3.14", ("--upgrade", *EDITABLE)),
        *(Cell("worker", ", ".join(packages), INJECTED_TESTS, each, packages) for each, packages in IMAGES),
        *(Cell("server", server.name, SERVER_TESTS, server=server) for server in servers),
        *_absent(servers),
        Cell(
            "kubernetes",
            "a real API server",
            API_SERVER_TESTS,
            missing="" if api_server else "no kube-apiserver and etcd in $KUBEBUILDER_ASSETS",
            real_api_server=True,
        ),
        Cell("kubernetes", "schemas of the versions the chart allows", SCHEMA_TESTS),
    ]


def _absent(servers: Sequence[Server]) -> list[Cell]:
    found = {(server.product, server.version[0]) for server in servers}
    names = [
        (f"{product} {major}", product.lower()) for product, major in WANTED_SERVERS if (product, major) not in found
    ]
    return [
        Cell("server", name, SERVER_TESTS, missing=f"no {product}-server* of it on PATH or in $ARQUBE_SERVERS")
        for name, product in names
    ]
