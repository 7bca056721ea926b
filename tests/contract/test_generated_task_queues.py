"""The operator's models and the CRD agree on TaskQueues nobody wrote: right, wrong and in between.

A rule stands in the models twice, as CEL and as Python; a real API server shows whether both say the same.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from arqube_operator.api.crd import custom_resource_definition
from arqube_operator.api.rules import VALIDATIONS
from arqube_operator.api.v1alpha1 import InvalidTaskQueueError, TaskQueue
from builders.schemas import mutated, values

SCHEMA: dict[str, Any] = custom_resource_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]

SPEC: dict[str, Any] = SCHEMA["properties"]["spec"]


def rule_messages(schema: Any) -> set[str]:
    """The messages of all rules within ``schema``."""
    if isinstance(schema, dict):
        own = {rule["message"] for rule in schema.get(VALIDATIONS, ())}
        return own.union(*map(rule_messages, schema.values()))
    return set()


RULE_MESSAGES = rule_messages(SCHEMA)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of ``fields``."""
    return st.fixed_dictionaries({}, optional=fields)


def mostly(good: st.SearchStrategy[Any], *bad: Any) -> st.SearchStrategy[Any]:
    """``good`` or, now and then, one of ``bad`` or what belongs nowhere."""
    odd = st.sampled_from([*bad, *bad, True, -1, 7, 0.5, "", "a b", [], {}])
    return st.integers(0, 29).flatmap(lambda dice: odd if dice == 0 else good)


