"""TaskQueues that the schema takes and that are hostile: the operator tells what is wrong and sees to the others.

One operator lives through the whole table beside a sound TaskQueue, the neighbour.
"""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
import pytest_asyncio

from arqube_local.redis_server import RedisServer
from arqube_operator.kube.client import DEPLOYMENTS, EVENTS, PODS, SECRETS, TASK_QUEUES, ApiError

KIND = "TaskQueues that the schema takes"
NAMESPACE = "default"
MANAGER = "test"
SECRET_TEXT = "n0t-to-be-seen"  # noqa: S105 - looked for where it must not be
NEIGHBOUR = f"neighbour-{os.getpid()}"
WITHIN_S = 40.0
OTHER_KEY = "hostile:hash"

Eventually = Callable[..., Awaitable[Any]]

_numbers = count(1)


@pytest.fixture(scope="module")
def operator(server: Any, operator_process: Any) -> Iterator[Any]:
    process = operator_process(server.kubeconfig, f"hostile-{os.getpid()}").start()
    yield process
    process.stop()


def task_queue(name: str, redis: dict[str, Any], **spec: Any) -> dict[str, Any]:
    worker = {"image": "app:1", "settings": "app.WorkerSettings", **spec.pop("worker", {})}
    return {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name},
        "spec": {"redis": redis, "queueName": name, "worker": worker, **spec},
    }


class Attack:
    """What a case does to the cluster."""

    def __init__(self, api: Any, redis: RedisServer) -> None:
        self.api = api
        self.client = api.client
        self.name = f"hostile-{next(_numbers)}-{os.getpid()}"
        self.here = {"host": "127.0.0.1", "port": redis.address.port}
        self.url = f"redis://127.0.0.1:{redis.address.port}"

    async def apply(self, redis: dict[str, Any] | None = None, name: str | None = None, **spec: Any) -> None:
        body = task_queue(name or self.name, self.here if redis is None else redis, **spec)
        body["metadata"]["name"] = name or self.name
        await self.client.apply(TASK_QUEUES, NAMESPACE, name or self.name, body, field_manager=MANAGER)

    async def secret(self, content: bytes, key: str = "value") -> dict[str, str]:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self.name},
            "data": {key: base64.b64encode(content).decode()},
        }
        await self.client.apply(SECRETS, NAMESPACE, self.name, body, field_manager=MANAGER)
        return {"name": self.name, "key": "value"}

    async def templated(self, **template: Any) -> None:
        await self.apply(worker={"podTemplate": template})

    async def container(self, **fields: Any) -> None:
        await self.templated(spec={"containers": [{"name": "worker", **fields}]})

    async def status(self) -> dict[str, Any]:
        return (await self.client.get(TASK_QUEUES, NAMESPACE, self.name) or {}).get("status", {})

    async def reasons(self) -> set[str]:
        return {each["reason"] for each in (await self.status()).get("conditions", ())}


async def a_broken_status(attack: Attack) -> None:
    await attack.apply()
    times = {"lastTransitionTime": "0001-01-01T00:00:00Z", "status": "False", "message": "x" * 30_000}
    condition = {"type": "ScalingLimited", "reason": "MaxReplicas", **times}
    scaling = {"reason": "A", "message": "", "startupSeconds": 1e308, "lastScaleTime": "0001-01-01T00:00:00Z"}
    scaling["crons"] = {"template": "", "next": "9999-12-31T23:59:59-23:59"}
    scaling["inputs"] = {
        "waiting": 2**62,
        "running": 0,
        "dueSoon": 0,
        "oldestWaitSeconds": 1e308,
        "serviceSeconds": 1e308,
    }
    scaling["inputs"]["arrivalsPerSecond"] = 1e308
    status = {"conditions": [condition], "scaling": scaling, "replicas": 2**31 - 1, "observedGeneration": 2**40}
    await attack.client.patch_status(TASK_QUEUES, NAMESPACE, attack.name, status, field_manager="stranger")


async def a_copy_of_the_neighbours_deployment(attack: Attack) -> None:
    live = await attack.client.get(DEPLOYMENTS, NAMESPACE, f"{NEIGHBOUR}-worker")
    metadata = {"name": f"{attack.name}-copy", "labels": live["metadata"]["labels"]}
    spec = {**live["spec"], "replicas": 7}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
    await attack.client.create(DEPLOYMENTS, NAMESPACE, body, field_manager="stranger")
    await attack.apply()


