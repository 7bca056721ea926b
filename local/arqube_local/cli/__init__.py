"""The ``arqube`` command; each group of commands has a module of its own here."""

from __future__ import annotations

import click

from arqube_local.cli.dlq import dlq
from arqube_local.cli.explain import explain
from arqube_local.cli.local import local
from arqube_local.cli.record import record
from arqube_local.cli.simulate import simulate_


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="arqube")
def main() -> None:
    """Arqube: workers for arq queues, on Kubernetes or on this machine."""


main.add_command(dlq)
main.add_command(explain)
main.add_command(local)
main.add_command(record)
main.add_command(simulate_, "simulate")
