"""Loads: the shapes, and CSV files."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean

import pytest

from arqube_local.simulate.jobs import Arrival
from arqube_local.simulate.load_files import LoadFileError, read_load
from arqube_local.simulate.loads import SHAPES


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_is_the_same_for_a_seed_in_order_and_within_its_time(name: str) -> None:
    load = SHAPES[name].load(name, seed=7)
    assert load == SHAPES[name].load(name, seed=7)
    assert load.seconds == SHAPES[name].hours * 3600
    times = [arrival.at_s for arrival in load.arrivals]
    assert times == sorted(times)
    assert all(0 <= arrival.at_s < load.seconds and arrival.at_s <= arrival.due_s for arrival in load.arrivals)
    assert load.arrivals or load.crons


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "shortbursts" and name != "cron"])
def test_other_seeds_give_other_jobs(name: str) -> None:
    assert SHAPES[name].load(name, 1).arrivals != SHAPES[name].load(name, 2).arrivals


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        pytest.param("step", 5400 + 18_000, id="1 a second for 90 minutes and 10 for 30"),
        pytest.param("spike", 4 * (1680 + 2400), id="1 a second, 20 for 2 minutes of each 30"),
        pytest.param("diurnal", 4.25 * 6 * 3600, id="the mean of the cosine"),
        pytest.param("onoff", 8 * 300 * 6, id="6 a second for 5 of each 15 minutes"),
        pytest.param("deferred", 1500 + 9000, id="1,500 of tomorrow and 2 a second"),
        pytest.param("shortbursts", 60 * 600, id="600 a minute"),
        pytest.param("long", 1800 + 0.25 * 2400, id="0.25 a second, twice that in the middle third"),
    ],
)
def test_how_many_jobs_a_shape_has(name: str, jobs: float) -> None:
    count = fmean(len(SHAPES[name].load(name, seed).arrivals) for seed in range(5))
    assert count == pytest.approx(jobs, rel=0.03)


@pytest.mark.parametrize(("name", "mean_s"), [("step", 4.0), ("bursty", 4.0), ("long", 120.0), ("shortbursts", 0.2)])
def test_the_mean_run_time_of_a_shape_and_one_that_is_asked_for(name: str, mean_s: float) -> None:
    shape = SHAPES[name]
    assert fmean(job.run_s for job in shape.load(name, 1).arrivals) == pytest.approx(mean_s, rel=0.06)
    assert fmean(job.run_s for job in shape.load(name, 1, job_s=10.0).arrivals) == pytest.approx(10.0, rel=0.06)


def test_a_load_may_be_shorter() -> None:
    load = SHAPES["step"].load("step", 1, hours=0.5)
    assert load.seconds == 1800
    assert load.arrivals[-1].at_s < 1800


def _file(folder: Path, text: str) -> Path:
    path = folder / "jobs.csv"
    path.write_text(text)
    return path


def test_a_file_gives_each_job_its_times(tmp_path: Path) -> None:
    load = read_load(_file(tmp_path, "at_s,due_s,run_s\n5,60,1.5\n0,,2\n7,3,4\n"), 1, None, 4.0)
    assert load.arrivals == (Arrival(0, 0, 2), Arrival(5, 60, 1.5), Arrival(7, 7, 4))
    assert (load.name, load.seconds) == ("jobs", 607)


def test_what_a_file_does_not_give_is_drawn_from_the_seed(tmp_path: Path) -> None:
    path = _file(tmp_path, "at_s\n" + "\n".join(map(str, range(5000))))
    load = read_load(path, 1, 1.0, 10.0)
    assert (load, load.seconds) == (read_load(path, 1, 1.0, 10.0), 3600)
    assert load != read_load(path, 2, 1.0, 10.0)
    assert fmean(job.run_s for job in load.arrivals) == pytest.approx(10.0, rel=0.06)


def test_run_times_that_are_missing_are_drawn_about_the_mean_of_those_that_are_there(tmp_path: Path) -> None:
    jobs = [f"{second},{20 if second % 2 else ''}" for second in range(5000)]
    load = read_load(_file(tmp_path, "at_s,run_s\n" + "\n".join(jobs)), 1, None, None)
    assert fmean(job.run_s for job in load.arrivals if job.run_s != 20) == pytest.approx(20.0, rel=0.06)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("", "at_s is missing", id="an empty file"),
        pytest.param("time,run_s\n1,2\n", "at_s is missing", id="another heading"),
        pytest.param("at_s,priority\n1,2\n", "priority is none of them", id="a column that is not known"),
        pytest.param("at_s\n", "holds no job", id="a heading alone"),
        pytest.param("at_s,run_s\n1,2\n,3\n", "line 3: at_s is missing", id="a job without a time"),
        pytest.param("at_s,run_s\n1,2\n2,soon\n", "line 3: run_s is 'soon'", id="a word for a number"),
        pytest.param("at_s\n-1\n", "line 2: at_s is '-1'", id="a time before the start"),
        pytest.param("at_s\nnan\n", "line 2: at_s is 'nan'", id="no number"),
        pytest.param("at_s\n1767571200\n", "line 2: at_s is more than a week", id="a date in the place of a time"),
        pytest.param("at_s,due_s\n1,inf\n", "line 2: due_s is 'inf'", id="never"),
    ],
)
def test_a_bad_file_is_told_by_line_and_column(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(LoadFileError, match=told):
        read_load(_file(tmp_path, text), 1, None, 4.0)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(LoadFileError, match=r"none\.csv"):
        read_load(tmp_path / "none.csv", 1, None, 4.0)
