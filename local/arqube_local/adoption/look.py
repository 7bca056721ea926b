"""All that the rules of ``arqube check`` look at, read once."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property

from arqube_local.adoption.jobs import Job, Jobs, jobs_of, reached
from arqube_local.adoption.manifests import Manifest
from arqube_local.adoption.names import Found, Scope, resolve_dotted
from arqube_local.adoption.sources import Definition, Project
from arqube_local.adoption.worker_settings import WorkerSettings, find_worker_settings


@dataclass(frozen=True, eq=False)
class Look:
    """A project, and the TaskQueues that are to run it.

    Attributes:
        project: Its files.
        task_queues: Those of the project, and those that were named besides.
    """

    project: Project
    task_queues: tuple[Manifest, ...] = ()

    @cached_property
    def settings(self) -> tuple[WorkerSettings, ...]:
        """The project's settings objects."""
        return find_worker_settings(self.project)

    @cached_property
    def _jobs(self) -> dict[str, Jobs]:
        return {each.target: jobs_of(each) for each in self.settings}

    def jobs(self, settings: WorkerSettings) -> Jobs:
        """The jobs that ``settings`` runs."""
        return self._jobs[settings.target]

    @cached_property
    def all_jobs(self) -> tuple[Job, ...]:
        """Those of all settings objects."""
        return tuple(job for jobs in self._jobs.values() for job in jobs.all)

    @cached_property
    def run_by_jobs(self) -> tuple[Found, ...]:
        """The functions of all jobs, and those that they call, each once."""
        found = {id(each.node): each for job in self.all_jobs if job.body for each in reached(job.body)}
        return tuple(found.values())

    @cached_property
    def functions(self) -> tuple[Found, ...]:
        """Every function of the project, wherever it stands."""
        return tuple(
            Found(Scope(self.project, module), node)
            for module in self.project.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        )

    @cached_property
    def calls(self) -> tuple[tuple[Scope, ast.Call], ...]:
        """Every call in the project."""
        return tuple(
            (Scope(self.project, module), node)
            for module in self.project.modules.values()
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call)
        )

    def settings_of(self, manifest: Manifest) -> WorkerSettings | None:
        """The settings object that a TaskQueue names; None where the project has none of that path."""
        named = _named(manifest)
        same = (each for each in self.settings if each.target.replace(":", ".") == named)
        node = self.defined_as(manifest)
        elsewhere = (each for each in self.settings if node is not None and each.found.node is node)
        return next(same, None) or next(elsewhere, None)

    def defined_as(self, manifest: Manifest) -> Definition | None:
        """What stands in the project under the path that a TaskQueue names, as where a package imports it."""
        for module in self.project.modules.values():
            found = resolve_dotted(self.project, module, _named(manifest))
            if isinstance(found, Found):
                return found.node
        return None

    def manifests_of(self, settings: WorkerSettings) -> tuple[Manifest, ...]:
        """The TaskQueues that name ``settings``."""
        return tuple(each for each in self.task_queues if self.settings_of(each) is settings)


def _named(manifest: Manifest) -> str:
    """The path in ``spec.worker.settings``, with dots alone."""
    return str(manifest.get("worker", "settings") or "").replace(":", ".")
