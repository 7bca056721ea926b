"""Whether an image's Python and packages can run the worker. Readable for Python 3.6 and newer."""

import re
import sys
from typing import List, NoReturn, Optional, Tuple  # noqa: UP035 - the builtins' own are of Python 3.9

from arqube_worker import termination

EXIT_CODE = 78
"""``arqube_queue.exit_codes.INCOMPATIBLE``, which an old Python cannot import."""

OLDEST_PYTHON = (3, 10)
OLDEST = {"arq": (0, 25), "redis": (4, 2), "prometheus-client": (0, 15), "structlog": (22, 2)}
"""The oldest versions that will do, by distribution."""
BROUGHT = ("prometheus-client", "structlog")
"""What the runtime has itself, for images that have none."""


def problem(python: Tuple[int, ...], path: List[str]) -> Optional[str]:  # noqa: UP006, UP045
    """Why the worker cannot run, as one line that names the remedy; None when it can.

    Args:
        python: The version of Python.
        path: Folders of packages, as in ``sys.path``.
    """
    if python[:2] < OLDEST_PYTHON:
        return (
            f"Python {_text(python)} ({sys.executable}) is too old: it needs {_text(OLDEST_PYTHON)} or newer,"
            " so build the image on a newer one"
        )
    for name, oldest in OLDEST.items():
        found = _version(name, path)
        if found is None and name not in BROUGHT:
            return (
                f"{sys.executable} has no {name}: install it there or, if another Python of the image has it,"
                " name that one in the command of the container worker in worker.podTemplate"
            )
        if found is not None and _numbers(found) < oldest:
            return f"{name} {found} is too old: it needs {_text(oldest)} or newer, so raise it in the image"
    return None


def refuse(reason: str) -> NoReturn:
    """End the process, with the reason for people and for the operator."""
    message = f"this image cannot run arqube-worker: {reason}"
    print(message, file=sys.stderr)  # noqa: T201
    termination.report(message)
    sys.exit(EXIT_CODE)


def _version(name: str, path: List[str]) -> Optional[str]:  # noqa: UP006, UP045
    from importlib.metadata import distributions  # of Python 3.8

    return next((found.version for found in distributions(name=name, path=path)), None)


def _numbers(version: str) -> Tuple[int, ...]:  # noqa: UP006
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _text(numbers: Tuple[int, ...]) -> str:  # noqa: UP006
    return ".".join(map(str, numbers))
