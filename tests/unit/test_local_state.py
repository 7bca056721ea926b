"""The state folder of a laptop cluster, as others see it while its owner comes, writes and goes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread

import pytest

from arqube_local.state import Running, StateHeldError, hold, publish, running

CLUSTER = Running(1, "/kubeconfig", "redis://127.0.0.1:6379/0")
ROUNDS = 100
PUBLICATIONS = 50


def looked_at(folder: Path, act: Callable[[], None]) -> list[Running | Exception | None]:
    """What others see of ``folder`` while ``act`` is done."""
    seen: list[Running | Exception | None] = []
    over = Event()

    def look() -> None:
        while not over.wait(0.0002):
            try:
                seen.append(running(folder))
            except Exception as error:
                seen.append(error)

    lookers = [Thread(target=look) for _ in range(2)]
    for looker in lookers:
        looker.start()
    try:
        act()
    finally:
        over.set()
        for looker in lookers:
            looker.join()
    return seen


def test_a_cluster_is_told_whole_or_not_at_all(tmp_path: Path) -> None:
    def come_and_go() -> None:
        for _ in range(ROUNDS):
            with hold(tmp_path):
                for _ in range(PUBLICATIONS):
                    publish(tmp_path, CLUSTER)

    assert set(map(str, looked_at(tmp_path, come_and_go))) <= {"None", str(CLUSTER)}


def test_a_folder_that_is_held_is_refused_and_told_of(tmp_path: Path) -> None:
    with hold(tmp_path):
        assert running(tmp_path) is None, "it is still starting"
        publish(tmp_path, CLUSTER)
        assert running(tmp_path) == CLUSTER
        with pytest.raises(StateHeldError, match=str(tmp_path)), hold(tmp_path):
            pass
        assert running(tmp_path) == CLUSTER
    assert running(tmp_path) is None
    with hold(tmp_path):
        pass
