"""``python -m benchmarks.fastapi``: the FastAPI example on the laptop cluster while everything is killed.

README.md tells what is measured, and what makes it exactly one mail.
"""

from __future__ import annotations

import sys

from benchmarks.fastapi.command import command
from benchmarks.fastapi.laptop import staged

if __name__ == "__main__":
    sys.exit(command("python -m benchmarks.fastapi", __doc__, staged))
