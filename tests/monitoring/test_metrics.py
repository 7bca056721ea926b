"""The series of operator and worker as Prometheus's own linter sees them, and the reference made from them."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from arqube_local.monitoring import examples, reference

COMPONENTS = [pytest.param(examples.operator()[0], id="operator"), pytest.param(examples.worker()[0], id="worker")]


def lint(text: bytes) -> str:
    """What promtool finds; empty when nothing."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: the metrics were not linted (Debian's package prometheus has it)")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    said = checked.stdout.decode() + checked.stderr.decode()
    assert checked.returncode == 0 or said
    return said


@pytest.mark.parametrize("registry", COMPONENTS)
def test_promtool_has_nothing_to_say(registry: CollectorRegistry) -> None:
    assert lint(generate_latest(registry)) == ""


def test_promtool_would_say_what_is_wrong() -> None:
    assert "_total" in lint(b"# HELP arqube_x_jobs Jobs.\n# TYPE arqube_x_jobs counter\narqube_x_jobs 1\n")


@pytest.mark.parametrize("registry", COMPONENTS)
@pytest.mark.parametrize("encode", [generate_latest, generate_openmetrics])
def test_no_series_tells_when_it_was_created(registry: CollectorRegistry, encode: object) -> None:
    assert b"arqube_" in encode(registry)  # type: ignore[operator]
    assert b"_created" not in encode(registry)  # type: ignore[operator]


def test_the_reference_is_what_the_code_says() -> None:
    assert reference.main(["--check"]) == 0, "run python -m arqube_local.monitoring.reference"
