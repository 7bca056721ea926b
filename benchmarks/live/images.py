"""The images of the comparison, built from this checkout and brought to the cluster's nodes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.images import ROOT, Builder

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
    builder = Builder.find()
    operator = builder.image(f"arqube-operator:{TAG}", ROOT, f"--file={ROOT}/Dockerfile.operator")
    worker = builder.image(f"arqube-worker:{TAG}", ROOT, f"--file={ROOT}/Dockerfile.worker")
    app = builder.image(f"arqube-live-app:{TAG}", HERE / "app", f"--build-arg=WORKER_IMAGE={worker}")
    keda = builder.image(f"arqube-live-keda:{TAG}", HERE / "keda", f"--build-arg=OPERATOR_IMAGE={operator}")
    for whole in (operator, app, keda):
        builder.bring(whole)
    return Images(operator, worker, app, keda)
