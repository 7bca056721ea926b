"""What Kubernetes' Pod Security Standard *restricted* asks of a pod and of each of its containers."""

from __future__ import annotations

from typing import Any, Final

POD: Final[dict[str, Any]] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER: Final[dict[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
