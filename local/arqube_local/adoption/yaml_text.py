"""Writes drafts as YAML, with the reason of each value as a comment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import yaml

from arqube_local.adoption.draft import Choice, Draft

_COLUMN: Final = 48
"""Where comments begin, if the line is not longer."""
_WIDEST: Final = 110


def manifest(drafts: Iterable[Draft]) -> str:
    """One document for each draft."""
    return "---\n".join("\n".join(_lines(draft)) + "\n" for draft in drafts)


def duration(seconds: float) -> str:
    """As the TaskQueue's durations are written: ``90s``, ``5m``, ``2h``."""
    whole = -int(-seconds // 1)  # a part of a second more does no harm
    for size, unit in ((3600, "h"), (60, "m")):
        if whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"


def _lines(draft: Draft) -> list[str]:
    lines = [
        "# Written by arqube init: look at what a comment calls CHANGE, then kubectl apply -f this file.",
        "apiVersion: arqube.dev/v1alpha1",
        "kind: TaskQueue",
        "metadata:",
        f"  name: {_scalar(draft.name)}",
        "spec:",
        _field("  queueName", draft.queue),
        "  redis:",
        _field("    host", draft.host),
    ]
    lines += [_field("    port", draft.port)] if draft.port else []
    lines += [_field("    database", draft.database)] if draft.database else []
    lines += [
        "    # passwordFrom: {name: redis, key: password}   # where Redis asks for one",
        "  worker:",
        _field("    image", draft.image),
        _field("    settings", draft.settings),
        _field("    concurrency", draft.concurrency),
        "    podTemplate:",
        "      spec:",
    ]
    if draft.user:
        lines += [
            "        securityContext:",
            _field("          runAsUser", draft.user),
            f"          runAsGroup: {_scalar(draft.user.value)}",
        ]
    lines += [
        "        containers:",
        "          - name: worker",
        *_environment(draft),
        "            resources:  # a start: set what the pods are seen to use",
        "              requests: {cpu: 100m, memory: 256Mi}",
        "              limits: {memory: 512Mi}",
        "  scaling:",
        "    minReplicas: 0  # no pods without work; deferred jobs and cron runs find a worker when they are due",
        "    maxReplicas: 10",
        "    maxWait: 30s  # a due job starts within this time",
        "  shutdown:",
        _field("    timeout", Choice(duration(draft.shutdown_s.value), draft.shutdown_s.why)),
    ]
    return lines


def _environment(draft: Draft) -> list[str]:
    indent = " " * 12
    lines = [f"{indent}# {hint}" for hint in draft.hints]
    if draft.env:
        lines.append(f"{indent}env:")
        for name, choice in draft.env.items():
            entry = f"{indent}  - {{name: {_scalar(name)}, value: {_quoted(choice.value)}}}"
            lines.append(_explained(entry, choice.why))
    if draft.secret:
        lines.append(f"{indent}envFrom:")
        lines.append(_explained(f"{indent}  - secretRef: {{name: {_scalar(draft.secret.value)}}}", draft.secret.why))
    return lines


def _field(name: str, choice: Choice) -> str:
    return _explained(f"{name}: {_scalar(choice.value)}", choice.why)


def _explained(line: str, why: str) -> str:
    """The line with its comment behind it, or above it where both together are too long."""
    together = f"{line:<{_COLUMN}}  # {why}"
    return together if len(together) <= _WIDEST else f"{' ' * (len(line) - len(line.lstrip()))}# {why}\n{line}"


def _scalar(value: Any) -> str:
    """``value`` in one line of YAML, quoted where it must be."""
    text: str = yaml.safe_dump(value, width=10_000, default_flow_style=True)
    return text.removesuffix("...\n").strip()


def _quoted(value: Any) -> str:
    """A string within braces: a variable's value is one even where it looks like a number."""
    text: str = yaml.safe_dump(str(value), width=10_000, default_style='"')
    return text.strip()
