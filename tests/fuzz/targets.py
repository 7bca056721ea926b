"""What is fuzzed: each target takes bytes as an attacker may write them, and fails when a promise does not hold."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import logging
import math
import os
import pickle
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgpack
from redis.exceptions import ResponseError

from arqube_local.cli import dlq_output, jobs_output, workers
from arqube_local.explain.plot import glyphs_for, plot
from arqube_local.simulate.load_files import LoadFileError, read_load
from arqube_local.text import printable, shortened
from arqube_operator.api import cron, duration
from arqube_operator.console.plot import lines
from arqube_queue import dead_letters, heartbeat, history, job_records, job_tries, payload, pickle_reader, snapshot
from arqube_queue.model import QueueSnapshot
from arqube_queue.turns import Policy, Turns
from arqube_worker import logs

NOW_MS: Final = 1_800_000_000_000
_BYTEARRAY: Final = pickle.BYTEARRAY8
LONGEST_S: Final = 2.0
"""Seconds that one input may take, with the instruments of a fuzzer and a busy machine."""

Target = Callable[[bytes], None]


def payloads(data: bytes) -> None:
    """A header is read of anything, and is text and whole numbers in bounds."""
    header = payload.read_header(data)
    if header.function is not None:
        assert 0 < len(header.function.encode()) <= 4 * payload.LONGEST_NAME
    for number in (header.enqueued_ms, header.tries):
        assert number is None or 0 <= number <= payload.MOST


class _Harmless(pickle._Unpickler):  # type: ignore[name-defined,misc] # in Python: C's takes any memory for its memo
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not to be made")


def pickles(data: bytes) -> None:
    """The function that is read of a pickle is the one that a worker would run, or none."""
    header = payload.read_header(b"\x80" + data if data[:1] not in (b"(", b"}") else data)
    entries = pickle_reader.read_dict(data, frozenset({"f", "t", "et"}))
    if _BYTEARRAY in data:  # Python's own reader fetches the memory that such an opcode asks for, whatever there is
        return
    try:
        document = _Harmless(io.BytesIO(data)).load()
    except Exception:  # refused; the reader may have read what stood before
        return
    assert header is not None
    if entries and isinstance(document, dict):
        told = entries.get("f")
        assert not isinstance(told, str) or told == document.get("f"), (told, document.get("f"))


def msgpacks(data: bytes) -> None:
    """Likewise of MessagePack."""
    read = payload.read_header(data).function
    try:
        document = msgpack.unpackb(data, strict_map_key=False)
    except Exception:  # refused
        return
    if isinstance(document, dict) and data[:1] not in (b"\x80", b"(", b"}") and data.lstrip()[:1] != b"{":
        assert read is None or read == document.get("f"), (read, document.get("f"))


def heartbeats(data: bytes) -> None:
    """A heartbeat is none, or holds counts and texts that status, metrics and JSON can show."""
    beat = heartbeat.decode(b"pod-1", data)
    if beat is None:
        return
    numbers = (beat.at_ms, beat.busy, beat.slots, beat.started, beat.run_seconds)
    for number in (*numbers, *beat.finished.values(), *beat.cron_runs.values()):
        assert 0 <= number <= payload.MOST
        assert math.isfinite(number)
    json.dumps(dataclasses.asdict(beat), allow_nan=False, ensure_ascii=False).encode()
    workers._row(beat)
    json.dumps(workers._document(beat), allow_nan=False)
    assert heartbeat.decode(b"pod-1", b"%d " % beat.at_ms + heartbeat.encode(beat)) == beat


def snapshots(data: bytes) -> None:
    """Any answer of Redis to a reading is a snapshot or a problem."""
    read = snapshot._read(_reply(data))
    assert isinstance(read, (QueueSnapshot, ResponseError))


def turns(data: bytes) -> None:
    """Any answer of Redis to a turn is one, or a failure that the worker waits out."""
    us: Any = Turns(None, "q", worker="w", token="t", policy=Policy())  # type: ignore[arg-type] # noqa: S106
    with contextlib.suppress(ValueError, TypeError, AttributeError):  # all of which ``take`` calls an invalid response
        us._read(_reply(data), "token", 10)


def records(data: bytes) -> None:
    """A job's record is read of any text, and can be shown."""
    job_tries.parse(data)
    head, _, rest = data.partition(b"\xfe")
    for job in (
        job_records._over("j", data, 1e300 if data[:1] == b"x" else 5.0, dead_letter=True),
        job_records._alive("j", 7.0, NOW_MS, 0, head, data, rest, None),
        job_records._alive(data[:20], -1e308, NOW_MS, 1, rest, head, data, 1.0),
    ):
        _is_harmless(jobs_output.table([job], NOW_MS))
        _is_harmless(jobs_output.details(job, NOW_MS))
        json.dumps(jobs_output.document(job), allow_nan=False)


