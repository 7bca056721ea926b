"""The CustomResourceDefinition, made from the models, and the files that hold it.

``python -m arqube_operator.api.crd`` writes the files; with ``--check`` it tells where they differ and exits with 1.

Source of the form: "structural schemas" of Kubernetes' apiextensions.k8s.io/v1: no ``$ref``, no ``null`` among types,
no ``additionalProperties: false``.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from arqube_operator.api.rules import VALIDATIONS
from arqube_operator.api.v1alpha1 import GROUP, KIND, VERSION, TaskQueue

PLURAL: Final = "taskqueues"
NAME: Final = f"{PLURAL}.{GROUP}"

_REPOSITORY: Final = Path(__file__).resolve().parents[3]
_PLAIN_FILE: Final = Path("crds") / f"{NAME}.yaml"
_CHART_FILE: Final = Path("charts/arqube/templates/crds") / f"{NAME}.yaml"
_HEADER: Final = "# Made from the models in operator/arqube_operator/api/v1alpha1 by `make generated`; do not edit.\n"
_KEEP_ANNOTATION: Final = """\
  {{- if .Values.crds.keep }}
  annotations:
    helm.sh/resource-policy: keep
  {{- end }}
"""
_COLUMNS: Final = (
    ("Waiting", "integer", ".status.queue.waiting"),
    ("Running", "integer", ".status.queue.running"),
    ("Desired", "integer", ".status.desiredReplicas"),
    ("Ready", "integer", ".status.readyReplicas"),
    ("Oldest Wait", "string", ".status.queue.oldestWait"),
    ("Reason", "string", ".status.scaling.reason"),
    ("Age", "date", ".metadata.creationTimestamp"),
)
_WIDE_COLUMNS: Final = (
    ("Min", "integer", ".spec.scaling.minReplicas"),
    ("Max", "integer", ".spec.scaling.maxReplicas"),
    ("Max Wait", "string", ".spec.scaling.maxWait"),
    ("Paused", "string", ".spec.scaling.paused"),
    ("Limit", "string", ".status.scaling.limit"),
    ("Retiring", "integer", ".status.scaling.retiring"),
)
"""Shown by ``kubectl get -o wide`` alone."""
_TYPE_META: Final = {
    "apiVersion": "Group and version of the object's form.",
    "kind": "What the object is.",
}


def custom_resource_definition() -> dict[str, Any]:
    """The CRD of TaskQueue as an object of apiextensions.k8s.io/v1."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["tq"],
                "categories": ["all"],
            },
            "scope": "Namespaced",
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "additionalPrinterColumns": [
                        *({"name": name, "type": kind, "jsonPath": path} for name, kind, path in _COLUMNS),
                        *(
                            {"name": name, "type": kind, "jsonPath": path, "priority": 1}
                            for name, kind, path in _WIDE_COLUMNS
                        ),
                    ],
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.replicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "schema": {"openAPIV3Schema": _root_schema()},
                }
            ],
        },
    }


def _root_schema() -> dict[str, Any]:
    """The schema of the whole object: what Kubernetes itself defines of it is only named."""
    described = TaskQueue.model_json_schema(by_alias=True)
    root = _structural(described, described["$defs"])
    own = {name: root["properties"][name] for name in ("spec", "status")}
    standard = {name: {"type": "string", "description": text} for name, text in _TYPE_META.items()}
    return {
        "description": root["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {**standard, "metadata": {"type": "object"}, **own},
        VALIDATIONS: root[VALIDATIONS],
    }


def _structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``schema`` as pydantic writes it, in Kubernetes' form; ``definitions`` are what its ``$ref`` point to."""
    result: dict[str, Any] = {}
    for keyword, value in sorted(_inlined(schema, definitions).items()):
        if keyword == "properties":
            result[keyword] = {name: _structural(item, definitions) for name, item in value.items()}
        elif keyword == "items":
            result[keyword] = _structural(value, definitions)
        elif keyword == "additionalProperties":
            if value is True:
                result["x-kubernetes-preserve-unknown-fields"] = True
            elif value is not False:
                result[keyword] = _structural(value, definitions)
        elif keyword == "default":
            if value not in (None, []):  # Neither says more than an absent field.
                result[keyword] = _without_nulls(value)
        elif keyword == "description":
            result[keyword] = " ".join(value.split())
        elif keyword not in ("title", "$defs"):
            result[keyword] = value
    return result


def _inlined(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """``schema`` with what it refers to, or is optional around, in it; its own keywords go before those."""
    own = dict(schema)
    if "$ref" in own:
        target = definitions[own.pop("$ref").rpartition("/")[2]]
    elif "anyOf" in own:
        (target,) = (option for option in own.pop("anyOf") if option != {"type": "null"})
    else:
        return own
    return {**_inlined(target, definitions), **own}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item not in (None, [])}
    return value


class _PlainDumper(yaml.SafeDumper):
    """Writes a value that stands in several places out in each: aliases are hard on readers and diffs."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def crd_files() -> dict[Path, str]:
    """Each file that holds the CRD, by its path in the repository, with its text."""
    body = yaml.dump(custom_resource_definition(), Dumper=_PlainDumper, sort_keys=False, width=120)
    if "{{" in body:
        raise ValueError("the CRD holds '{{', which Helm would read as a template; reword the pattern or description")
    chart_body = body.replace("metadata:\n", f"metadata:\n{_KEEP_ANNOTATION}", 1)
    return {
        _PLAIN_FILE: _HEADER + body,
        _CHART_FILE: f"{_HEADER}{{{{- if .Values.crds.install }}}}\n{chart_body}{{{{- end }}}}\n",
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or with ``--check`` compare them; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m arqube_operator.api.crd", description="Write the TaskQueue's CRD.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is not up to date")
    parser.add_argument("--root", type=Path, default=_REPOSITORY, help="top folder of the repository")
    options = parser.parse_args(arguments)
    stale = False
    for path, text in crd_files().items():
        file = options.root / path
        present = file.read_text() if file.exists() else ""
        if present == text:
            continue
        if options.check:
            stale = True
            sys.stdout.write(f"{path} is not what the models say; run `make generated`\n")
            sys.stdout.writelines(
                difflib.unified_diff(present.splitlines(True), text.splitlines(True), "in the file", "from the models")
            )
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            sys.stdout.write(f"wrote {path}\n")
    return int(stale)


if __name__ == "__main__":
    raise SystemExit(main())
