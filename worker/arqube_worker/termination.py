"""The one line that a worker leaves behind when it cannot run, where Kubernetes and the operator read it.

Readable for Python 3.6 and newer: ``arqube_worker.inject`` tells by it of a Python that is too old for the rest.
"""

import os
import re

VARIABLE = "ARQUBE_TERMINATION_LOG"
"""Names the file; ``arqube_queue.environment.TERMINATION_LOG`` for those who cannot import that."""
LIMIT = 1000
"""Characters; Kubernetes takes 4096 bytes."""

_USER_INFO = re.compile(r"//[^/\s@]*@")


class Stopped(SystemExit):
    """The process was asked to stop before there was anything to stop: no error of whoever was interrupted."""


def report(message: str) -> None:
    """Write the message's first line, without the passwords of URLs: it will be seen in the TaskQueue's status."""
    path = os.environ.get(VARIABLE)
    if not path:
        return
    line = _USER_INFO.sub("//***@", message.strip().partition("\n")[0])[:LIMIT]
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - as short as it can be
            file.write(line)
    except OSError:  # The message stands on stderr too.
        pass
