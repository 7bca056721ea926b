"""Files given to ``arqube local up -f``."""

from __future__ import annotations

from pathlib import Path

import pytest

from arqube_local.apply import read_applicable
from arqube_local.manifests import ManifestError

TASK_QUEUE = "{apiVersion: arqube.dev/v1alpha1, kind: TaskQueue, metadata: {name: a}}"


def test_every_document_of_a_file_is_read_with_its_resource(tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    path.write_text(f"---\n{TASK_QUEUE}\n---\n---\n{{apiVersion: v1, kind: Secret, metadata: {{name: s}}}}\n")
    assert [(resource.plural, body["metadata"]["name"]) for resource, body in read_applicable(path)] == [
        ("taskqueues", "a"),
        ("secrets", "s"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", "expected the node content", id="no YAML"),
        pytest.param("[1]", "needs apiVersion, kind and metadata", id="no object"),
        pytest.param("{apiVersion: v1, kind: Pod, metadata: {name: p}}", "Pod .v1. is none of", id="another kind"),
        pytest.param(TASK_QUEUE.replace("name: a", ""), "metadata.name is missing", id="no name"),
    ],
)
def test_what_cannot_be_applied_is_told_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=message) as raised:
        read_applicable(path)
    assert "wrong.yaml" in str(raised.value)
