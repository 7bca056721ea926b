"""``kubectl apply`` refuses a wrong TaskQueue, naming the field, and takes a right one, filling in the defaults.

The corpus is ``bad_manifests.yaml`` and ``good_manifests.yaml`` beside this file, where its form is told. Three read
it: the operator's models, the fake API server and a real one. Only the last knows CEL and what stood before.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from arqube_operator.api.v1alpha1 import InvalidTaskQueueError, TaskQueue

FOLDER = Path(__file__).parent
BAD: dict[str, Any] = yaml.safe_load((FOLDER / "bad_manifests.yaml").read_text())
GOOD: dict[str, Any] = yaml.safe_load((FOLDER / "good_manifests.yaml").read_text())

Kubectl = Callable[..., subprocess.CompletedProcess[str]]


def merged(base: Any, patch: Any) -> Any:
    """``base`` after the JSON merge patch ``patch`` (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(base) if isinstance(base, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def cases(corpus: Mapping[str, Any], *refused: str) -> list[Any]:
    chosen = (case for case in corpus["cases"] if not refused or case["refused"] in refused)
    return [pytest.param(case, id=case["name"]) for case in chosen]


def manifest(corpus: Mapping[str, Any], case: Mapping[str, Any], part: str = "patch") -> dict[str, Any]:
    result: dict[str, Any] = merged(corpus["base"], case[part])
    return result


@pytest.fixture
def kubectl(api: Any) -> Iterator[Kubectl]:
    """kubectl against the server in turn; what it applied is deleted afterwards."""
    applied: list[Mapping[str, Any]] = []

    def run(*arguments: str, body: Mapping[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
        done: subprocess.CompletedProcess[str] = api.kubectl(*arguments, body=body)
        if body is not None and done.returncode == 0:
            applied.append(body)
        return done

    yield run
    for name in {body["metadata"]["name"] for body in applied}:
        api.kubectl("delete", "taskqueue", name)


def apply(kubectl: Kubectl, body: Mapping[str, Any]) -> None:
    done = kubectl("apply", "-f", "-", body=body)
    assert done.returncode == 0, done.stderr


def assert_refused(kubectl: Kubectl, case: Mapping[str, Any]) -> str:
    """Apply the case's manifest; the message it was refused with."""
    if "before" in case:
        apply(kubectl, manifest(BAD, case, "before"))
    done = kubectl("apply", "-f", "-", body=manifest(BAD, case))
    assert done.returncode == 1, f"it was accepted: {done.stdout}"
    assert case["field"] in done.stderr
    if "evaluating rule" not in case["message"]:
        assert "evaluating rule" not in done.stderr, "a rule must not stumble over what another one refuses"
    return done.stderr


def test_the_corpus_is_large_and_its_names_are_unique() -> None:
    names = [case["name"] for case in (*BAD["cases"], *GOOD["cases"])]
    assert len(BAD["cases"]) >= 35
    assert len(names) == len(set(names))
    assert {case["refused"] for case in BAD["cases"]} == {"schema", "rule", "server", "models"}


@pytest.mark.parametrize("case", cases(BAD, "schema", "rule", "models"))
def test_the_models_refuse(case: Mapping[str, Any]) -> None:
    with pytest.raises(InvalidTaskQueueError) as caught:
        TaskQueue.from_object(manifest(BAD, case))
    assert case["field"] in str(caught.value)
    assert len(caught.value.problems) == 1, "one mistake is told once"


@pytest.mark.parametrize("case", cases(GOOD))
def test_the_models_accept(case: Mapping[str, Any]) -> None:
    body = manifest(GOOD, case)
    assert TaskQueue.from_object(body).metadata.name == body["metadata"]["name"]


@pytest.mark.parametrize("case", cases(BAD, "schema"))
def test_every_server_refuses_what_breaks_the_schema(kubectl: Kubectl, api: Any, case: Mapping[str, Any]) -> None:
    told = assert_refused(kubectl, case)
    if api.kind == "real":
        assert case["message"] in told


@pytest.mark.parametrize("case", cases(BAD, "rule", "server"))
def test_a_real_server_refuses_what_breaks_a_rule(kubectl: Kubectl, api: Any, case: Mapping[str, Any]) -> None:
    if api.kind != "real":
        pytest.skip("only a real API server knows CEL and what stood before")
    assert case["message"] in assert_refused(kubectl, case)


@pytest.mark.parametrize("case", cases(GOOD))
def test_every_server_accepts_and_fills_in_the_defaults(kubectl: Kubectl, case: Mapping[str, Any]) -> None:
    if "before" in case:
        apply(kubectl, manifest(GOOD, case, "before"))
    body = manifest(GOOD, case)
    apply(kubectl, body)
    read = kubectl("get", "taskqueue", body["metadata"]["name"], "-o", "json")
    stored = json.loads(read.stdout)
    assert merged(stored["spec"], case["stored"]) == stored["spec"]
    for path in case.get("absent", ()):
        parent, _, field = f".{path}".rpartition(".")
        holder = stored["spec"]
        for name in filter(None, parent.split(".")):
            holder = holder[name]
        assert field not in holder
    assert TaskQueue.from_object(stored).spec.queue_name == stored["spec"]["queueName"]
