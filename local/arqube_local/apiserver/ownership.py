"""Who owns which field: managedFields after each write, and what server-side apply takes, keeps, drops and refuses.

Follows sigs.k8s.io/structured-merge-diff (``merge/update.go``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from arqube_local.apiserver.errors import StatusError
from arqube_local.apiserver.fieldset import (
    Path,
    differing_leaves,
    dotted,
    from_fields_v1,
    leaves,
    to_fields_v1,
    without,
)
from arqube_local.apiserver.kinds import Kind
from arqube_local.apiserver.merging import applied
from arqube_local.apiserver.shape import Shape, shape_of

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Manager:
    """One row of managedFields, but for what it owns: a writer in one way of writing."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def describe(self) -> str:
        """As a conflict names it."""
        through = f' with subresource "{self.subresource}"' if self.subresource else ""
        version = f" using {self.api_version}" if self.operation == "Update" else ""
        return f'conflict with "{self.name}"{through}{version}'


@dataclass(frozen=True, slots=True)
class _Share:
    """``row`` is what the object shows of it, where that is known; it is as good as the rest, and costs to make."""

    paths: frozenset[Path]
    time: str
    row: Mapping[str, Any] | None = None

    def without(self, fields: set[Path]) -> _Share:
        """What is left to the manager when ``fields`` are no longer its own."""
        return self if self.paths.isdisjoint(fields) else _Share(self.paths - fields, self.time)


_Shares = dict[Manager, _Share]


def tracked(live: Body | None, new: Body, kind: Kind, manager: Manager, now: str) -> dict[str, Any]:
    """``new`` with managedFields after a create, update or patch that made it of ``live``."""
    shape = shape_of(kind)
    before, after = differing_leaves(live or {}, new, shape)
    touched = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = set(before.keys() - after.keys())
    shares = _shares(live)
    if manager.subresource == "scale" and not any(touched & share.paths for share in shares.values()):
        return _with(new, shares)  # Kubernetes keeps no record of a Scale that nobody owned before.
    for other, share in shares.items():
        shares[other] = share.without(gone | touched if other != manager else gone)
    own = shares.get(manager, _Share(frozenset(), now))
    shares[manager] = own if touched <= own.paths else _Share(own.paths | touched, now)
    return _with(new, shares)


def apply(live: Body | None, config: Body, kind: Kind, manager: Manager, *, force: bool, now: str) -> dict[str, Any]:
    """``live`` after a server-side apply of ``config``, with managedFields.

    Raises:
        StatusError: 409, another manager owns a field with another value, and ``force`` is not set.
    """
    shape = shape_of(kind)
    shares = _shares(live)
    wanted = leaves(config, shape)
    last = shares.pop(manager, _Share(frozenset(), now))
    own = frozenset(wanted)
    merged = applied(live or {}, config, shape)
    kept = own.union(*(share.paths for share in shares.values()))
    merged = without(merged, shape, last.paths - kept, kept)
    shares = _yielded(live, merged, shape, shares, own, force=force)
    shares[manager] = last if own == last.paths else _Share(own, now)
    return _with(merged, shares)


def _yielded(
    live: Body | None, merged: Body, shape: Shape, shares: _Shares, own: frozenset[Path], *, force: bool
) -> _Shares:
    """What the other managers are left with."""
    before, after = differing_leaves(live or {}, merged, shape)
    changed = {path for path in own if path in after and (path not in before or before[path] != after[path])}
    gone = before.keys() - after.keys()
    conflicts = {other: share.paths & changed for other, share in shares.items() if share.paths & changed}
    if conflicts and not force:
        raise _conflict(conflicts)
    return {other: share.without(changed | gone) for other, share in shares.items()}


def _conflict(conflicts: Mapping[Manager, frozenset[Path]]) -> StatusError:
    causes = [
        {"reason": "FieldManagerConflict", "message": manager.describe(), "field": dotted(path)}
        for manager, paths in conflicts.items()
        for path in sorted(paths)
    ]
    number = f"{len(causes)} conflict" + ("s" if len(causes) > 1 else "")
    told = "; ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    return StatusError(409, "Conflict", f"Apply failed with {number}: {told}", {"causes": causes})


def _shares(live: Body | None) -> _Shares:
    rows = (live or {}).get("metadata", {}).get("managedFields") or ()
    return {
        Manager(row["manager"], row["operation"], row["apiVersion"], row.get("subresource", "")): _Share(
            from_fields_v1(row["fieldsV1"]), row["time"], row
        )
        for row in rows
    }


def _with(body: Body, shares: _Shares) -> dict[str, Any]:
    rows = [share.row or _row(manager, share) for manager, share in shares.items() if share.paths]
    return {**body, "metadata": {**body["metadata"], "managedFields": rows}}


def _row(manager: Manager, share: _Share) -> dict[str, Any]:
    return {
        "manager": manager.name,
        "operation": manager.operation,
        "apiVersion": manager.api_version,
        "time": share.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_fields_v1(share.paths),
        **({"subresource": manager.subresource} if manager.subresource else {}),
    }
