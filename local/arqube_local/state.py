"""The state folder of a laptop cluster: held by one process at a time, and telling others where the cluster is."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path


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
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StateHeldError(f"a cluster already runs on {folder}") from None
        _file(folder).unlink(missing_ok=True)  # of a cluster that was killed
        try:
            yield
        finally:
            _file(folder).unlink(missing_ok=True)


def publish(folder: Path, running: Running) -> None:
    """Tell others about the cluster; to be called while holding ``folder``."""
    _file(folder).write_text(json.dumps(asdict(running)))


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
        return Running(**json.loads(_file(folder).read_text()))
    return None


def _file(folder: Path) -> Path:
    return folder / "cluster.json"
