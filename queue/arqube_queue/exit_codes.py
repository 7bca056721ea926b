"""Exit codes by which a worker tells the operator why it does not run."""

from __future__ import annotations

from typing import Final

SETTINGS: Final = 2
"""The command line, a setting or the environment must be put right first."""
INCOMPATIBLE: Final = 78
"""The image's Python or packages cannot run the worker: ``EX_CONFIG`` of sysexits.h."""