async def a_pod_with_our_labels(attack: Attack) -> None:
    labels = {"app.kubernetes.io/managed-by": "arqube-operator", "arqube.dev/taskqueue": NEIGHBOUR}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"{attack.name}-stranger", "labels": labels},
        "spec": {"containers": [{"name": "other", "image": "other"}]},
    }
    await attack.client.create(PODS, NAMESPACE, body, field_manager="stranger")
    waiting = {"reason": "CrashLoopBackOff", "message": "none of yours"}
    container = {
        "name": "other",
        "state": {"waiting": waiting},
        "image": "",
        "imageID": "",
        "restartCount": 9,
        "ready": False,
    }
    status = {"containerStatuses": [container]}
    await attack.client.patch_status(PODS, NAMESPACE, body["metadata"]["name"], status, field_manager="stranger")
    await attack.apply()


async def a_deployment_of_the_derived_name(attack: Attack) -> None:
    labels = {"app": "somebody-elses"}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{attack.name}-worker"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "other", "image": "other"}]}},
        },
    }
    await attack.client.create(DEPLOYMENTS, NAMESPACE, body, field_manager="stranger")
    await attack.apply()


async def a_finalizer_nobody_sees_to(attack: Attack) -> None:
    await attack.apply()
    metadata = {"finalizers": ["example.org/never"]}
    await attack.client.patch_metadata(TASK_QUEUES, NAMESPACE, attack.name, metadata, field_manager="stranger")
    await attack.client.delete(TASK_QUEUES, NAMESPACE, attack.name)
    await attack.client.patch_metadata(
        TASK_QUEUES, NAMESPACE, attack.name, {"finalizers": None}, field_manager="stranger"
    )
    await attack.apply()


async def our_own_labels(attack: Attack) -> None:
    await attack.apply()
    ours = {"arqube.dev/taskqueue": NEIGHBOUR, "app.kubernetes.io/managed-by": "arqube-operator"}
    metadata = {
        "labels": ours,
        "annotations": {"arqube.dev/spec-hash": "0", "kopf.zalando.org/last-handled-configuration": "{"},
    }
    await attack.client.patch_metadata(TASK_QUEUES, NAMESPACE, attack.name, metadata, field_manager="stranger")


async def from_secret(attack: Attack, content: bytes, key: str = "value") -> None:
    await attack.apply({"urlFrom": await attack.secret(content, key)})


async def with_password(attack: Attack, content: bytes) -> None:
    await attack.apply({**attack.here, "passwordFrom": await attack.secret(content)})


async def with_authority(attack: Attack, content: bytes) -> None:
    await attack.apply({**attack.here, "tls": {"caFrom": await attack.secret(content)}})


async def behind_the_operators_own_port(attack: Attack, port: int) -> None:
    await attack.apply({"host": "127.0.0.1", "port": port})


UNREACHABLE = {"RedisUnreachable"}
REFUSED = {"RedisAuthenticationFailed"}
WELL = {"Connected"}
SAID_BY_REAL = {"ApiRefused"}
"""What only a real API server looks at; the fake takes it."""

Deed = Callable[[Attack], Awaitable[None]]

