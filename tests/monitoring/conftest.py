"""Says which Prometheus the dashboards are tried on."""

from __future__ import annotations

import subprocess

from arqube_local.monitoring.prometheus import find_binary


def pytest_report_header() -> str:
    binary = find_binary()
    if binary is None:
        return "prometheus: not installed, the dashboards' queries are not tried"
    told = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    return f"prometheus: {binary}, {(told.stdout or told.stderr).splitlines()[0]}"
