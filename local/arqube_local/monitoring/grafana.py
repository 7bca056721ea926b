"""Grafana's JSON of a dashboard: panels laid out in rows, variables, and what both dashboards have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

SCHEMA_VERSION: Final = 42
"""Grafana 12.3's, and the last of this form of dashboards."""
WIDTH: Final = 24
"""Grafana's columns."""
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}

Kind = Literal["timeseries", "stat", "heatmap", "table"]


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression, and how its series are called: Grafana's ``{{label}}`` stands for a label's value."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: A few words.
        description: What it shows and what to look for.
        unit: Grafana's name of the unit; ``suffix: x`` for others.
        queries: What it draws.
        kind: Grafana's type of panel.
        width: Of Grafana's 24 columns.
        height: In Grafana's rows of 30 pixels.
        stacked: The series add up to something.
        warn_at: The value from which a stat is shown in red.
        most: The top of the axis; None fits the data.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    width: int = 8
    height: int = 7
    stacked: bool = False
    warn_at: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading, from left to right and on in further lines."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable that the reader chooses, of the values that ``query`` finds; ``several`` may be chosen at once."""

    name: str
    label: str
    query: str
    several: bool = False


def dashboard(
    uid: str, title: str, description: str, variables: Sequence[Variable], rows: Sequence[Row]
) -> dict[str, Any]:
    """The dashboard's JSON."""
    return {
        "annotations": {"list": []},
        "description": description,
        "editable": True,
        "graphTooltip": 1,
        "links": [
            {
                "asDropdown": False,
                "includeVars": False,
                "keepTime": True,
                "tags": ["arqube"],
                "title": "Arqube",
                "type": "dashboards",
            }
        ],
        "panels": _laid_out(rows),
        "refresh": "30s",
        "schemaVersion": SCHEMA_VERSION,
        "tags": ["arqube"],
        "templating": {"list": [_datasource(), *map(_variable, variables)]},
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "title": title,
        "uid": uid,
        "version": 1,
    }


def _laid_out(rows: Sequence[Row]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        place = {"h": 1, "w": WIDTH, "x": 0, "y": y}
        heading = {"collapsed": False, "gridPos": place, "id": len(panels) + 1, "panels": [], "title": row.title}
        panels.append({**heading, "type": "row"})
        y += 1
        x = tallest = 0
        for panel in row.panels:
            if x + panel.width > WIDTH:
                x, y, tallest = 0, y + tallest, 0
            place = {"h": panel.height, "w": panel.width, "x": x, "y": y}
            panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return panels


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.most is not None:
        defaults["max"] = panel.most
    body: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "targets": [_target(panel, number, query) for number, query in enumerate(panel.queries)],
    }
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        defaults["custom"] = {
            "fillOpacity": 30 if panel.stacked else 8,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": stacking,
        }
        legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
        body["options"] = {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    elif panel.kind == "stat":
        steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
        if panel.warn_at is not None:
            steps.append({"color": "red", "value": panel.warn_at})
        defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        body["options"] = {"colorMode": "value", "graphMode": "area", "reduceOptions": reduce}
    elif panel.kind == "heatmap":
        body["options"] = {
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Blues", "steps": 64},
            "tooltip": {"mode": "single", "yHistogram": False},
            "yAxis": {"unit": panel.unit},
        }
    else:
        body |= _table(panel)
    return body


def _target(panel: Panel, number: int, query: Query) -> dict[str, Any]:
    target: dict[str, Any] = {"refId": chr(ord("A") + number), "datasource": DATASOURCE, "expr": query.expr}
    if panel.kind == "table":
        return {**target, "format": "table", "instant": True, "range": False}
    shape = "heatmap" if panel.kind == "heatmap" else "time_series"
    return {**target, "format": shape, "legendFormat": query.legend, "range": True}


def _table(panel: Panel) -> dict[str, Any]:
    """One line a TaskQueue, one column a query, called as its legend says; the first column leads to the queue."""
    names = {f"Value #{chr(ord('A') + number)}": query.legend for number, query in enumerate(panel.queries)}
    link = "/d/arqube-taskqueue?var-datasource=${datasource}&var-job=${job}"
    link += "&var-namespace=${__data.fields.namespace}&var-taskqueue=${__data.fields.taskqueue}"
    to_queue = {"id": "links", "value": [{"title": "Open the TaskQueue", "url": link}]}
    seconds = [
        {"matcher": {"id": "byName", "options": query.legend}, "properties": [{"id": "unit", "value": "s"}]}
        for query in panel.queries
        if "_seconds" in query.expr
    ]
    overrides = [{"matcher": {"id": "byName", "options": "taskqueue"}, "properties": [to_queue]}, *seconds]
    return {
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": overrides},
        "options": {"showHeader": True, "sortBy": [{"displayName": panel.queries[0].legend, "desc": True}]},
        "transformations": [
            {"id": "merge", "options": {}},
            {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": names}},
        ],
    }


def _datasource() -> dict[str, Any]:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "refresh": 1,
        "regex": "",
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "options": [],
    }


def _variable(variable: Variable) -> dict[str, Any]:
    made = {
        "type": "query",
        "name": variable.name,
        "label": variable.label,
        "datasource": DATASOURCE,
        "definition": variable.query,
        "query": {"query": variable.query, "refId": "Variables"},
        "refresh": 2,
        "regex": "",
        "sort": 1,
        "hide": 0,
        "includeAll": variable.several,
        "multi": variable.several,
        "options": [],
    }
    return {**made, "current": {"text": ["All"], "value": ["$__all"]}} if variable.several else made
