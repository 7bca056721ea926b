"""The state folder of a laptop cluster: held by one process at a time, and telling others where the cluster is."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

LOOKS_S: Final = 1.0
"""How long a folder may be held before it counts as another cluster's: who looks at it holds it for a moment."""
POLL_S: Final = 0.01


class StateHeldError(Exception):
    """Another cluster runs on this state folder."""


@dataclass(frozen=True)
class Running:
    """A cluster that runs."""

    pid: int
    kubeconfig: str
    redis_url: str


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Own ``folder`` meanwhile. The lock goes with the process, however that ends, so nothing can be left stale.

    Raises:
        StateHeldError: Another process owns it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        deadline = time.monotonic() + LOOKS_S
        while not _locked(lock):
            if time.monotonic() > deadline:
                raise StateHeldError(f"a cluster already runs on {folder}")
            time.sleep(POLL_S)
        _file(folder).unlink(missing_ok=True)  # of a cluster that was killed
        try:
            yield
        finally:
            _file(folder).unlink(missing_ok=True)


def publish(folder: Path, running: Running) -> None:
    """Tell others about the cluster; to be called while holding ``folder``."""
    fresh = folder / "cluster.json.new"
    fresh.write_text(json.dumps(asdict(running)))
    fresh.replace(_file(folder))


def running(folder: Path) -> Running | None:
    """The cluster that runs on ``folder``; None where none does, or it is still starting."""
    lock = folder / "lock"
    if not lock.exists() or not _file(folder).exists():
        return None
    try:
        # Shared, and on a descriptor of its own: it is refused exactly while the owner holds the exclusive one.
        with lock.open() as probe:
            fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(FileNotFoundError):  # It ends just now.
            return Running(**json.loads(_file(folder).read_text()))
    return None


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _file(folder: Path) -> Path:
    return folder / "cluster.json"
