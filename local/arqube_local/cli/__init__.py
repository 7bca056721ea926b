"""The ``arqube`` command; each group of commands has a module of its own here, imported when it is called."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Final, NamedTuple

import click

from arqube_queue import environment as env


class _Entry(NamedTuple):
    """Where a command is, and its line in the help: the first sentence of its own."""

    module: str
    attribute: str
    summary: str


_COMMANDS: Final = {
    "check": _Entry(
        "check",
        "check",
        "Find what would go wrong in a project whose arq workers are to run as TaskQueues, with the remedy.",
    ),
    "dlq": _Entry("dlq", "dlq", "Look at jobs that have failed for good, run them again, or forget them."),
    "explain": _Entry("explain", "explain", "Tell why a TaskQueue has as many workers as it has."),
    "init": _Entry(
        "init",
        "init",
        "Write a TaskQueue for each settings object of a project, with the reason of each value beside it.",
    ),
    "jobs": _Entry("jobs", "jobs", "Look at the jobs of a queue and their tries, cancel them, or run them again."),
    "local": _Entry(
        "local",
        "local",
        "Run a cluster on this machine: API server, controllers, operator, Redis, and pods as processes.",
    ),
    "queues": _Entry(
        "queues",
        "queues",
        "Tell what waits and runs in a queue and how many workers it has; NAMEs are more queues of the same Redis.",
    ),
    "record": _Entry("record", "record", "Record the arrivals of a live queue as CSV, for arqube simulate --load."),
    "simulate": _Entry(
        "simulate", "simulate_", "Simulate how a TaskQueue scales under a load, beside KEDA and the HPA."
    ),
    "workers": _Entry(
        "workers", "workers", "Tell what the workers of a queue do; plain arq's say nothing of themselves."
    ),
}


class LazyGroup(click.Group):
    """Imports a command only to run it or to tell its own help, as click's documentation has it.

    Kubernetes' client alone takes longer to import than most commands take to run.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, once it is sure that all of it can be sent to a server."""
        if not all(map(env.is_utf8, args)):
            raise click.UsageError("Arguments must be text in UTF-8.", ctx)
        if (variable := env.not_utf8(os.environ)) is not None:
            raise click.UsageError(f"{variable} must be text in UTF-8.", ctx)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in order."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None where there is none of that name."""
        entry = _COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{entry.module}"), entry.attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help; click's own would import every command for its first sentence."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in sorted(_COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="arqube")
def main() -> None:
    """Arqube: workers for arq queues, on Kubernetes or on this machine."""
