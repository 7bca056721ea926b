"""The dashboards of the chart: rules that each keeps, and that every query has data where real workers are scraped."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from arqube_local.monitoring import dashboards, stage
from arqube_local.monitoring.grafana import SCHEMA_VERSION, WIDTH
from arqube_local.monitoring.prometheus import fill_in, find_binary

FILES = sorted(dashboards.FOLDER.glob("*.json"))
PLAY_S = 40.0
DATA_S = 85.0
"""Deadline of the last query's first sample."""
SEEN = {
    "jobs fail": 'arqube_taskqueue_dead_letters{taskqueue="emails"} > 0',
    "the number of workers changes": "increase(arqube_taskqueue_scalings_total[5s]) > 0",
    "Redis is away for the operator": "arqube_taskqueue_redis_up == 0",
    "Redis is away for workers": "increase(arqube_worker_redis_errors_total[5s]) > 0",
}
"""What happens on the stage, so that the panels show more than zeros: each has data only once that was scraped."""
KINDS = {"timeseries", "stat", "heatmap", "table", "row"}
GROWING = re.compile(r"\b(arqube_\w+(?:_total|_bucket)|process_cpu_seconds_total)\b")
NARROWEST, LOWEST = 4, 4
"""Smallest size at which a panel can be read, in Grafana's units."""


