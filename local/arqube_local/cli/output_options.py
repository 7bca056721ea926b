"""The options by which a command writes for people or for programs."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` -o and --json; it receives ``as_json: bool``."""

    @wraps(command)
    def collected(output_format: str, json_flag: bool, **others: Any) -> Any:
        return command(as_json=json_flag or output_format == "json", **others)

    collected = click.option("--json", "json_flag", is_flag=True, help="The same as -o json.")(collected)
    return click.option(
        "-o",
        "--output",
        "output_format",
        type=click.Choice(["text", "json"]),
        default="text",
        help="Form of the output.",
    )(collected)
