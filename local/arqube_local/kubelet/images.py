"""Which container images this machine can stand in for."""

from __future__ import annotations

from typing import Final

UNREACHABLE_DOMAIN: Final = ".invalid"
"""RFC 2606: no such host can ever exist, so a pull from it fails here as it would on a cluster."""


def pull_error(image: str) -> str | None:
    """Why ``image`` cannot be pulled; None where this machine stands in for it."""
    registry, slash, _ = image.partition("/")
    host = registry.partition(":")[0]
    if slash and host.endswith(UNREACHABLE_DOMAIN):
        return f'failed to pull and unpack image "{image}": dial tcp: lookup {host}: no such host'
    return None
