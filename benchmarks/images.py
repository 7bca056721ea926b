"""Builds images from this checkout and brings them to the cluster's nodes.

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

from benchmarks.commands import run

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Builder:
    """The tools that are there.

    Attributes:
        tool: docker, podman or buildah, which keeps the images.
        build: The command that builds one.
        load: The command that takes an archive to the nodes.
    """

    tool: str
    build: tuple[str, ...]
    load: tuple[str, ...]

    @classmethod
    def find(cls) -> Builder:
        """What this machine and the environment have.

        Raises:
            SystemExit: There is no tool, or nothing that brings images to the nodes.
        """
        tool = next((tool for tool in ("docker", "podman", "buildah") if _works(tool)), None)
        if tool is None:
            raise SystemExit("docker, podman or buildah is needed to build the images")
        build = tuple(shlex.split(os.environ.get("E2E_BUILD_COMMAND") or f"{tool} build"))
        return cls(tool, build, _load_command())

    def image(self, name: str, folder: Path, *options: str) -> str:
        """Build ``name`` with its tag; its whole name, which means the same to every tool."""
        whole = f"docker.io/library/{name}"
        run(*self.build, f"--tag={whole}", *options, str(folder), timeout_s=900)
        return whole

    def bring(self, image: str) -> None:
        """Take an image to the nodes."""
        with tempfile.TemporaryDirectory(prefix="arqube-images-") as folder:
            archive = f"{folder}/image.tar"
            save = {
                "docker": ("docker", "save", f"--output={archive}", image),
                "podman": ("podman", "save", "--format=docker-archive", f"--output={archive}", image),
                "buildah": ("buildah", "push", image, f"docker-archive:{archive}:{image}"),
            }[self.tool]
            run(*save, timeout_s=300)
            run(*self.load, archive, timeout_s=300)


def _works(tool: str) -> bool:
    return bool(shutil.which(tool)) and subprocess.run([tool, "info"], capture_output=True).returncode == 0  # noqa: S603


def _load_command() -> tuple[str, ...]:
    if told := os.environ.get("E2E_LOAD_COMMAND"):
        return tuple(shlex.split(told))
    context = run("kubectl", "config", "current-context").strip()
    if not context.startswith("kind-"):
        raise SystemExit("set E2E_LOAD_COMMAND to what brings an image archive to the cluster's nodes")
    return ("kind", "load", "image-archive", f"--name={context.removeprefix('kind-')}")