def often(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """``usual`` or, each fourth time, ``other``."""
    return st.integers(0, 3).flatmap(lambda dice: other if dice == 0 else usual)


def one(*good: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(good)


HOSTS = ("redis", "redis.mail.svc", "10.0.0.1", "_x")
BAD_HOSTS = ("redis:6379", "a" * 254, "-redis", "r\u00e9d", "a/b", "fd00::1:g")
TEXTS = st.text(st.sampled_from("ab:@/?#[].-_"), min_size=1, max_size=9)
ANY_TEXTS = st.text(st.sampled_from("ab:@/?#[]. %\n1\u00e9"), max_size=9)
URLS = st.one_of(
    st.builds(
        "{}://{}{}{}{}".format,
        one("redis", "rediss"),
        one("", "app@", "", "app:@", "app:secret@", ":secret@", "a@b@", "a:b/c@"),
        one("redis", "redis.mail", "[fd00::1]", "fd00::1", "", "r d"),
        one("", ":1", ":6379", ":65535", ":", ":0", ":65536", ":x"),
        one("", "/", "/0", "/15", "/123456", "/x", "?password=x", "#x"),
    ),
    ANY_TEXTS.map("redis://{}".format),
)
TERMS = st.builds("{}{}".format, st.integers(0, 99_999), one("h", "m", "s", "ms"))
DURATIONS = st.one_of(
    one("1s", "30s", "31s", "24h", "1m1h"),
    one("0s", "999ms", "1000ms", "24h1ms", "1d", "-1s", "1.5s", "5"),
    st.lists(TERMS, min_size=1, max_size=4).map("".join),
)
AGES = st.one_of(DURATIONS, st.builds("{}d".format, st.integers(0, 1100)), one("1m", "59s", "23976h", "23977h", "1d1h"))
KEYS = st.fixed_dictionaries(
    {"name": mostly(one("redis", "a.b-c"), "Redis"), "key": mostly(one("url", "tls.crt"), "a/b")},
)
PLACES = {
    "host": mostly(one(*HOSTS, "fd00::1"), *BAD_HOSTS),
    "url": mostly(URLS, "http://redis"),
    "urlFrom": mostly(KEYS),
    "sentinel": st.fixed_dictionaries(
        {
            "master": mostly(TEXTS, "a b"),
            "hosts": mostly(
                st.lists(
                    mostly(one(*HOSTS, *(f"{host}:26379" for host in HOSTS), "redis:65535"), "redis:0", "fd00::1"),
                    min_size=1,
                    max_size=10,
                    unique_by=repr,
                ),
            ),
        }
    ),
}
REST = some(
    port=mostly(one(1, 6379, 65535), 0, 65536),
    database=mostly(one(0, 1, 65535), 65536),
    username=mostly(TEXTS, "a b"),
    passwordFrom=mostly(KEYS),
    tls=mostly(some(caFrom=KEYS, certFrom=KEYS, keyFrom=KEYS, verify=mostly(st.booleans()))),
)
PLACE = st.one_of([st.fixed_dictionaries({name: value}) for name, value in PLACES.items()])
REDIS = st.one_of(
    PLACE,
    st.builds(lambda place, rest: place | rest, PLACE, REST),
    st.builds(lambda place, more, rest: place | more | rest, PLACE, some(**PLACES), REST),
)
LABELS = st.dictionaries(
    one("team", "example.org/arqube.dev", "example.org/team", "arqube.dev/taskqueue"),
    mostly(one("", "mail", "a-b.c_d"), "-a", "a b", "a" * 64),
)
TEMPLATE = some(
    metadata=mostly(some(labels=mostly(LABELS))),
    spec=mostly(
        some(terminationGracePeriodSeconds=mostly(one(0, 1, 30, 31, 86_401, 604_800), 604_801), nodeName=TEXTS)
    ),
)
WORKER = st.fixed_dictionaries(
    {
        "image": mostly(one("app", "registry.example/app:1.4.2")),
        "settings": mostly(one("app.Settings", "app:Settings", "a.b:C"), "Settings", "a..b", "a:b.c", "1.a"),
    },
    optional={
        "imagePullPolicy": mostly(one("Always", "Never"), "never"),
        "concurrency": mostly(one(1, 10, 1000), 0, 1001),
        "podTemplate": mostly(TEMPLATE),
    },
)
COUNTS = mostly(one(0, 1, 2, 10, 11, 10_000), 10_001)
CRON_ITEMS = st.builds(
    "{}{}{}".format,
    one(*"*012345689", "12", "23", "29", "59", "60", "MON", "fri", "JAN", ""),
    # Neither names that run backwards nor days that never come: only the models know those.
    one("", "", "-1", "-5", "-23", "-SAT", "-DEC", "-"),
    one("", "", "", "/2", "/0", "/15", "/-1"),
)
CRON_FIELDS = st.one_of(one("*", "1"), st.lists(CRON_ITEMS, min_size=1, max_size=2).map(",".join))
GOOD_CRONS = one("0 8 * * 1-5", "*/5 8-18/2 1,15 * MON-FRI", "0 0 31 1,2 7", "0 0  01 jan sun")
OTHER_CRONS = st.one_of(
    one("@daily", "0 8 * *", "0 8 * * * *", " 0 8 * * *", "0 20-8 * * *"),
    st.tuples(CRON_FIELDS, CRON_FIELDS, *[one("*", "1")] * 3).map(" ".join),
    st.tuples(*[one("*", "1")] * 2, *[CRON_FIELDS] * 3).map(" ".join),
)
ZONES = one("UTC", "Europe/Berlin", "Etc/GMT+3", "America/Argentina/Buenos_Aires")
BAD_ZONES = ("Local", "GMT+3", "+02:00", "Europe", "Europe/Berln", "europe/berlin", "/etc/localtime", "A" * 65)
SHORT = mostly(one("1s", "30s", "1m30s", "1800s"), "0s", "999ms", "30m1s", "1h", "1h1ms", "1d")
LONG = mostly(one("60s", "10h", "23h60m"), "59s", "24h1ms", "168h", "169h", "1d")
LIMITS = some(
    stabilization=SHORT, maxPods=mostly(one(1, 4), 0), maxPercent=mostly(one(1, 100), 0, 10_001), period=SHORT
)
SCHEDULES = st.lists(
    st.fixed_dictionaries(
        {
            "start": often(GOOD_CRONS, OTHER_CRONS),
            "duration": LONG,
            "minReplicas": mostly(often(one(1, 5), one(10, 11)), 0),
        },
        optional={"timeZone": often(ZONES, one(*BAD_ZONES))},
    ),
    max_size=2,
).map(lambda windows: [{"name": f"window-{number}", **window} for number, window in enumerate(windows)])
SCALING = some(
    minReplicas=mostly(one(0, 1, 5), 11),
    maxReplicas=mostly(one(5, 10, 11, 10_000), 0, 4, 10_001),
    activationJobs=mostly(one(0, 1_000_000), 1_000_001),
    paused=mostly(one("All", "Up", "Down"), "None"),
    scaleUp=mostly(LIMITS),
    scaleDown=mostly(LIMITS),
    cooldown=LONG,
    tolerance=mostly(one(0, 10, 100), 101),
    fallback=mostly(
        st.fixed_dictionaries({"replicas": mostly(often(one(1, 5), one(10, 11)), 0)}, optional={"after": LONG})
    ),
    schedules=mostly(SCHEDULES, [{"name": "a"}], [{"name": "A b", "start": "* * * * *"}]),
    dryRun=mostly(st.booleans(), "true"),
)
TARGET = mostly(
    st.one_of(
        some(maxWait=LONG),
        some(jobsPerReplica=mostly(one(1, 100_000), 0, 100_001)),
    ),
    {"maxWait": "1m", "jobsPerReplica": 20},
).filter(lambda target: isinstance(target, dict))
SCALED_SPECS = st.builds(
    lambda scaling, target: {
        "redis": {"host": "redis"},
        "worker": {"image": "app", "settings": "app:Settings"},
        "scaling": scaling | target,
    },
    SCALING,
    TARGET,
)
ANY_SPECS = st.fixed_dictionaries(
    {"redis": mostly(REDIS), "worker": mostly(WORKER)},
    optional={
        "queueName": mostly(TEXTS, "a b"),
        "replicas": COUNTS,
        "scaling": mostly(some(minReplicas=COUNTS, maxReplicas=COUNTS, cooldown=mostly(DURATIONS))),
        "shutdown": mostly(some(timeout=mostly(DURATIONS))),
        "deadLetters": mostly(some(retention=mostly(AGES), maxEntries=COUNTS)),
    },
)
SPECS = st.one_of(ANY_SPECS, SCALED_SPECS)


def task_queue(spec: Any, *, name: str = "generated") -> dict[str, Any]:
    return {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def problems(body: dict[str, Any]) -> tuple[str, ...]:
    try:
        TaskQueue.from_object(body)
    except InvalidTaskQueueError as error:
        return error.problems
    return ()


@given(SPECS)
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_the_models_refuse_what_the_schema_refuses_and_beyond_that_only_by_rules(spec: Any) -> None:
    body = task_queue(spec)
    found = problems(body)
    if jsonschema.Draft7Validator(SCHEMA).is_valid(body):
        assert [problem for problem in found if not problem.endswith(tuple(RULE_MESSAGES))] == []
    else:
        assert found


def generated(count: int, strategy: st.SearchStrategy[Any]) -> list[dict[str, Any]]:
    """As many TaskQueues, the same in each run unless more are asked for, each with a name of its own."""
    specs: list[Any] = []

    @given(strategy)
    @settings(max_examples=count, phases=[Phase.generate], derandomize=True, suppress_health_check=list(HealthCheck))
    def collect(spec: Any) -> None:
        specs.append(spec)

    collect()
    return [task_queue(spec, name=f"generated-{number}") for number, spec in enumerate(specs)]


@pytest.mark.parametrize(
    ("strategy", "count", "fewest"),
    [
        pytest.param(SPECS, 800, 100, id="as people write them"),
        pytest.param(mutated(values(SPEC)), 150, 10, id="at the schema's bounds and beyond"),
    ],
)
def test_the_models_and_every_server_agree(
    api: Any, tmp_path: Path, strategy: st.SearchStrategy[Any], count: int, fewest: int
) -> None:
    wanted = int(os.environ.get("ARQUBE_FUZZ_EXAMPLES") or count)
    bodies = {body["metadata"]["name"]: body for body in generated(wanted, strategy)}
    # One call for all: kubectl goes on after each that is refused, and its start is what takes time.
    manifests = tmp_path / "generated.json"
    manifests.write_text("\n".join(map(json.dumps, bodies.values())))  # YAML knows fewer characters than JSON
    done = api.kubectl("create", "--dry-run=server", "-o", "name", "-f", str(manifests))
    accepted = {line.rpartition("/")[2] for line in done.stdout.splitlines()}
    found = {name: problems(body) for name, body in bodies.items()}
    # The fake knows the schema and no rules, and some patterns are refused in the words of a rule: it may take those.
    unknown = tuple(RULE_MESSAGES) if api.kind == "fake" else ()
    free = {name for name, each in found.items() if each and all(problem.endswith(unknown) for problem in each)}
    differing = {
        name: body for name, body in bodies.items() if name not in free and (name in accepted) != (found[name] == ())
    }
    told = {
        name: (name in accepted, found[name], [line for line in done.stderr.splitlines() if f'"{name}"' in line])
        for name, body in differing.items()
    }
    assert told == {}, (differing, done.stderr[-1000:])
    assert len(accepted) >= fewest, done.stderr
