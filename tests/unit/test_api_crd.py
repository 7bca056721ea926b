"""The CRD: made from the models, in Kubernetes' form, the same in every file that holds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from arqube_operator.api.crd import crd_files, custom_resource_definition, main
from arqube_operator.api.rules import VALIDATIONS

REPOSITORY = Path(__file__).parents[2]
VERSION: dict[str, Any] = custom_resource_definition()["spec"]["versions"][0]
SCHEMA: dict[str, Any] = VERSION["schema"]["openAPIV3Schema"]
KEYWORDS = frozenset(
    {"type", "description", "default", "enum", "pattern", "format", "properties", "required"}
    | {"items", "minItems", "maxItems", "additionalProperties", "maxProperties"}
    | {"minimum", "maximum", "minLength", "maxLength"}
    | {f"x-kubernetes-{name}" for name in ("list-type", "list-map-keys", "map-type")}
    | {"x-kubernetes-preserve-unknown-fields", VALIDATIONS}
)
"""What the models are expected to need of a structural schema."""
CREATION: dict[str, Any] = {"properties": {"creationTimestamp": {"type": "string"}}}
"""What Kubernetes itself defines of the metadata that a column shows."""


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema within ``schema``, itself first, with its path."""
    yield path, schema
    for name, item in schema.get("properties", {}).items():
        yield from parts(item, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield from parts(schema[keyword], f"{path}[]")


@pytest.mark.parametrize("path", crd_files())
def test_the_files_are_what_the_models_say(path: Path) -> None:
    assert (REPOSITORY / path).read_text() == crd_files()[path], "run `make generated`"


def test_the_plain_file_holds_the_crd() -> None:
    plain = next(text for path, text in crd_files().items() if path.parts[0] == "crds")
    assert yaml.safe_load(plain) == custom_resource_definition()


def test_the_file_of_the_chart_is_the_same_but_for_what_helm_decides() -> None:
    plain, chart = crd_files().values()
    added = [line for line in chart.splitlines() if line not in plain.splitlines()]
    assert added == [
        "{{- if .Values.crds.install }}",
        "  {{- if .Values.crds.keep }}",
        "  annotations:",
        "    helm.sh/resource-policy: keep",
        "  {{- end }}",
        "{{- end }}",
    ]


def test_writing_then_checking_finds_no_difference(tmp_path: Path) -> None:
    assert main(["--root", str(tmp_path)]) == 0
    assert main(["--check", "--root", str(tmp_path)]) == 0


def test_checking_shows_what_differs_and_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--root", str(tmp_path)])
    file = tmp_path / "crds" / "taskqueues.arqube.dev.yaml"
    edited = file.read_text().replace("maximum: 1000\n", "maximum: 2000\n")
    file.write_text(edited)
    capsys.readouterr()
    assert main(["--check", "--root", str(tmp_path)]) == 1
    told = capsys.readouterr().out
    assert "crds/taskqueues.arqube.dev.yaml is not what the models say; run `make generated`" in told
    assert "maximum: 2000\n+" in told
    assert "charts" not in told
    assert file.read_text() == edited


def test_checking_tells_of_a_missing_file(tmp_path: Path) -> None:
    assert main(["--check", "--root", str(tmp_path)]) == 1


def test_every_part_is_structural() -> None:
    for path, schema in parts(SCHEMA):
        assert schema.keys() <= KEYWORDS, path
        assert isinstance(schema["type"], str), path
        assert schema.get("additionalProperties") is not False, path


def test_every_field_is_described_by_sentences() -> None:
    undescribed = [path for path, schema in parts(SCHEMA) if not schema.get("description", "").endswith(".")]
    assert [path for path in undescribed if not path.endswith("[]")] == [".metadata"]


def test_everything_a_rule_may_read_is_bounded() -> None:
    """CEL's cost is estimated from the bounds; without them the API server refuses the CRD."""
    for path, schema in parts(SCHEMA["properties"]["spec"]):
        if schema["type"] == "string" and "annotations" not in path:
            assert "maxLength" in schema or "enum" in schema, path
        if schema["type"] == "array":
            assert "maxItems" in schema, path
        if "additionalProperties" in schema:
            assert "maxProperties" in schema, path


def test_rules_tell_what_to_do_and_point_to_fields_that_are_there() -> None:
    rules = [(schema, rule) for _, schema in parts(SCHEMA) for rule in schema.get(VALIDATIONS, ())]
    assert len(rules) > 20
    for schema, rule in rules:
        assert rule["message"][0].islower()
        for name in filter(None, rule.get("fieldPath", "").split(".")):
            schema = schema["properties"][name]


def test_kubectl_shows_the_queue_at_a_glance() -> None:
    columns = VERSION["additionalPrinterColumns"]
    always = [column["name"] for column in columns if "priority" not in column]
    assert always == ["Waiting", "Running", "Desired", "Ready", "Oldest Wait", "Reason", "Age"]
    wide = [column["name"] for column in columns if column.get("priority") == 1]
    assert wide == ["Min", "Max", "Max Wait", "Paused", "Limit", "Retiring"]
    for column in columns:
        schema = {**SCHEMA, "properties": {**SCHEMA["properties"], "metadata": CREATION}}
        for name in column["jsonPath"].strip(".").split("."):
            schema = schema["properties"][name]
        assert column["type"] in (schema["type"], "date")


def test_kubectl_scale_and_autoscalers_find_their_fields() -> None:
    for path in VERSION["subresources"]["scale"].values():
        _, part, name = path.split(".")
        assert name in SCHEMA["properties"][part]["properties"]
    assert VERSION["subresources"]["status"] == {}
