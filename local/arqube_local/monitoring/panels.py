"""What the panels of both dashboards share: units, selectors of outcomes, and the forms of expressions."""

from __future__ import annotations

from typing import Final

from arqube_local.monitoring.grafana import Panel, Query

JOBS: Final = "suffix: jobs"
JOBS_PER_S: Final = "suffix: jobs/s"
PODS: Final = "suffix: pods"
FAILED: Final = 'outcome=~"failed|expired|undecodable|unknown_function|tries_exhausted"'
FOR_GOOD: Final = 'outcome!~"retried|aborted|returned|put_back|lease_lost"'


def stat(
    title: str, description: str, expr: str, unit: str = "short", *, width: int = 4, warn_at: float | None = None
) -> Panel:
    """A number, and its course behind it; red from ``warn_at`` on."""
    return Panel(title, description, unit, (Query(expr),), "stat", width, 4, warn_at=warn_at)


def quantile(share: str, series: str, selector: str = "", by: str = "le") -> str:
    """A quantile of a histogram over the last moments; ``by`` holds ``le``."""
    return f"histogram_quantile({share}, sum by ({by}) (rate({series}_bucket{{{selector}}}[$__rate_interval])))"
