"""The definition of TaskQueues has only gained since each release: what was valid is, and means the same."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.upgrades.crd_changes import breaking_changes

from arqube_operator.api.crd import custom_resource_definition

RECORDED = Path(__file__).parent / "recorded"
RELEASES: list[str] = [
    each["version"] for each in yaml.safe_load(Path(__file__).with_name("releases.yaml").read_text())
]
LATEST = json.loads((RECORDED / RELEASES[0] / "definition.json").read_text())

Part = dict[str, Any]

NEVER_WORKED = {
    "0.1.0": [
        'v1alpha1: spec.queueName: the rule "!self.matches('
        "'^(arqube:|arq:(abort$|(job|in-progress|retry|result):))')\" is new",
    ],
}
"""What is refused now and a release took, which could run no job and harmed others: see docs/upgrading.md."""


@pytest.mark.parametrize("version", RELEASES)
def test_nothing_that_a_release_took_is_refused_now(version: str) -> None:
    released = json.loads((RECORDED / version / "definition.json").read_text())

    assert breaking_changes(released, custom_resource_definition()) == NEVER_WORKED.get(version, [])


def served(definition: Part) -> Part:
    (version,) = definition["spec"]["versions"]
    found: Part = version
    return found


def at(definition: Part, *path: str) -> Part:
    """The schema of a field."""
    schema = served(definition)["schema"]["openAPIV3Schema"]
    for name in path:
        schema = schema["items"] if name == "[]" else schema["properties"][name]
    found: Part = schema
    return found


SPEC = ("spec",)
SCALING = ("spec", "scaling")
CONCURRENCY = ("spec", "worker", "concurrency")
SETTINGS = ("spec", "worker", "settings")
WINDOW = ("spec", "scaling", "schedules", "[]")
NEW_RULE = [{"rule": "self.minReplicas > 0", "message": "no zero"}]

VIOLATIONS: dict[str, tuple[Callable[[Part], object], str]] = {
    "a field is removed": (lambda it: at(it, *SCALING)["properties"].pop("maxWait"), "spec.scaling.maxWait: is gone"),
    "a field of the status is removed": (
        lambda it: at(it, "status")["properties"].pop("queue"),
        "status.queue: is gone",
    ),
    "a field has another type": (
        lambda it: at(it, *CONCURRENCY).update(type="string"),
        "spec.worker.concurrency: type 'integer' became 'string'",
    ),
    "a least value is raised": (
        lambda it: at(it, *CONCURRENCY).update(minimum=2),
        "spec.worker.concurrency: minimum 1 became 2",
    ),
    "a largest value is lowered": (
        lambda it: at(it, *CONCURRENCY).update(maximum=3),
        "spec.worker.concurrency: maximum 1000 became 3",
    ),
    "a length is limited": (
        lambda it: at(it, *SETTINGS).update(maxLength=3),
        "spec.worker.settings: maxLength 500 became 3",
    ),
    "a value of a choice is gone": (
        lambda it: at(it, "spec", "worker", "runtime").update(enum=["inject"]),
        "spec.worker.runtime: enum no longer allows 'image'",
    ),
    "a field may only be some values": (
        lambda it: at(it, *SETTINGS).update(enum=["a.B"]),
        "spec.worker.settings: enum no longer allows ",
    ),
    "a field must be given": (
        lambda it: at(it, *SCALING).update(required=["maxReplicas"]),
        "spec.scaling: maxReplicas became required",
    ),
    "a new field must be given": (
        lambda it: at(it, *SPEC).update(required=["redis", "worker", "region"]),
        "spec: region became required",
    ),
    "a rule is new": (
        lambda it: at(it, *SCALING).update({"x-kubernetes-validations": NEW_RULE}),
        "spec.scaling: the rule 'self.minReplicas > 0' is new",
    ),
    "a pattern is another": (
        lambda it: at(it, "spec", "worker", "image").update(pattern="^a"),
        r"spec.worker.image: pattern '^\\S+$' became '^a'",
    ),
    "a default is another": (
        lambda it: at(it, *CONCURRENCY).update(default=20),
        "spec.worker.concurrency: default 10 became 20",
    ),
    "a default is gone": (
        lambda it: at(it, *CONCURRENCY).pop("default"),
        "spec.worker.concurrency: default 10 became nothing",
    ),
    "an item's field is removed": (
        lambda it: at(it, *WINDOW)["properties"].pop("timeZone"),
        "spec.scaling.schedules[].timeZone: is gone",
    ),
    "unknown fields are dropped": (
        lambda it: at(it, "spec", "worker", "podTemplate", "spec").pop("x-kubernetes-preserve-unknown-fields"),
        "spec.worker.podTemplate.spec: x-kubernetes-preserve-unknown-fields True became nothing",
    ),
    "a condition is excluded": (lambda it: at(it, *SETTINGS).update({"not": {}}), "spec.worker.settings: not changed"),
    "the version is no longer served": (lambda it: served(it).update(served=False), "v1alpha1: is no longer served"),
    "the version is gone": (lambda it: it["spec"].update(versions=[]), "v1alpha1: is no longer served"),
    "another version is stored": (lambda it: served(it).update(storage=False), "storage: True became False"),
    "a subresource is gone": (lambda it: served(it)["subresources"].pop("scale"), "subresources.scale: "),
    "the scope is another": (lambda it: it["spec"].update(scope="Cluster"), "scope: 'Namespaced' became 'Cluster'"),
    "a short name is gone": (lambda it: it["spec"]["names"].update(shortNames=[]), "names.shortNames: "),
    "the kind has another name": (lambda it: it["spec"]["names"].update(kind="Queue"), "names.kind: "),
}


@pytest.mark.parametrize(("change", "told"), VIOLATIONS.values(), ids=VIOLATIONS)
def test_it_is_told_that(change: Callable[[Part], object], told: str) -> None:
    new = copy.deepcopy(LATEST)
    change(new)

    found = breaking_changes(LATEST, new)

    assert len(found) == 1, found
    assert told in found[0]


ADDITIONS: dict[str, Callable[[Part], object]] = {
    "nothing changes": lambda it: None,
    "a field is new, with a default and rules of its own": lambda it: at(it, *SPEC)["properties"].update(
        region={"type": "string", "default": "here", "x-kubernetes-validations": NEW_RULE, "maxLength": 3}
    ),
    "a least value is lowered": lambda it: at(it, *CONCURRENCY).update(minimum=0),
    "a limit is gone": lambda it: at(it, *CONCURRENCY).pop("maximum"),
    "a choice is wider": lambda it: at(it, "spec", "worker", "runtime")["enum"].append("sidecar"),
    "a field need not be given": lambda it: at(it, *SPEC).update(required=["worker"]),
    "a rule is gone": lambda it: at(it, *SCALING).pop("x-kubernetes-validations"),
    "a version is served besides": lambda it: it["spec"]["versions"].append(
        {"name": "v1", "served": True, "storage": False, "schema": {"openAPIV3Schema": {"type": "object"}}}
    ),
    "a description is another": lambda it: at(it, *CONCURRENCY).update(description="Jobs at once."),
}


@pytest.mark.parametrize("change", ADDITIONS.values(), ids=ADDITIONS)
def test_it_is_no_break_that(change: Callable[[Part], object]) -> None:
    new = copy.deepcopy(LATEST)
    change(new)

    assert breaking_changes(LATEST, new) == []
