"""``arqube init``: a TaskQueue for a project that uses arq, by looking at its settings."""

from __future__ import annotations

import os
from pathlib import Path

import click


@click.command()
@click.argument("folder", metavar="[PATH]", default=".", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write; - is the standard output.  [default: taskqueue.yaml in PATH]",
)
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@click.option(
    "--python",
    metavar="PYTHON",
    help="Import the settings in this Python, the project's own, and take queue, concurrency and timeouts from there.",
)
def init(folder: Path, output: str | None, force: bool, python: str | None) -> None:
    """Write a TaskQueue for each settings object of a project, with the reason of each value beside it.

    It reads the settings and the Dockerfile in PATH, which is this folder by default, and asks nothing. A value that
    cannot be known is marked CHANGE; an image that cannot be known is one that kubectl apply refuses. Nothing is
    imported or run, unless --python is given.
    """
    # Imported here: arq takes longer than to tell the help.
    from arqube_local.adoption.draft import drafts
    from arqube_local.adoption.imported import report
    from arqube_local.adoption.look import Look
    from arqube_local.adoption.sources import ProjectError, read_project
    from arqube_local.adoption.yaml_text import manifest

    try:
        look = Look(read_project(folder))
        reports = {each.target: report(each, folder, python, os.environ) for each in look.settings} if python else {}
    except ProjectError as error:
        raise click.ClickException(str(error)) from None
    if not look.settings:
        raise click.ClickException(
            f"{folder} holds no settings for a worker: a class, dict or factory with functions or cron_jobs."
            " Name the folder that holds the app"
        )
    for target, found in reports.items():
        if "error" in found:
            raise click.ClickException(f"{target} cannot be imported: {found['error']}")
    made = drafts(look, reports)
    text = manifest(made)
    if output == "-":
        click.echo(text, nl=False)
    else:
        path = Path(output) if output else folder / "taskqueue.yaml"
        _write(path, text, force)
        click.echo(f"wrote {path}: {', '.join(each.name for each in made)}", err=True)
    for each in made:
        if each.open:
            click.echo(f"{each.name}: look at {', '.join(each.open)} before you apply it", err=True)
    click.echo(f"next: arqube check {folder}", err=True)


def _write(path: Path, text: str, force: bool) -> None:
    try:
        with path.open("w" if force else "x") as file:
            file.write(text)
    except FileExistsError:
        raise click.ClickException(f"{path} is there already: --force writes over it, -o names another file") from None
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from None
