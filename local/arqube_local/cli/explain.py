"""``arqube explain``: why a TaskQueue has as many workers as it has."""

from __future__ import annotations

import click


@click.command()
@click.argument("task_queue", metavar="TASKQUEUE")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the TaskQueue.  [default: the context's]")
@click.option(
    "--kubeconfig", type=click.Path(exists=True, dir_okay=False), help="As kubectl's.  [default: $KUBECONFIG]"
)
@click.option("-w", "--watch", is_flag=True, help="Look again every 2 s, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON; with --watch one object a line.")
def explain(task_queue: str, namespace: str | None, kubeconfig: str | None, watch: bool, as_json: bool) -> None:
    """Tell why a TaskQueue has as many workers as it has.

    What waits and runs, what speaks for how many workers, what is in the way and what to do about it, the last change,
    what comes next, Events, and a plot of the last 15 minutes. All of it is the operator's: the decision stands in the
    TaskQueue's status, the minutes before in its Redis. Where Redis cannot be reached from here the rest is told.
    """
    # Imported here: Kubernetes' client takes longer than to tell the help.
    from arqube_local.cli.explain_look import look

    look(task_queue, namespace, kubeconfig, watch=watch, as_json=as_json)