def letters(data: bytes) -> None:
    """A dead letter is read of any fields, and can be shown."""
    fields = [*data.split(b"\xfe"), *(b"",) * 8][:8]
    job_id, head, reason, function, error, tries, enqueued, worker = fields
    for died in (b"inf", b"-1e308", b"1800000000000"):
        row = [job_id, died, len(head), head, reason, function, error, tries, enqueued, worker]
        letter = dead_letters._letter(row)
        _is_harmless(dlq_output.table([letter], NOW_MS))
        remains = dead_letters.Remains(letter, error.decode(errors="replace"), head)
        _is_harmless(dlq_output.details(remains))
        json.dumps(dlq_output.whole_document(remains), allow_nan=False)


def samples(data: bytes) -> None:
    """Samples of the last minutes are read of any lines, and can be drawn."""
    read = [each for line in data.split(b"\n") if (each := history._sample(line)) is not None]
    lines(read, NOW_MS)
    plot(read, NOW_MS, 80, glyphs_for("utf-8"))


def load_files(data: bytes) -> None:
    """A load file is a load, or refused with its name."""
    with tempfile.NamedTemporaryFile(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as file:  # noqa: S108
        Path(file.name).write_bytes(data)
        try:
            read_load(Path(file.name), 1, None, None)
        except LoadFileError as error:
            told = str(error)
        else:
            return
        assert file.name in told


def durations(data: bytes) -> None:
    """A duration is seconds that are written back the same, or refused."""
    text = data.decode(errors="surrogateescape")
    for parse in (duration.parse_duration, duration.parse_age):
        try:
            seconds = parse(text)
        except duration.InvalidDurationError:
            continue
        if seconds < 3600 * 99_999:
            assert duration.parse_duration(duration.format_duration(seconds)) == seconds


def crons(data: bytes) -> None:
    """A cron expression is refused, or has a next and a latest time."""
    text, _, zone = data.decode(errors="surrogateescape").partition("\n")
    zones = [name for name in (zone, "Europe/Berlin") if cron.is_time_zone(name)]
    if cron.is_cron(text):
        for name in zones:
            following = cron.next_time(text, name, NOW_MS / 1000)
            latest = cron.latest_time(text, name, NOW_MS / 1000)
            assert following is None or following > NOW_MS / 1000 - 60
            assert latest is None or latest <= NOW_MS / 1000


def log_lines(data: bytes) -> None:
    """A log line is one line of JSON, and what is for people one line that commands no terminal."""
    text = data.decode(errors="surrogateescape")
    stream = io.StringIO()
    handler = logs._JsonLines(stream)
    handler.setFormatter(logging.Formatter())
    handler.write_line("logger", "event", {"job_id": text, "function": data.decode("latin-1"), "wait_s": None})
    (line,) = stream.getvalue().split("\n")[:-1]
    assert json.loads(line)["job_id"] == text
    _is_harmless(printable(text))
    assert len(shortened(text, 80)) <= 80


def _is_harmless(text: str) -> None:
    assert all(each.isprintable() or each == "\n" for each in text), text


def _reply(data: bytes) -> Any:
    """An answer of Redis, put together as the bytes say."""
    stack: list[Any] = [[]]
    at = 0
    while at < len(data):
        code = data[at]
        at += 1
        if code < 0x60:  # a number of up to 8 bytes
            size = code % 9
            stack[-1].append(int.from_bytes(data[at : at + size], "big", signed=True))
            at += size
        elif code < 0xC0:
            size = code - 0x60
            stack[-1].append(data[at : at + size])
            at += size
        elif code < 0xD0 and len(stack) < 50:
            stack.append([])
        elif code < 0xE0 and len(stack) > 1:
            stack[-2].append(stack.pop())
        else:
            odd: tuple[Any, ...] = (
                None,
                1.5,
                float("inf"),
                float("nan"),
                True,
                "text",
                {b"a": 1},
                ResponseError("ERR"),
            )
            stack[-1].append(odd[code % len(odd)])
    while len(stack) > 1:
        stack[-2].append(stack.pop())
    return stack[0] if data[:1] != b"\xff" else (stack[0] or [None])[0]


TARGETS: Final[Mapping[str, Target]] = {
    target.__name__: target
    for target in (
        *(payloads, pickles, msgpacks, heartbeats, snapshots, turns, records),
        *(letters, samples, load_files, durations, crons, log_lines),
    )
}


def check(name: str, data: bytes) -> None:
    """Give an input to a target.

    Raises:
        AssertionError: A promise does not hold, or it took too long.
        Exception: Whatever else was raised is a defect, too.
    """
    begun = time.process_time()
    TARGETS[name](data)
    took_s = time.process_time() - begun
    assert took_s < LONGEST_S, f"{len(data)} bytes took {took_s:.1f} s of {os.getpid()}"