CASES: dict[str, tuple[Deed, set[str]]] = {
    "the host has an empty label": (lambda a: a.apply({"host": "a..b"}), UNREACHABLE),
    "the host's label is too long": (lambda a: a.apply({"host": "a" * 253}), UNREACHABLE),
    "the host is a number": (lambda a: a.apply({"host": "0", "port": 1}), UNREACHABLE),
    "the host is an address that is none": (lambda a: a.apply({"host": "999.999.999.999"}), UNREACHABLE),
    "the sentinels are none": (
        lambda a: a.apply({"sentinel": {"master": "m%00", "hosts": ["127.0.0.1:1", "a..b:1"]}}),
        UNREACHABLE,
    ),
    "the URL hides a password in its user": (
        lambda a: a.apply({"url": a.url.replace("//", f"//app%3A{SECRET_TEXT}@")}),
        WELL | REFUSED,
    ),
    "the Secret is not there": (
        lambda a: a.apply({**a.here, "passwordFrom": {"name": "nowhere", "key": "a"}}),
        {"SecretNotFound"},
    ),
    "the Secret has another key": (lambda a: from_secret(a, b"redis://redis", "other"), {"SecretNotFound"}),
    "the Secret's URL is binary": (lambda a: from_secret(a, bytes(range(256))), {"SecretNotFound"}),
    "the Secret's URL is empty": (lambda a: from_secret(a, b""), {"InvalidRedisAddress"}),
    "the Secret's URL is of another scheme": (
        lambda a: from_secret(a, f"http://:{SECRET_TEXT}@redis".encode()),
        {"InvalidRedisAddress"},
    ),
    "the Secret's URL has a password with a slash": (
        lambda a: from_secret(a, f"redis://:{SECRET_TEXT}/x@redis:6379/0".encode()),
        {"InvalidRedisAddress"},
    ),
    "the Secret's URL has a null byte": (
        lambda a: from_secret(a, b"redis://re\0dis"),
        UNREACHABLE | {"InvalidRedisAddress"},
    ),
    "the Secret's URL has a line break": (
        lambda a: from_secret(a, b"redis://127.0.0.1:1\n\nX"),
        UNREACHABLE | {"InvalidRedisAddress"},
    ),
    "the password has line breaks": (
        lambda a: with_password(a, f"{SECRET_TEXT}\r\nFLUSHALL\r\n".encode()),
        WELL | REFUSED,
    ),
    "the password is binary": (lambda a: with_password(a, b"\xff\xfe"), {"SecretNotFound"}),
    "the authority is no certificate": (lambda a: with_authority(a, b"not a certificate"), UNREACHABLE),
    "the authority is empty": (lambda a: with_authority(a, b""), UNREACHABLE),
    "the queue is a key of another kind": (
        lambda a: a.apply(queueName=OTHER_KEY),
        {"NotAQueue"},
    ),
    "the queue is the neighbour's too": (lambda a: a.apply(queueName=NEIGHBOUR), WELL),
    "the queue's name is made of signs": (lambda a: a.apply(queueName="{*}[?]\u202e\u0001\\'\""), WELL),
    "the queue's name is of 200 letters": (lambda a: a.apply(queueName="\u00e9" * 200), WELL),
    "the schedule is on a day that never comes": (
        lambda a: a.apply(
            scaling={"schedules": [{"name": "a", "start": "0 0 30 2 *", "duration": "1h", "minReplicas": 1}]}
        ),
        {"InvalidSpec"},
    ),
    "every schedule is open at once": (
        lambda a: a.apply(
            scaling={
                "maxReplicas": 10_000,
                "schedules": [
                    {"name": f"s{n}", "start": "* * * * *", "duration": "168h", "minReplicas": n + 1, "timeZone": zone}
                    for n, zone in enumerate(["Pacific/Kiritimati", "Etc/GMT+12", "Antarctica/Troll", "UTC"] * 8)
                ],
            }
        ),
        WELL,
    ),
    "all durations are the longest": (
        lambda a: a.apply(
            scaling={
                "maxWait": "24h",
                "cooldown": "24h",
                "scaleDown": {"stabilization": "1h", "period": "30m", "maxPods": 10_000},
                "fallback": {"replicas": 10, "after": "24h"},
            },
            shutdown={"timeout": "24h"},
            deadLetters={"retention": "999d", "maxEntries": 10_000_000},
        ),
        WELL,
    ),
    "10,000 pods are asked for": (
        lambda a: a.apply(replicas=10_000, scaling={"maxReplicas": 10_000}),
        {"ManualReplicas"},
    ),
    "the pod has no containers": (lambda a: a.templated(spec={"containers": None}), SAID_BY_REAL),
    "the containers are a text": (lambda a: a.templated(spec={"containers": "worker"}), SAID_BY_REAL),
    "the container has no name": (lambda a: a.templated(spec={"containers": [{"image": "other"}]}), SAID_BY_REAL),
    "the container has no image": (lambda a: a.container(image=None), SAID_BY_REAL),
    "the command is a text": (lambda a: a.container(command="sh -c evil"), SAID_BY_REAL),
    "the environment is a map": (lambda a: a.container(env={"A": "b"}), SAID_BY_REAL),
    "the port is none": (lambda a: a.container(ports=[{"containerPort": 70_000}]), SAID_BY_REAL),
    "a request is above its limit": (
        lambda a: a.container(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        SAID_BY_REAL,
    ),
    "pods are not to be restarted": (lambda a: a.templated(spec={"restartPolicy": "Never"}), SAID_BY_REAL),
    "a volume is of no kind": (
        lambda a: a.templated(spec={"volumes": [{"name": "tmp", "emptyDir": None}]}),
        WELL | SAID_BY_REAL,
    ),
    "a mount has no volume": (
        lambda a: a.container(volumeMounts=[{"name": "nowhere", "mountPath": "/x"}]),
        SAID_BY_REAL,
    ),
    "an annotation has no name": (lambda a: a.templated(metadata={"annotations": {"": "x"}}), SAID_BY_REAL),
    "annotations are beyond any bound": (
        lambda a: a.templated(metadata={"annotations": {"a": "x" * 300_000}}),
        SAID_BY_REAL,
    ),
    "the node is a path": (lambda a: a.templated(spec={"nodeName": "../../nodes"}), SAID_BY_REAL),
    "command, arguments, ports and environment are others": (
        lambda a: a.container(
            command=["sh", "-c", "exit 0"],
            args=[],
            ports=[],
            env=[{"name": "ARQUBE_QUEUE_NAME", "value": NEIGHBOUR}, {"name": "ARQUBE_WORKER_NAME", "value": "same"}],
        ),
        WELL,
    ),
    "a stranger has written its status": (a_broken_status, WELL),
    "a copy of the neighbour's Deployment is there": (a_copy_of_the_neighbours_deployment, WELL),
    "a stranger's pod has the neighbour's labels": (a_pod_with_our_labels, WELL),
    "a stranger's Deployment has its name": (a_deployment_of_the_derived_name, SAID_BY_REAL),
    "it has a finalizer that nobody sees to": (a_finalizer_nobody_sees_to, WELL),
    "it has labels and annotations of ours": (our_own_labels, WELL),
    "its Redis is an HTTP server": (lambda a: behind_the_operators_own_port(a, 0), UNREACHABLE),
}


@pytest_asyncio.fixture
async def attack(api: Any, operator: Any, redis_server: RedisServer, eventually: Eventually) -> AsyncIterator[Attack]:
    """Ready to be done; the operator leads, and the neighbour is well."""
    await eventually(operator.leads, within_s=WITHIN_S)
    made = Attack(api, redis_server)
    await made.client.apply(
        TASK_QUEUES, NAMESPACE, NEIGHBOUR, task_queue(NEIGHBOUR, made.here, replicas=0), field_manager=MANAGER
    )
    await eventually(lambda: neighbour_is_well(made), within_s=WITHIN_S)
    yield made
    for resource, name in (
        (TASK_QUEUES, made.name),
        (DEPLOYMENTS, f"{made.name}-worker"),
        (DEPLOYMENTS, f"{made.name}-copy"),
        (PODS, f"{made.name}-stranger"),
        (SECRETS, made.name),
    ):
        with suppress(ApiError):
            await made.client.delete(resource, NAMESPACE, name)


async def neighbour_is_well(attack: Attack) -> bool:
    status = (await attack.client.get(TASK_QUEUES, NAMESPACE, NEIGHBOUR) or {}).get("status", {})
    found = {each["type"]: (each["status"], each["reason"]) for each in status.get("conditions", ())}
    return found.get("Ready") == ("True", "Ready") and found.get("WorkersAvailable") == ("True", "ScaledToZero")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_it_is_told_what_is_wrong_and_others_are_seen_to(
    attack: Attack, operator: Any, redis_server: RedisServer, eventually: Eventually, case: tuple[Deed, set[str]]
) -> None:
    deed, wanted = case
    if attack.api.kind != "real" and wanted <= SAID_BY_REAL:
        pytest.skip("only a real API server looks at that")
    redis = redis_server.address.connect()
    await redis.hset(OTHER_KEY, "field", "value")
    await redis.aclose()
    if case is CASES["its Redis is an HTTP server"]:
        await behind_the_operators_own_port(attack, operator.port)
    else:
        await deed(attack)

    async def told() -> set[str]:
        return wanted & await attack.reasons()

    try:
        await eventually(told, within_s=WITHIN_S)
    except BaseException:
        raise AssertionError(f"wanted {wanted}, told {await attack.status()}") from None
    # A change of the neighbour's is heeded after it, and the operator has met no defect.
    number = next(_numbers)
    body = task_queue(NEIGHBOUR, attack.here, replicas=0, worker={"image": f"app:{number}"})
    await attack.client.apply(TASK_QUEUES, NAMESPACE, NEIGHBOUR, body, field_manager=MANAGER)

    async def rolled_out() -> bool:
        live = await attack.client.get(DEPLOYMENTS, NAMESPACE, f"{NEIGHBOUR}-worker")
        return live is not None and live["spec"]["template"]["spec"]["containers"][0]["image"] == f"app:{number}"

    await eventually(rolled_out, within_s=WITHIN_S)
    await eventually(lambda: neighbour_is_well(attack), within_s=WITHIN_S)
    log = operator.log.read_text()
    assert "reconcile.defect" not in log
    assert "Traceback" not in log
    assert SECRET_TEXT not in log
    events, _ = await attack.client.list(EVENTS, NAMESPACE)
    shown = str(await attack.status()) + str([each["message"] for each in events])
    assert SECRET_TEXT not in shown
