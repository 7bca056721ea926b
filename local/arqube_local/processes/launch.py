"""Become another program, after telling the reaper about oneself: ``launch.py FD PROGRAM [ARGUMENT...]``.

The process announces its own id before it becomes the program. Were that left to its parent, a parent killed in
between would leave a process nobody knows of. Run as a file under ``python -I -S``: it starts in a few milliseconds
and must import nothing beyond the standard library.
"""

from __future__ import annotations

import contextlib
import os
import sys

CANNOT_RUN = 126
NOT_FOUND = 127
"""Exit codes as shells give them."""


def main() -> None:
    """Announce this process, then replace it."""
    announce, program = int(sys.argv[1]), sys.argv[2:]
    with contextlib.suppress(OSError):  # without a reaper, run all the same
        os.write(announce, b"+%d\n" % os.getpid())
    os.close(announce)
    try:
        os.execvp(program[0], program)  # noqa: S606 - running a given program is what this file is for
    except FileNotFoundError as error:
        sys.stderr.write(f"exec {program[0]}: {error.strerror}\n")
        sys.exit(NOT_FOUND)
    except OSError as error:
        sys.stderr.write(f"exec {program[0]}: {error.strerror}\n")
        sys.exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
