"""The figures of the runs side by side, beside what must hold with an outbox."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from benchmarks.fastapi.stage import Run

ROWS: Final = {
    "rate_reached": "users a second that the client posted",
    "late_s": "most seconds that a POST was sent late",
    "posts": "POSTs, each for a user of its own",
    "created": "answered with 201",
    "refused": "answered with another status, or not taken",
    "unknown": "not answered within 5 s, or cut off",
    "committed": "users committed",
    "committed_untold": "of them without a 201",
    "mails": "mails recorded",
    "jobs": "jobs started",
    "starts": "starts of jobs, further tries included",
    "drain_s": "seconds until no job was left",
}
MUSTS: Final = {
    "vanished": "201 answered, and no user committed",
    "without_mail": "committed users without a mail",
    "with_several_mails": "committed users with several mails",
    "mails_to_nobody": "mails to nobody who is committed",
}


def table(runs: Sequence[Run]) -> str:
    """One column a run."""
    figures = [run.to_json() for run in runs]
    lines = [f"{'':48}" + "".join(f"{run.way.value:>15}" for run in runs)]
    lines += [_row(text, [each[name] for each in figures]) for name, text in ROWS.items()]
    lines += [
        f"{'must be 0 with the outbox':48}",
        *(_row(text, [each[k] for each in figures]) for k, text in MUSTS.items()),
    ]
    lines.append(_row("every promise kept", ["yes" if run.is_kept else "NO" for run in runs]))
    return "\n".join(lines)


def _row(text: str, values: Sequence[object]) -> str:
    return f"{text:48}" + "".join(f"{'-' if value is None else value!s:>15}" for value in values)
