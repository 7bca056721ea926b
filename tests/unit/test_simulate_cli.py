"""``arqube simulate``: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from arqube_local.cli import main

MANIFEST = """\
apiVersion: arqube.dev/v1alpha1
kind: TaskQueue
metadata: {name: mails}
spec:
  redis: {host: redis}
  worker: {image: app, settings: app.WorkerSettings, concurrency: 5}
  scaling: {maxReplicas: 20}
"""
FIGURES = {"slo_share", "p50_wait_s", "p95_wait_s", "pod_hours", "scale_events", "interrupted"}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "taskqueue.yaml"
    path.write_text(MANIFEST)
    return path


def _simulate(manifest: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", "-f", str(manifest), *arguments])


def test_the_json_has_the_figures_of_each_policy_and_nothing_else(manifest: Path) -> None:
    result = _simulate(manifest, "--load", "spike", "--hours", "0.1", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.output)
    assert document.keys() == {"policies"}
    assert list(document["policies"]) == ["arqube", "keda", "keda-tuned", "hpa"]
    assert all(figures.keys() == FIGURES for figures in document["policies"].values())
    assert all(0 <= figures["slo_share"] <= 1 for figures in document["policies"].values())


def test_the_table_has_a_line_for_each_policy_that_was_asked_for(manifest: Path) -> None:
    result = _simulate(manifest, "--load", "step", "--hours", "0.1", "--against", "keda-tuned")
    assert result.exit_code == 0, result.output
    assert "5 slots a pod, 0 to 20 pods, ready after 8 to 25 s, in time within 30 s" in result.output
    assert [line.split()[0] for line in result.output.splitlines()[3:]] == ["POLICY", "arqube", "keda-tuned"]


def test_several_seeds_are_their_mean(manifest: Path) -> None:
    def pod_hours(*arguments: str) -> float:
        options = ("--load", "onoff", "--hours", "0.3", "--against", "keda-tuned", "--json", *arguments)
        figures = json.loads(_simulate(manifest, *options).output)["policies"]["keda-tuned"]
        return float(figures["pod_hours"])

    mean = pod_hours("--seed", "1", "--seeds", "2")
    assert mean == pytest.approx((pod_hours("--seed", "1") + pod_hours("--seed", "2")) / 2, abs=1e-3)


def test_the_start_up_time_is_that_of_the_pods(manifest: Path) -> None:
    def p95(start_up: str) -> float:
        options = ("--load", "onoff", "--hours", "0.25", "--against", "hpa", "--json", "--start-up", start_up)
        return float(json.loads(_simulate(manifest, *options).output)["policies"]["hpa"]["p95_wait_s"])

    assert p95("1") < p95("60..90")


def test_the_target_is_the_one_of_the_manifest(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("maxReplicas: 20", "maxReplicas: 20, maxWait: 2s"))
    result = _simulate(manifest, "--load", "step", "--hours", "0.1")
    assert "in time within 2 s" in result.output


def test_other_objects_in_the_manifest_are_passed_over(manifest: Path) -> None:
    manifest.write_text(MANIFEST + "---\n{apiVersion: v1, kind: Service, metadata: {name: redis}}\n")
    result = _simulate(manifest, "--load", "step", "--hours", "0.1")
    assert result.exit_code == 0
    assert "5 slots a pod" in result.output


def test_a_file_of_jobs_is_replayed(manifest: Path, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs.csv"
    jobs.write_text("at_s,due_s,run_s\n" + "".join(f"{second},,3\n" for second in range(300)))
    result = _simulate(manifest, "--load", str(jobs))
    assert result.exit_code == 0, result.output
    assert "jobs: 300 jobs in 0.25 h" in result.output


def test_the_plot_is_a_png(manifest: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out" / "plot.png"
    result = _simulate(manifest, "--load", "spike", "--hours", "0.1", "--against", "hpa", "--plot", str(picture))
    assert result.exit_code == 0, result.output
    assert picture.read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(["--load", "storm"], "there is no load 'storm': choose from step, spike", id="no such load"),
        pytest.param(["--load", "none.csv"], "none.csv", id="no such file"),
        pytest.param(
            ["--load", "step", "--against", "vpa"], "there is no 'vpa': choose from keda", id="no such policy"
        ),
        pytest.param(
            ["--load", "step", "--start-up", "25..8"], "no range of seconds such as 8..25", id="bounds swapped"
        ),
        pytest.param(["--load", "step", "--start-up", "soon"], "no range of seconds such as 8..25", id="no number"),
        pytest.param(["--load", "step", "--hours", "0"], "--hours", id="no time at all"),
        pytest.param(["--load", "step", "--job-seconds", "-1"], "--job-seconds", id="a run time below zero"),
    ],
)
def test_a_wrong_option_is_told_with_what_may_be_given(manifest: Path, arguments: list[str], told: str) -> None:
    result = _simulate(manifest, *arguments)
    assert result.exit_code != 0
    assert told in result.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param("a: [", "taskqueue.yaml", id="no YAML"),
        pytest.param(MANIFEST + "---\n" + MANIFEST, "holds several TaskQueues", id="two of them"),
        pytest.param(
            "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\n", "holds no TaskQueue", id="something else alone"
        ),
        pytest.param(MANIFEST.replace("20", "-1"), "spec.scaling.maxReplicas", id="a field out of bounds"),
    ],
)
def test_a_wrong_manifest_is_told(manifest: Path, text: str, told: str) -> None:
    manifest.write_text(text)
    result = _simulate(manifest, "--load", "step")
    assert (result.exit_code, told in result.output) == (1, True), result.output
