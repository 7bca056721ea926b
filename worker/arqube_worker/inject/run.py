"""Runs the worker with the packages of the image it was injected into: ``python run.py SETTINGS``.

This file, ``compatibility`` and ``termination`` are readable for Python 3.6 and newer, to be able to say what is wrong.
"""

import sys
import traceback
from pathlib import Path


def main() -> None:
    """Run the command ``arqube-worker``, or end with the reason why it cannot run here."""
    folder = Path(__file__).resolve().parent
    own, missing = str(folder / "own"), str(folder / "missing")
    # This folder itself, which Python puts first, is no place of modules.
    sys.path[:] = [own] + [path for path in sys.path if path not in (str(folder), own, missing)] + [missing]
    from arqube_worker.inject import compatibility

    problem = compatibility.problem(sys.version_info[:3], sys.path)
    if problem is not None:
        compatibility.refuse(problem)
    from arqube_worker import __main__

    try:
        __main__.main()
    except ImportError as error:  # Errors of the app's modules are told apart by the command itself.
        traceback.print_exc()
        compatibility.refuse(f"its packages do not go with it: {error}")


if __name__ == "__main__":  # Processes that the app starts by `spawn` import this file again.
    main()
