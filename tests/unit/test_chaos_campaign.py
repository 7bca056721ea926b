"""How the runs of a campaign are summed up, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from benchmarks.chaos import campaign
from benchmarks.chaos.chart import draw_chart
from benchmarks.chaos.checker import LOST, PROMISES
from benchmarks.chaos.page import filled, table


def run(seed: int, *, lost: int = 0, recovery_s: tuple[float, ...] = (1.0, 3.0)) -> dict[str, Any]:
    return {
        "seed": seed,
        "seconds": 60.4,
        "acknowledged": 1000,
        "starts": 1100,
        "ended": {"succeeded": 990, "failed": 10},
        "faults": {"worker: kill -9": 2, "api server: silent": 1},
        "repeats": {"worker: kill -9": 7},
        "recovery_s": {"worker: kill -9": list(recovery_s)},
        "violations": {promise: lost if promise == LOST else 0 for promise in PROMISES},
    }


def test_figures_of_all_runs_are_added_up() -> None:
    summary = campaign.sum_up([run(1), run(2, recovery_s=(5.0,))])
    assert (summary["runs"], summary["jobs"], summary["starts"], summary["blows"]) == (2, 2000, 2200, 6)
    assert summary["ended"] == {"failed": 20, "succeeded": 1980}
    assert summary["faults"] == {
        "api server: silent": {"blows": 2, "repeats": 0, "recovery_median_s": None, "recovery_most_s": None},
        "worker: kill -9": {"blows": 4, "repeats": 14, "recovery_median_s": 3.0, "recovery_most_s": 5.0},
    }
    assert summary["repeats"] == 14
    assert campaign.is_clean(summary)


@pytest.mark.parametrize(
    "bad", [run(2, lost=1), {"seed": 2, "broken_off": "exit code 1"}], ids=["a job was lost", "a run was broken off"]
)
def test_one_bad_run_spoils_a_campaign(bad: dict[str, Any]) -> None:
    summary = campaign.sum_up([run(1), bad])
    assert summary["runs"] == 2
    assert not campaign.is_clean(summary)


def test_no_run_is_no_clean_campaign() -> None:
    assert not campaign.is_clean(campaign.sum_up([]))


def test_the_table_has_a_line_for_each_fault_and_each_promise() -> None:
    lines = table(campaign.sum_up([run(1), run(2, lost=3)])).splitlines()
    assert "| worker: kill -9 | 4 | 14 | 2 s, 3 s |" in lines
    assert "| api server: silent | 2 | 0 |  |" in lines
    assert f"| {LOST} | 3 |" in lines
    assert len(lines) == 2 + 2 + 1 + 2 + len(PROMISES)


def test_the_page_s_section_is_written_anew_and_the_others_stay() -> None:
    page = "# Title\n\n## The last campaign\n\nof former figures\n\n## What else\n\ntext\n"
    written = filled(page, campaign.sum_up([run(1)]), "python -m this --runs 1")
    assert written.startswith(
        "# Title\n\n## The last campaign\n\n1,000 jobs and 3 blows in 1 runs: 1,100 starts, 7 of them"
    )
    assert "$ python -m this --runs 1\n" in written
    assert written.endswith("\n\n## What else\n\ntext\n")
    assert "former figures" not in written
    assert filled(written, campaign.sum_up([run(1)]), "python -m this --runs 1") == written


def test_a_page_without_the_section_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one section '## The last campaign'"):
        filled("# Title\n", campaign.sum_up([run(1)]), "python")


def test_the_chart_is_drawn(tmp_path: Path) -> None:
    draw_chart(campaign.sum_up([run(1)]), tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 10_000
