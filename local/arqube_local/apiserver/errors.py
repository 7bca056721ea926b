"""Refusals as the API server words them: HTTP status, reason, message, and for bad fields their causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arqube_local.apiserver.kinds import Kind


@dataclass(frozen=True, slots=True)
class Cause:
    """What is wrong with one field: ``spec.replicas``, ``Invalid value: -1: ...``, ``FieldValueInvalid``."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"


class StatusError(Exception):
    """An answer other than success."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def to_object(self) -> dict[str, Any]:
        """The ``v1.Status`` that tells of it."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({"details": self.details} if self.details else {}),
            "code": self.code,
        }


def bad_request(message: str) -> StatusError:
    """400."""
    return StatusError(400, "BadRequest", message)


def not_found(kind: Kind, name: str) -> StatusError:
    """404 for an object."""
    return StatusError(404, "NotFound", f'{kind.qualified} "{name}" not found', _details(kind, name))


def no_such_path() -> StatusError:
    """404 for a path that leads nowhere."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def already_exists(kind: Kind, name: str) -> StatusError:
    """409 for a name that is taken."""
    return StatusError(409, "AlreadyExists", f'{kind.qualified} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> StatusError:
    """409 for a change that stands on an old version."""
    message = f'Operation cannot be fulfilled on {kind.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, _details(kind, name))


def modified_meanwhile(kind: Kind, name: str) -> StatusError:
    """409 for a resourceVersion that is not the newest."""
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(kind, name, why)


def expired(version: int, oldest: int) -> StatusError:
    """410 for a resourceVersion of which the changes are no longer known."""
    return StatusError(410, "Expired", f"too old resource version: {version} ({oldest})")


def unsupported_media(kind: str, accepted: Sequence[str]) -> StatusError:
    """415."""
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format ({kind}) - accepted media types include: {listed}"
    return StatusError(415, "UnsupportedMediaType", message)


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 naming every bad field."""
    told = [f"{cause.field}: {cause.message}" for cause in causes]
    listed = told[0] if len(told) == 1 else f"[{', '.join(told)}]"
    details = _details(kind, name)
    details["causes"] = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    described = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return StatusError(422, "Invalid", f'{described} "{name}" is invalid: {listed}', details)


def _details(kind: Kind, name: str) -> dict[str, Any]:
    return {"name": name, **({"group": kind.group} if kind.group else {}), "kind": kind.plural}
