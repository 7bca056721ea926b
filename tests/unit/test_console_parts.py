"""What the console's pages are made of: workers, arguments, pictures, and texts that are somebody else's."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arqube_operator.api.v1alpha1 import TaskQueueStatus
from arqube_operator.console import arguments
from arqube_operator.console.plot import HEIGHT, SPAN_MS, WIDTH, lines
from arqube_operator.console.rendering import Pages, Statics
from arqube_operator.console.view import Seen
from arqube_operator.console.workers import Worker, workers
from arqube_operator.decide.state import Identity, Pod
from arqube_operator.observe.cluster import Key
from arqube_operator.observe.objects import KnownTaskQueue
from arqube_operator.observe.queues import Reading
from arqube_queue.history import Sample
from arqube_queue.model import Heartbeat, QueueSnapshot

BYTES = "bytes of the payload, which is not loaded"


def seen(*beats: Heartbeat, pods: tuple[Pod, ...] = ()) -> Seen:
    known = KnownTaskQueue(Identity("emails", "shop", "uid", 1), None, TaskQueueStatus())
    return Seen(Key("shop", "emails"), known, pods=pods, reading=Reading(QueueSnapshot(1, heartbeats=beats)))


@pytest.mark.parametrize(
    ("beat", "pod", "state"),
    [
        pytest.param({}, {"ready_s": 1.0}, "ready", id="it takes jobs"),
        pytest.param(None, {}, "starting", id="it is being made"),
        pytest.param(None, {"failure": "ImagePullFailed"}, "failing", id="it cannot start"),
        pytest.param({"retiring": True}, {"ready_s": 1.0}, "retiring", id="it is asked to take no more"),
        pytest.param({"draining": True}, {"ready_s": 1.0}, "stopping", id="it stops"),
        pytest.param({}, {"ready_s": 1.0, "terminating": True}, "stopping", id="Kubernetes stops it"),
        pytest.param({}, None, "outside Kubernetes", id="it is no pod"),
    ],
)
def test_a_worker_s_state(beat: dict[str, Any] | None, pod: dict[str, Any] | None, state: str) -> None:
    beats = () if beat is None else (Heartbeat("w", 1, busy=2, slots=5, **beat),)
    pods = () if pod is None else (Pod("w", 0.0, **pod),)
    (worker,) = workers(seen(*beats, pods=pods))
    assert worker.state == state
    assert (worker.busy, worker.slots) == ((None, None) if beat is None else (2, 5))


def test_workers_stand_by_name_with_what_they_have_done() -> None:
    beat = Heartbeat("b", 1, busy=0, slots=5, finished={"succeeded": 3, "failed": 1}, run_seconds=8.0)
    first, second = workers(seen(beat, pods=(Pod("a", 0.0, failure="CrashLooping", failure_message="exit code 1"),)))
    assert first == Worker("a", "failing", "CrashLooping: exit code 1")
    assert (second.name, second.mean_run_s) == ("b", 2.0)


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda data: b"{" + data))
def test_any_payload_is_shown(payload: bytes) -> None:
    shown = arguments.show(payload)
    assert len(shown.text) <= arguments.LONGEST
    assert shown.text.isprintable() or shown.form == "JSON"


@pytest.mark.parametrize(
    ("payload", "form", "text"),
    [
        pytest.param(
            json.dumps({"f": "send", "a": [1], "k": {"b": "é"}}).encode(),
            "JSON",
            json.dumps({"args": [1], "kwargs": {"b": "é"}}, indent=2, ensure_ascii=False),
            id="JSON tells arguments by kind, and nothing else",
        ),
        pytest.param(b"\x80\x04K\x01.", BYTES, "\\x80\\x04K\\x01.", id="a pickle"),
        pytest.param(b"[1, 2]", BYTES, "[1, 2]", id="JSON that is no job"),
        pytest.param(b"{" * 5000, BYTES, "{" * 4000, id="JSON that goes too deep"),
    ],
)
def test_arguments_as_text(payload: bytes, form: str, text: str) -> None:
    shown = arguments.show(payload)
    assert (shown.form, shown.text) == (form, text)
    assert shown.cut is (len(payload) > arguments.LONGEST)


@given(st.lists(st.tuples(st.integers(0, SPAN_MS * 2), st.integers(0, 10**9)), max_size=40))
def test_a_picture_stays_within_its_frame(values: list[tuple[int, int]]) -> None:
    now_ms = SPAN_MS * 2
    samples = [Sample(at, value, value, 0, 0, 3, 3) for at, value in sorted(values)]
    for line in lines(samples, now_ms):
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert 0 <= x <= WIDTH
            assert 0 <= y <= HEIGHT


class Shape(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag + "".join(sorted(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


PAGES = Pages(Statics())


def shape(text: str) -> Shape:
    common = {"path": "/", "signed_in": False, "can_sign_in": False, "form_key_name": "form_key", "form_key": ""}
    parsed = Shape()
    parsed.feed(PAGES.render("error", code=400, text=text, **common))
    return parsed


PLAIN = shape("").tags


@given(st.text(max_size=200))
def test_no_text_changes_the_shape_of_a_page(text: str) -> None:
    shown = shape(text)
    assert shown.tags == PLAIN
    assert {each for each in text if each.isprintable()} <= set(shown.text)