def load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each query with the name it is told by."""
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield f"{dashboard['uid']} {panel['id']} {target['refId']}: {panel['title']}", target["expr"]


def complaints(dashboard: dict[str, Any]) -> list[str]:
    """What the dashboard does against the rules."""
    found: list[str] = []
    if dashboard["schemaVersion"] != SCHEMA_VERSION:
        found.append("its schemaVersion is not the current one")
    found += [f"it has no {word}" for word in ("uid", "title", "description") if not dashboard.get(word)]
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    wanted = ("datasource", "job", "namespace", "taskqueue")
    found += [f"it has no variable {name}" for name in wanted if name not in variables]
    if variables.get("datasource", {}).get("type") != "datasource":
        found.append("its variable datasource chooses no data source")
    ids = [panel["id"] for panel in dashboard["panels"]]
    if len(ids) != len(set(ids)):
        found.append("two panels have the same id")
    titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"]
    if len(titles) != len(set(titles)):
        found.append("two panels have the same title")
    text = json.dumps(dashboard)
    if uids := {uid for uid in re.findall(r'"uid": "([^"]*)"', text) if uid != dashboard["uid"]} - {"${datasource}"}:
        found.append(f"it names a data source: {sorted(uids)}")
    known = {*variables, "__rate_interval"}
    for panel in dashboard["panels"]:
        found += [f"{panel['title'] or panel['id']}: {complaint}" for complaint in _of_panel(panel, known)]
    for one, other in combinations(dashboard["panels"], 2):
        if _overlap(one["gridPos"], other["gridPos"]):
            found.append(f"{one['title']} lies over {other['title']}")
    return found


def _of_panel(panel: dict[str, Any], variables: set[str]) -> Iterator[str]:
    place = panel["gridPos"]
    if panel["type"] not in KINDS:
        yield f"unknown type {panel['type']}"
    if not panel["title"]:
        yield "no title"
    if place["x"] < 0 or place["x"] + place["w"] > WIDTH:
        yield "it stands out of the page"
    if panel["type"] == "row":
        return
    if place["w"] < NARROWEST or place["h"] < LOWEST:
        yield "too small to be read"
    if not panel.get("description"):
        yield "no description"
    if not panel["fieldConfig"]["defaults"].get("unit"):
        yield "no unit"
    if not panel["targets"]:
        yield "no query"
    if len({target["refId"] for target in panel["targets"]}) != len(panel["targets"]):
        yield "two queries have the same refId"
    for target in panel["targets"]:
        expr = target["expr"]
        if target.get("datasource", {}).get("uid") != "${datasource}":
            yield "a query without the chosen data source"
        if len(panel["targets"]) > 1 and not target.get("legendFormat") and panel["type"] == "timeseries":
            yield "several queries and no legend"
        if unknown := set(re.findall(r"\$\{?(\w+)", expr)) - variables:
            yield f"unknown variables {sorted(unknown)}"
        for window in re.findall(r"\[([^\]]*)\]", expr):
            if window != "$__rate_interval":
                yield f"a window of its own: {window}"
        for series in GROWING.finditer(expr):
            if not re.search(rf"(rate|increase)\({series[1]}\{{", expr):
                yield f"{series[1]} only grows and is shown as it is"
        for selector in re.findall(r"(\w+)\{([^}]*)\}", expr):
            name, chosen = selector
            wanted = ("job",) if name.startswith(("arqube_operator", "process")) else ("namespace", "taskqueue")
            if missing := [label for label in wanted if f"${label}" not in chosen]:
                yield f"{name} is not chosen by {missing}"
        if bare := re.findall(r"\b(?:arqube|process)_\w+\b(?!\{)", expr):
            yield f"{bare} without labels"


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


def test_there_are_both_dashboards_as_the_code_makes_them() -> None:
    assert [path.stem for path in FILES] == ["overview", "taskqueue"]
    assert dashboards.main(["--check"]) == 0, "run python -m arqube_local.monitoring.dashboards"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_page_tells_each_panel(path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "dashboards.md").read_text()
    lines = [f"| {panel['title']} | {panel['description']} |" for panel in panels(load(path))]
    assert [line for line in lines if line not in page] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_keeps_the_rules(path: Path) -> None:
    assert complaints(load(path)) == []


def _first(dashboard: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(panel for panel in dashboard["panels"] if panel["type"] == "timeseries")
    return found


def _asks(dashboard: dict[str, Any], expr: str) -> None:
    _first(dashboard)["targets"][0]["expr"] = expr


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        pytest.param(lambda it: it.update(schemaVersion=1), "schemaVersion", id="an old form"),
        pytest.param(lambda it: it["templating"]["list"].pop(0), "no variable datasource", id="no source to choose"),
        pytest.param(lambda it: it["templating"]["list"].pop(1), "no variable job", id="no job to choose"),
        pytest.param(lambda it: it["panels"][1].update(id=1), "same id", id="an id twice"),
        pytest.param(lambda it: _first(it).update(title=""), "no title", id="a panel without a title"),
        pytest.param(
            lambda it: _first(it).update(description=""), "no description", id="a panel that is not described"
        ),
        pytest.param(
            lambda it: _first(it)["fieldConfig"]["defaults"].pop("unit"), "no unit", id="a panel without a unit"
        ),
        pytest.param(
            lambda it: _first(it)["targets"][0]["datasource"].update(uid="prod"),
            "names a data source",
            id="a fixed source",
        ),
        pytest.param(lambda it: _first(it)["gridPos"].update(x=20), "out of the page", id="a panel beyond the edge"),
        pytest.param(lambda it: _first(it)["gridPos"].update(y=0, x=0), "lies over", id="panels over each other"),
        pytest.param(lambda it: _first(it)["gridPos"].update(w=2), "too small", id="a panel too small to be read"),
        pytest.param(
            lambda it: _first(it)["targets"][0].update(
                expr='rate(arqube_worker_jobs_total{namespace="$namespace"}[5m])'
            ),
            "a window of its own: 5m",
            id="a fixed window",
        ),
        pytest.param(
            lambda it: _asks(it, 'arqube_worker_turns_total{taskqueue="$taskqueue"}'),
            "only grows",
            id="a counter without a rate",
        ),
        pytest.param(
            lambda it: _asks(it, "sum(arqube_worker_slots)"),
            "without labels",
            id="all queues mixed",
        ),
        pytest.param(
            lambda it: _asks(it, 'arqube_worker_slots{pod="$pod"}'),
            "unknown variables ['pod']",
            id="a variable that nobody chooses",
        ),
    ],
)
def test_a_rule_that_is_broken_is_told(spoil: Callable[[dict[str, Any]], object], complaint: str) -> None:
    dashboard = copy.deepcopy(load(FILES[0]))
    spoil(dashboard)
    assert any(complaint in each for each in complaints(dashboard)), complaints(dashboard)


async def test_every_query_has_data_where_real_workers_are_scraped(tmp_path: Path) -> None:
    binary = find_binary()
    if binary is None:
        pytest.skip("prometheus is not installed: the dashboards' queries were not tried (Debian's package prometheus)")
    without = {
        name: fill_in(expr, {**stage.VARIABLES, "taskqueue": stage.CHOSEN[dashboard["uid"]]})
        for dashboard in map(load, FILES)
        for name, expr in queries(dashboard)
    }
    assert len(without) == sum(len(panel["targets"]) for dashboard in map(load, FILES) for panel in panels(dashboard))
    without |= SEEN
    async with stage.staged(binary, tmp_path) as staged:
        playing = asyncio.create_task(staged.play(PLAY_S))
        deadline = time.monotonic() + DATA_S
        while without and time.monotonic() < deadline and not (playing.done() and playing.exception()):
            for name, expr in list(without.items()):
                if await staged.prometheus.range(expr, staged.began, time.time(), 1.0):
                    del without[name]
            await asyncio.sleep(1)
        assert without == {}, f"no data within {DATA_S:.0f} s"
        nothing = await staged.prometheus.range("arqube_no_such_series", staged.began, time.time(), 1.0)
        assert nothing == [], "a query without data is seen"
        assert await _created(staged) == []
        exported = await staged.exported()
        assert {name: _linted(text) for name, text in exported.items()} == {"operator": "", "worker": ""}
        assert await _highest(staged, 'arqube_taskqueue_dead_letters{taskqueue="reports"}') == 0, "queues of their own"
        playing.cancel()
        await asyncio.wait([playing])


def _linted(text: bytes) -> str:
    """What Prometheus's linter says of a page of metrics."""
    assert b"arqube_" in text
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    return (checked.stdout + checked.stderr).decode()


async def _highest(staged: stage.Stage, expr: str) -> float:
    found = await staged.prometheus.range(expr, staged.began, time.time(), 1.0)
    return max(value for series in found for _, value in series.points)


async def _created(staged: stage.Stage) -> list[str]:
    """Names of the series that tell when another was made."""
    found = await staged.prometheus.range(
        'count by (__name__) ({__name__=~"arqube_.*_created"})', staged.began, time.time(), 1
    )
    return [series.labels["__name__"] for series in found]
