"""``arqube-worker check``: what a WorkerSettings would run, and what arq would drop from it in silence."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from arq.connections import RedisSettings
from arq.worker import func
from prometheus_client import CollectorRegistry

from arqube_worker import connections, settings, tracing
from arqube_worker.loops import event_loop, loop_maker
from arqube_worker.metrics import Metrics
from arqube_worker.runtime import Worker
from arqube_worker.settings import Configuration, LoadedSettings, SettingsError


def command(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Print the report; 0 when the settings would run, 1 when they would not."""
    parser = argparse.ArgumentParser(prog="arqube-worker check", description="Tell what a WorkerSettings would run.")
    parser.add_argument("settings", metavar="SETTINGS", help="module.WorkerSettings or module:WorkerSettings")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")
    options = parser.parse_args(arguments)
    try:
        found = report(options.settings, environ)
    except SettingsError as error:
        target = options.settings if options.settings.isprintable() else ascii(options.settings)
        found = {"settings": target, "error": str(error)}
    print(json.dumps(found) if options.json else "\n".join(_lines(found)))  # noqa: T201 - the command's output
    return 1 if "error" in found else 0


def report(target: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """What ``arqube-worker target`` would do in this environment, as JSON values. Durations are in seconds.

    Raises:
        SettingsError: It would do nothing, for the reason given.
    """
    make_loop = loop_maker(environ)
    loaded = settings.load(target)
    configuration = settings.configure(loaded, environ)
    with event_loop():
        worker = Worker(configuration, name="check", metrics=Metrics(CollectorRegistry()))
    now = datetime.now(tz=worker.timezone)
    crons = {job.name: job for job in worker.cron_jobs}
    for job in crons.values():
        job.calculate_next(now)
    return {
        "settings": target,
        "queue": worker.queue_name,
        "redis": connections.label(configuration.redis),
        "concurrency": worker.max_jobs,
        "shutdown_timeout_s": configuration.shutdown_timeout_s,
        "loop": make_loop.__module__.partition(".")[0],
        "traces": tracing.wish(environ),
        "functions": [
            {
                "name": name,
                "timeout_s": worker.job_timeout_s if function.timeout_s is None else function.timeout_s,
                "max_tries": worker.endings.most_tries(name),
            }
            for name, function in worker.functions.items()
            if name not in crons
        ],
        "cron_jobs": [
            {"name": name, "next_run": job.next_run.isoformat() if job.next_run else None}
            for name, job in crons.items()
        ],
        "warnings": warnings(loaded, configuration),
    }


def warnings(loaded: LoadedSettings, configuration: Configuration) -> list[str]:
    """What the author of the settings may not expect."""
    found = [
        f"several functions are named {name!r}: the last of them runs the jobs of all"
        for name in _shared_names(loaded.values.get("functions", ()))
    ]
    for name in loaded.unknown:
        near = difflib.get_close_matches(name, settings.PARAMETERS | settings.OURS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        found.append(f"arq knows no setting {name!r} and drops it{hint}")
    if loaded.inherited:
        names = ", ".join(map(repr, loaded.inherited))
        found.append(f"inherited settings count here, but plain arq would miss them: {names}")
    if configuration.redis == RedisSettings() and "redis_pool" not in loaded.values:
        where = connections.label(configuration.redis)
        found.append(f"neither redis_settings nor the environment says where Redis is: {where} is used")
    return found


def _shared_names(functions: Iterable[Any]) -> list[str]:
    """The names that several functions have; arq keeps the last of them in silence."""
    named: dict[str, set[Any]] = {}
    for function in map(func, functions):
        named.setdefault(function.name, set()).add(function.coroutine)
    return [name for name, coroutines in named.items() if len(coroutines) > 1]


def _timeout(seconds: float | None) -> str:
    return "no timeout" if seconds is None else f"timeout {seconds:g} s"


def _lines(found: Mapping[str, Any]) -> list[str]:
    if "error" in found:
        return [f"{found['settings']} would not run: {found['error']}"]
    lines = [
        f"{found['settings']} would run",
        f"  queue        {found['queue']} on Redis {found['redis']}",
        f"  concurrency  {found['concurrency']} jobs at once; {found['shutdown_timeout_s']:g} s to finish at a stop",
    ]
    lines += [f"  loop         {found['loop']}", f"  traces       {found['traces']}"]
    lines += [
        f"  function     {job['name']} ({_timeout(job['timeout_s'])}, {job['max_tries']} tries)"
        for job in found["functions"]
    ]
    lines += [f"  cron job     {job['name']} (next run {job['next_run']})" for job in found["cron_jobs"]]
    lines += [f"warning: {warning}" for warning in found["warnings"]]
    return lines
