"""How long it took after a blow until work went on. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence

from benchmarks.chaos.checker import Verdict
from benchmarks.chaos.faults import Explains, Struck
from benchmarks.chaos.ledger import Job


def recoveries(struck: Sequence[Struck], verdict: Verdict, jobs: Mapping[str, Job]) -> dict[str, list[float]]:
    """For each fault, the seconds of each of its blows.

    For one with victims, until the last of their interrupted jobs began again, counted from the blow; for any other,
    from its healing until the next job began; one after which another blow fell before that tells nothing.
    """
    starts = sorted(run.began for job in jobs.values() for run in job.runs)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for blow in struck:
        if blow.explains is Explains.VICTIMS:
            again = [each.seconds for each in verdict.repeats if (each.fault, each.blow_at) == (blow.fault, blow.began)]
            if again:
                found[blow.fault].append(max(again))
            continue
        following = bisect_left(starts, blow.healed)
        if following < len(starts) and not any(blow.healed < each.began < starts[following] for each in struck):
            found[blow.fault].append(starts[following] - blow.healed)
    return dict(found)
