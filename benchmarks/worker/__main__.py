"""``python -m benchmarks.worker``: the figures that Arqube's worker must reach, measured in one run.

``--json`` ends with one line of JSON, ``--output`` writes it to a file, ``--chart`` draws the throughput, ``--only``
measures some parts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import operator
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from arqube_local.redis_server import RedisServer
from arqube_queue.turns import LEASE_S
from benchmarks import table
from benchmarks.signals import end_as_by_ctrl_c
from benchmarks.table import Must
from benchmarks.worker import behaviour, chart, contenders, throughput
from benchmarks.worker.contenders import (
    ARQ_TUNED,
    ARQ_TUNED_FAR,
    ARQ_TUNED_LOGS,
    ARQUBE,
    ARQUBE_LOGS,
    OURS,
    PEERS,
    WITH_LOGS,
)
from benchmarks.worker.throughput import Speed

ROUNDS: Final = 3
PARTS: Final = ("throughput", "peers", "logs", "network", "latency", "fleet", "recovery", "memory")


MUSTS: Final = (
    Must("jobs/s, one process, 100 slots, against arq tuned", "vs_arq_tuned", operator.ge, 8),
    Must("the same with INFO logs on both", "vs_arq_tuned_logs", operator.ge, 6),
    Must("against the fastest other queue", "vs_fastest_peer", operator.ge, 6),
    Must("round trips a job under load", "round_trips_per_job", operator.le, 0.1),
    Must("enqueue -> start on an idle worker, p50, ms", "start_p50_ms", operator.le, 2),
    Must("enqueue -> start on an idle worker, p99, ms", "start_p99_ms", operator.le, 5),
    Must("reads a second of that idle worker", "idle_reads_per_s", operator.le, 3),
    Must("jobs running at once, 40 workers x 10 slots", "max_running", operator.ge, 400),
    Must("2 ms of network latency, 100 slots, against arq tuned", "vs_arq_tuned_latency", operator.ge, 30),
    Must("kill -9 to the job running again, s", "recovery_s", operator.le, LEASE_S + 1),
    Must("memory of an idle worker beyond plain arq's, MiB", "idle_memory_mib", operator.le, 15),
)


def _ratio(speeds: Mapping[str, Speed], ours: str, theirs: str) -> float:
    return round(speeds[ours].jobs_per_s / speeds[theirs].jobs_per_s, 2)


def _peers() -> list[contenders.Contender]:
    found = []
    for peer in PEERS:
        try:
            found.append(peer.install())
        except (subprocess.SubprocessError, OSError) as error:
            said = (getattr(error, "stderr", None) or b"").decode().strip().splitlines()[-1:]
            print(f"{peer.name} left out: cannot be installed: {error} {' '.join(said)}", file=sys.stderr)
    return found


async def _throughput(port: int, rounds: int, parts: set[str]) -> dict[str, Any]:
    peers = _peers() if "peers" in parts else []
    speeds = await throughput.measure([*OURS, *peers], port, rounds)
    figures: dict[str, Any] = {"contenders": {label: speed.jobs_per_s for label, speed in speeds.items()}}
    figures["vs_arq_tuned"] = _ratio(speeds, ARQUBE.label, ARQ_TUNED.label)
    figures["round_trips_per_job"] = speeds[ARQUBE.label].round_trips_per_job
    figures["arq_round_trips_per_job"] = speeds[ARQ_TUNED.label].round_trips_per_job
    measured = {peer.label: speeds[peer.label].jobs_per_s for peer in peers if peer.label in speeds}
    if measured:
        figures["fastest_peer"] = max(measured, key=measured.__getitem__)
        figures["vs_fastest_peer"] = _ratio(speeds, ARQUBE.label, figures["fastest_peer"])
    return figures


async def _measure(port: int, rounds: int, parts: set[str]) -> dict[str, Any]:
    figures: dict[str, Any] = {"rounds": rounds, "machine": table.machine()}
    if parts & {"throughput", "peers"}:
        figures |= await _throughput(port, rounds, parts)
    if "logs" in parts:
        speeds = await throughput.measure(WITH_LOGS, port, rounds)
        figures["vs_arq_tuned_logs"] = _ratio(speeds, ARQUBE_LOGS.label, ARQ_TUNED_LOGS.label)
        figures["contenders_with_logs"] = {label: speed.jobs_per_s for label, speed in speeds.items()}
    if "network" in parts:
        async with throughput.slow_network(port) as slow:
            speeds = await throughput.measure((ARQ_TUNED_FAR, ARQUBE), port, rounds, worker_port=slow)
        figures["vs_arq_tuned_latency"] = _ratio(speeds, ARQUBE.label, ARQ_TUNED.label)
        figures["contenders_with_latency"] = {label: speed.jobs_per_s for label, speed in speeds.items()}
    if "latency" in parts:
        figures |= await behaviour.start_latency(port, rounds)
    if "memory" in parts:
        figures |= await behaviour.idle_memory(port, rounds)
    if "recovery" in parts:
        figures |= await behaviour.recovery(port, rounds)
    if "fleet" in parts:
        figures |= await behaviour.max_running(port)
    return figures


def _table(figures: Mapping[str, Any]) -> str:
    lines = [figures["machine"], ""]
    lines += [f"{label:62} {speed:9.0f} jobs/s" for label, speed in figures.get("contenders", {}).items()]
    lines += [f"{label:62} {speed:9.0f} jobs/s" for label, speed in figures.get("contenders_with_logs", {}).items()]
    for label, speed in figures.get("contenders_with_latency", {}).items():
        lines.append(f"{label + ', 2 ms of network latency':62} {speed:9.0f} jobs/s")
    lines += ["", *table.rows(MUSTS, figures)]
    for figure in ("p50", "p99"):
        if (bare := figures.get(f"start_bare_{figure}_ms")) is not None:
            lines.append(f"{f'that of a worker that only takes the job, {figure}, ms':62} {bare:9}")
    return "\n".join(lines)


def _parts(text: str) -> set[str]:
    parts = set(text.split(","))
    if unknown := parts - set(PARTS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}: choose from {', '.join(PARTS)}")
    return parts


def main() -> None:
    """Measure, print, and draw."""
    end_as_by_ctrl_c()
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="runs whose median counts (%(default)s)")
    parser.add_argument("--only", type=_parts, default=set(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--output", type=Path, help="write the JSON to this file")
    parser.add_argument("--chart", type=Path, help="write a bar chart of the throughput to this PNG file")
    options = parser.parse_args()
    with RedisServer() as server:
        figures = asyncio.run(_measure(server.address.port, options.rounds, options.only))
    print(_table(figures))
    if options.chart and "contenders" in figures:
        chart.draw(figures["contenders"], options.chart)
    if options.output:
        options.output.write_text(json.dumps(figures, indent=2) + "\n")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
