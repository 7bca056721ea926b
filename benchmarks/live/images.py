"""The images of the comparison, built from this checkout and brought to the cluster's nodes.

``E2E_BUILD_COMMAND`` and ``E2E_LOAD_COMMAND`` mean what they mean to ``make e2e``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.live.commands import run

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
TAG: Final = "live"


@dataclass(frozen=True, slots=True)
class Images:
    """Whole names, which mean the same to every tool."""

    operator: str
    worker: str
    app: str
    keda: str


def build() -> Images:
    """Build all four, and load those that pods run.

    Raises:
        SystemExit: A tool is missing, or fails.
    """
    tool = next((tool for tool in ("docker", "podman", "buildah") if _works(tool)), None)
    if tool is None:
        raise SystemExit("docker, podman or buildah is needed to build the images")
    command = tuple(shlex.split(os.environ.get("E2E_BUILD_COMMAND") or f"{tool} build"))
    load = _load_command()

    def image(name: str, folder: Path, *options: str) -> str:
        whole = f"docker.io/library/{name}:{TAG}"
        run(*command, f"--tag={whole}", *options, str(folder), timeout_s=900)
        return whole

    operator = image("arqube-operator", ROOT, f"--file={ROOT}/Dockerfile.operator")
    worker = image("arqube-worker", ROOT, f"--file={ROOT}/Dockerfile.worker")
    app = image("arqube-live-app", HERE / "app", f"--build-arg=WORKER_IMAGE={worker}")
    keda = image("arqube-live-keda", HERE / "keda", f"--build-arg=OPERATOR_IMAGE={operator}")
    for whole in (operator, app, keda):
        with tempfile.TemporaryDirectory(prefix="arqube-live-") as folder:
            archive = f"{folder}/image.tar"
            run(*_save_command(tool, whole, archive), timeout_s=300)
            run(*load, archive, timeout_s=300)
    return Images(operator, worker, app, keda)


def _works(tool: str) -> bool:
    return bool(shutil.which(tool)) and subprocess.run([tool, "info"], capture_output=True).returncode == 0  # noqa: S603


def _load_command() -> tuple[str, ...]:
    if told := os.environ.get("E2E_LOAD_COMMAND"):
        return tuple(shlex.split(told))
    context = run("kubectl", "config", "current-context").strip()
    if not context.startswith("kind-"):
        raise SystemExit("set E2E_LOAD_COMMAND to what brings an image archive to the cluster's nodes")
    return ("kind", "load", "image-archive", f"--name={context.removeprefix('kind-')}")


def _save_command(tool: str, image: str, archive: str) -> tuple[str, ...]:
    return {
        "docker": ("docker", "save", f"--output={archive}", image),
        "podman": ("podman", "save", "--format=docker-archive", f"--output={archive}", image),
        "buildah": ("buildah", "push", image, f"docker-archive:{archive}:{image}"),
    }[tool]
