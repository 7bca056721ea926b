"""Writes a campaign's figures into its page of the documentation, for people. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

HEADING: Final = "## The last campaign\n"
_SECTION: Final = re.compile(rf"{re.escape(HEADING)}.*?(?=^## )", re.DOTALL | re.MULTILINE)


def table(summary: dict[str, Any]) -> str:
    """The sums of ``campaign.sum_up``, in Markdown."""
    lines = ["| fault | blows | runs repeated | work went on after: median, most |", "|---|---|---|---|"]
    for name, each in summary["faults"].items():
        most_s = each["recovery_most_s"]
        after = "" if most_s is None else f"{each['recovery_median_s']:g} s, {most_s:g} s"
        lines.append(f"| {name} | {each['blows']} | {each['repeats']:,} | {after} |")
    lines += ["", "| promise | broken |", "|---|---|"]
    lines += [f"| {promise} | {count} |" for promise, count in summary["violations"].items()]
    return "\n".join(lines)


def filled(page: str, summary: dict[str, Any], command: str) -> str:
    """The page with the section of the last campaign written anew.

    Args:
        page: The page, which has such a section, and another one after it.
        summary: Of ``campaign.sum_up``.
        command: What makes the campaign again.

    Raises:
        ValueError: There is no such section.
    """
    broken_off = f" {summary['broken_off']} runs did not come to their ends." if summary["broken_off"] else ""
    section = (
        f"{HEADING}\n{summary['jobs']:,} jobs and {summary['blows']} blows in {summary['runs']} runs:"
        f" {summary['starts']:,} starts, {summary['repeats']:,} of them once more because of a fault.{broken_off}\n\n"
        f"```console\n$ {command}\n```\n\n"
        "![blows, repeated runs and time until work went on, by fault](reliability.png)\n\n"
        f"{table(summary)}\n\n"
    )
    written, count = _SECTION.subn(lambda _: section, page)
    if count != 1:
        raise ValueError(f"the page needs one section {HEADING.strip()!r} with another one after it")
    return written
