"""``arqube check``: what would go wrong when a project's workers run as a TaskQueue, and what to do about it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click


@click.command()
@click.argument(
    "folder", metavar="[PATH]", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Manifest with TaskQueues, beside those in the project; may be given again.",
)
@click.option(
    "--python",
    metavar="PYTHON",
    help="Also import the settings in this Python, the project's own, as a worker would: .venv/bin/python.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object.")
def check(folder: Path | None, files: tuple[Path, ...], python: str | None, as_json: bool) -> None:
    """Find what would go wrong in a project whose arq workers are to run as TaskQueues, with the remedy.

    It reads the settings, the jobs and what they call, the producers, requirements, Dockerfiles and TaskQueues in PATH,
    which is this folder by default. Nothing is imported or run, unless --python is given. Exits with 1 when it finds an
    error.
    """
    # Imported here: the API's models and arq take longer than to tell the help.
    from arqube_local.adoption.findings import Level, ordered
    from arqube_local.adoption.imported import finding, report
    from arqube_local.adoption.look import Look
    from arqube_local.adoption.manifests import task_queues
    from arqube_local.adoption.rules import findings
    from arqube_local.adoption.sources import Project, ProjectError, read_project
    from arqube_local.cli import findings_output as output

    here = folder or Path()
    try:
        project = read_project(here)
    except ProjectError as error:
        if folder is not None or not files:
            raise click.ClickException(str(error)) from None
        project = Project.of_texts({})  # the manifests alone
    named = {_path(file, here): _read(file) for file in files}
    if unread := [path for path, text in named.items() if not task_queues({path: text})]:
        raise click.ClickException(f"{', '.join(unread)} holds no TaskQueue")
    look = Look(project, task_queues({**project.texts, **named}))
    found = findings(look)
    if python is not None:
        try:
            reports = [finding(each, report(each, here, python, os.environ)) for each in look.settings]
        except ProjectError as error:
            raise click.ClickException(str(error)) from None
        found = ordered([*found, *filter(None, reports)])
    if as_json:
        click.echo(output.as_json(found))
    else:
        if found:
            click.echo(output.table(found, shutil.get_terminal_size((100, 0)).columns))
        click.echo(f"{output.summary(found)} in {len(project.modules)} Python files", err=True)
    if any(each.level is Level.ERROR for each in found):
        raise SystemExit(1)


def _path(file: Path, folder: Path) -> str:
    """As files of the project are named, where it is one of them; each is looked at once."""
    whole = file.resolve()
    return whole.relative_to(folder.resolve()).as_posix() if whole.is_relative_to(folder.resolve()) else str(file)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file}: {error}") from None
