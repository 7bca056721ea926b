"""The page that tells every field of a TaskQueue, made from its CRD.

``python -m arqube_operator.api.reference`` writes it; with ``--check`` it tells that it differs and exits with 1.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.api.rules import VALIDATIONS

_REPOSITORY: Final = Path(__file__).resolve().parents[3]
_FILE: Final = Path("docs/reference/taskqueue.md")
_HEADER: Final = """\
<!-- Made from the CRD by `python -m arqube_operator.api.reference`; do not edit. -->
# TaskQueue

`arqube.dev/v1alpha1`, kind `TaskQueue`, short name `tq`, namespaced. {description}

`kubectl explain taskqueue.spec --recursive` tells the same on a cluster. A field without a default may be left out
unless it is required.
"""


def page() -> str:
    """The page as Markdown."""
    schema = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    parts = [_HEADER.format(description=schema["description"])]
    for name in ("spec", "status"):
        parts += _sections(name, schema["properties"][name])
    return "\n".join(parts)


def _sections(path: str, schema: dict[str, Any]) -> Iterator[str]:
    """The section of the object at ``path``, and those of the objects in it."""
    level = min(2 + path.count("."), 4)
    rules = [f"- {rule['message']}\n" for rule in schema.get(VALIDATIONS, ())]
    required = set(schema.get("required", ()))
    rows = [_row(name, field, name in required) for name, field in schema["properties"].items()]
    yield f"{'#' * level} {path}\n"
    if "description" in schema:
        yield f"{schema['description']}\n"
    if rules:
        yield f"Rules:\n\n{''.join(rules)}"
    yield "| field | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows)
    for name, field in schema["properties"].items():
        inner = field.get("items", field)
        if "properties" in inner:
            yield from _sections(f"{path}.{name}{'[]' if 'items' in field else ''}", inner)


def _row(name: str, field: dict[str, Any], required: bool) -> str:
    default = "required" if required else ""
    if "default" in field:  # an object's is that of its fields
        default = "as below" if "properties" in field else f"`{json.dumps(field['default'])}`"
    cells = (f"`{name}`", _type(field), default, " ".join((field.get("description", ""), *_bounds(field))).strip())
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _type(field: dict[str, Any]) -> str:
    if field.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    return str(field.get("type", "any"))


def _bounds(field: dict[str, Any]) -> Iterator[str]:
    """What the value must be, in words; a pattern is left to the message of its rule, or stands as it is."""
    if "enum" in field:
        yield f"One of {', '.join(f'`{value}`' for value in field['enum'])}."
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        yield f"From {low} to {high}."
    elif low is not None or high is not None:
        yield f"At least {low}." if low is not None else f"At most {high}."
    messages = [rule["message"] for rule in field.get(VALIDATIONS, ()) if "properties" not in field]
    yield from (f"It {message}." for message in messages)
    if "pattern" in field and not messages:
        yield f"It matches `{field['pattern']}`."


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or with ``--check`` compare it; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m arqube_operator.api.reference", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit with 1 when the page is not up to date"
    )
    parser.add_argument("--root", type=Path, default=_REPOSITORY, help="top folder of the repository")
    options = parser.parse_args(arguments)
    file: Path = options.root / _FILE
    text = page()
    if options.check:
        if not file.exists() or file.read_text() != text:
            sys.stdout.write(f"{_FILE} is not what the CRD says; run `python -m arqube_operator.api.reference`\n")
            return 1
        return 0
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    sys.stdout.write(f"wrote {_FILE}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
