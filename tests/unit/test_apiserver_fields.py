"""The fake's patches and sets of fields, by the laws that they must keep."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_local.apiserver import jsonpath
from arqube_local.apiserver.errors import StatusError
from arqube_local.apiserver.fieldset import from_fields_v1, to_fields_v1
from arqube_local.apiserver.kinds import CONFIG_MAPS, PODS
from arqube_local.apiserver.merging import merge_patched
from arqube_local.apiserver.ownership import Manager, apply
from arqube_local.apiserver.selectors import matcher
from arqube_local.apiserver.tables import human_duration

NAMES = st.sampled_from("abc")
SCALARS = st.integers(0, 2) | st.text("xy", max_size=1) | st.booleans()
VALUES = st.recursive(SCALARS, lambda below: st.dictionaries(NAMES, below, max_size=3), max_leaves=8)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=3)
PATHS = st.frozensets(st.lists(st.sampled_from(["f:a", "f:b", 'k:{"name":"a"}', 'v:"x"']), min_size=1).map(tuple))


@given(PATHS)
def test_a_set_of_fields_survives_its_written_form(paths: frozenset[tuple[str, ...]]) -> None:
    assert from_fields_v1(json.loads(json.dumps(to_fields_v1(paths)))) == paths


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_sets_what_it_says_and_doing_it_twice_changes_nothing(old: Any, patch: Any) -> None:
    merged = merge_patched(old, patch)
    assert merge_patched(merged, patch) == merged
    assert merge_patched(merged, dict.fromkeys(patch)).keys() == old.keys() - patch.keys()


def config_map(data: dict[str, str]) -> dict[str, Any]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}
    return {**body, "data": data} if data else body


DATA = st.dictionaries(NAMES, st.sampled_from("xy"), max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["one", "two"]), DATA), min_size=1, max_size=8))
def test_applies_leave_exactly_what_their_managers_want_now(steps: list[tuple[str, dict[str, str]]]) -> None:
    live: dict[str, Any] | None = None
    wanted: dict[str, dict[str, str]] = {}
    for name, data in steps:
        manager = Manager(name, "Apply", "v1")
        live = apply(live, config_map(data), CONFIG_MAPS, manager, force=True, now="2026-01-01T00:00:00Z")
        taken = {key for key, value in data.items() for other in wanted.values() if other.get(key, value) != value}
        wanted = {other: {k: v for k, v in keys.items() if k not in taken} for other, keys in wanted.items()}
        wanted[name] = data
        expected = {key: value for keys in wanted.values() for key, value in keys.items()}
        assert live.get("data", {}) == expected
        assert live["metadata"]["name"] == "c"


BODY = {
    "metadata": {"name": "p", "namespace": "n", "labels": {"app": "a", "tier": "web"}},
    "spec": {"nodeName": "node"},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("labels", "fields", "matches"),
    [
        pytest.param("", "", True, id="nothing is asked"),
        pytest.param("app=a,tier==web", "", True, id="both labels are right"),
        pytest.param("app=b", "", False, id="a label is wrong"),
        pytest.param("app in (a,b), tier notin (db)", "", True, id="sets, parted by commas in them and between them"),
        pytest.param("other notin (a)", "", True, id="a label that is not there is in no set"),
        pytest.param("!app", "", False, id="a label must be absent"),
        pytest.param("", "metadata.name=p,spec.nodeName!=other", True, id="fields"),
        pytest.param("", "status.phase=Running", False, id="a field that is not set"),
        pytest.param("", "status.phase=", True, id="a field that must not be set"),
    ],
)
def test_selectors(labels: str, fields: str, matches: bool) -> None:
    assert matcher(PODS, labels, fields)(BODY) is matches


@pytest.mark.parametrize(("labels", "fields"), [("app in a", ""), ("=a", ""), ("", "spec.image=a"), ("", "a")])
def test_selectors_that_are_refused(labels: str, fields: str) -> None:
    with pytest.raises(StatusError) as caught:
        matcher(PODS, labels, fields)
    assert caught.value.code == 400


@pytest.mark.parametrize(
    ("path", "found"),
    [
        pytest.param(".metadata.name", ["p"], id="a field"),
        pytest.param(".metadata.absent.deeper", [], id="a field that is not there"),
        pytest.param('.status.conditions[?(@.type=="Ready")].status', ["True"], id="the item of a type"),
        pytest.param(".status.conditions[*].type", ["Ready", "Other"], id="all items"),
        pytest.param(".status.conditions[-1].type", ["Other"], id="the last item"),
        pytest.param(".status.conditions[7].type", [], id="an item that is not there"),
        pytest.param(".metadata.labels['app']", ["a"], id="a quoted key"),
    ],
)
def test_jsonpath(path: str, found: list[Any]) -> None:
    assert jsonpath.find(BODY, path) == found


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(-5, "0s"), (119, "119s"), (120, "2m"), (185, "3m5s"), (600, "10m")],
        *[(10800, "3h"), (11100, "3h5m"), (36000, "10h")],
        *[(172800, "2d"), (180000, "2d2h"), (864000, "10d"), (63072000, "2y0d")],
    ],
)
def test_ages_read_as_kubectl_prints_them(seconds: int, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text
