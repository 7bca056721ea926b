"""How results are shown: a table for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from arqube_local.simulate.results import FIGURES, Result

_COLUMNS: Final = ("POLICY", "IN TIME", "P50 WAIT", "P95 WAIT", "POD-HOURS", "SCALE EVENTS", "INTERRUPTED")


def table(results: Mapping[str, Result]) -> str:
    """One line a policy, under a heading."""
    rows = [_COLUMNS, *(_row(policy, result) for policy, result in results.items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number == 0 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def document(results: Mapping[str, Result]) -> dict[str, Any]:
    """The figures of each policy for JSON: the share from 0 to 1, waits in seconds."""
    return {
        "policies": {
            policy: {name: round(getattr(result, name), 4) for name in FIGURES} for policy, result in results.items()
        }
    }


def _row(policy: str, result: Result) -> tuple[str, ...]:
    return (
        policy,
        f"{100 * result.slo_share:.2f} %",
        f"{result.p50_wait_s:.1f} s",
        f"{result.p95_wait_s:.1f} s",
        f"{result.pod_hours:.2f}",
        f"{result.scale_events:.10g}",
        f"{result.interrupted:.10g}",
    )
