"""A real cluster from `helm install` to `helm uninstall`. The tests are one story and run in this order."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)

EXAMPLES = Path(__file__).parents[3] / "examples"
SYSTEM, WORK = "arqube-e2e-system", "arqube-e2e"
JOBS = 5_000
MAX_REPLICAS = 8


def task_queue(name: str, *, redis: dict[str, Any], image: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "arqube.dev/v1alpha1",
        "kind": "TaskQueue",
        "metadata": {"name": name},
        "spec": {
            "redis": redis,
            "queueName": name,
            "worker": {
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "runtime": "image",  # The example's app gets it injected.
                "settings": "ledger.WorkerSettings",
            },
            "scaling": {"maxReplicas": MAX_REPLICAS, "cooldown": "5s"},
            "shutdown": {"timeout": "20s"},
            **spec,
        },
    }


def worker_pods(kubectl: Any, name: str) -> list[dict[str, Any]]:
    return kubectl.items("pods", f"--namespace={WORK}", f"--selector=arqube.dev/taskqueue={name}")


def at_zero(kubectl: Any, name: str) -> bool:
    deployment = kubectl.json("deployment", f"{name}-worker", f"--namespace={WORK}")
    return deployment.get("spec", {}).get("replicas") == 0 and not worker_pods(kubectl, name)


def at_rest(kubectl: Any, name: str) -> bool:
    """Whether it is at zero after its first worker told its cron jobs: each new TaskQueue starts one for that."""
    task_queue = kubectl.json("taskqueue", name, f"--namespace={WORK}")
    return "crons" in task_queue.get("status", {}).get("scaling", {}) and at_zero(kubectl, name)


def leader(kubectl: Any) -> str:
    lease = kubectl.json("lease", "arqube-operator", f"--namespace={SYSTEM}")
    return lease.get("spec", {}).get("holderIdentity", "")


async def test_the_release_runs_two_operators_and_one_leads(kubectl: Any, release: Any, eventually: Any) -> None:
    deployment = kubectl.json("deployment", "arqube-operator", f"--namespace={SYSTEM}")
    assert deployment["status"]["readyReplicas"] == 2
    pods = kubectl.items("pods", f"--namespace={SYSTEM}")
    assert await eventually(lambda: leader(kubectl), within_s=30) in {pod["metadata"]["name"] for pod in pods}


async def test_the_example_runs_from_zero_and_back(kubectl: Any, images: Any, arq: Any, eventually: Any) -> None:
    kubectl("apply", f"--namespace={WORK}", f"--filename={EXAMPLES}/emails/taskqueue.yaml")
    await eventually(lambda: at_rest(kubectl, "emails"), within_s=120, every_s=1)
    # The client runs in the cluster, on the app's image: `kubectl run`, with what *restricted* asks for.
    secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    client = {
        "name": "enqueue",
        "image": images["emails:1"],
        "command": ["python", "enqueue.py", "100"],
        "env": [{"name": "REDIS_QUEUE_HOST", "value": "redis"}],
        "securityContext": {**secure, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "enqueue"}}
    kubectl.apply({**pod, "spec": {"restartPolicy": "Never", "containers": [client]}})

    async def done() -> bool:
        return len(await arq.keys("arq:result:*")) == 100

    await eventually(done, within_s=120, every_s=0.5)
    results = await arq.all_job_results()
    assert {result.result for result in results} == {f"sent to person{number}@example.com" for number in range(100)}
    await eventually(lambda: at_zero(kubectl, "emails"), within_s=120, every_s=1)
    kubectl("delete", "taskqueue/emails", "pod/enqueue", f"--namespace={WORK}")
    await eventually(lambda: not kubectl.json("deployment", "emails-worker", f"--namespace={WORK}"), within_s=30)


async def test_no_job_is_lost_or_interrupted_through_a_load_a_rollout_and_a_deleted_pod(
    kubectl: Any, images: Any, redis_host: str, ledger: Any, watch: Any, figures: dict[str, Any], eventually: Any
) -> None:
    kubectl.apply(task_queue("load", redis={"host": redis_host}, image=images["ledger:1"]))
    await eventually(lambda: at_rest(kubectl, "load"), within_s=120, every_s=1)
    assert kubectl.condition("load", "Ready").get("status") == "True"
    jobs = ledger("load")
    durations = random.Random(5)  # noqa: S311 - any durations, the same in every run
    with watch("load-worker") as deployment:
        began = time.monotonic()
        await jobs.enqueue([durations.uniform(0.5, 1.5) for _ in range(JOBS)])
        figures["enqueue_s"] = round(time.monotonic() - began, 2)
        await eventually(jobs.first_job_s, within_s=120)
        figures["first_scale_s"] = round(deployment.scaled_at - began, 2)
        figures["first_job_s"] = await jobs.first_job_s()

        async def share_completed(share: float) -> bool:
            return await jobs.completed() >= share * JOBS

        await eventually(lambda: share_completed(0.2), within_s=300, every_s=0.5)
        image = {"spec": {"worker": {"image": images["ledger:2"]}}}
        kubectl("patch", "taskqueue/load", f"--namespace={WORK}", "--type=merge", f"--patch={json.dumps(image)}")
        await eventually(lambda: share_completed(0.5), within_s=300, every_s=0.5)
        victim = next(
            pod["metadata"]["name"]
            for pod in worker_pods(kubectl, "load")
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
        )
        kubectl("delete", "pod", victim, f"--namespace={WORK}", "--wait=false")
        await eventually(lambda: share_completed(1), within_s=600, every_s=0.5)
        figures["load_s"] = round(time.monotonic() - began, 1)
        await eventually(lambda: at_zero(kubectl, "load"), within_s=180, every_s=1)
        figures["back_to_zero_s"] = round(time.monotonic() - began - figures["load_s"], 1)
    account = await jobs.account()
    versions = await jobs.runs("versions")
    figures |= {
        **account,
        "peak_replicas": deployment.peak,
        "peak_ready": deployment.peak_ready,
        "by_version": versions,
    }
    assert account == {"enqueued": JOBS, "completed": JOBS, "lost": 0, "run_twice": 0, "interrupted": 0}
    assert deployment.peak == MAX_REPLICAS
    assert versions["1"] > 0
    assert versions["2"] > 0
    assert figures["first_scale_s"] < 2
    results = await jobs.arq.all_job_results()
    assert {(result.success, result.job_try) for result in results if result.queue_name == "load"} == {(True, 1)}
    assert not await jobs.arq.keys("arq:in-progress:*")


async def test_another_operator_takes_over_when_the_leader_goes(
    kubectl: Any, images: Any, ledger: Any, figures: dict[str, Any], eventually: Any
) -> None:
    before = leader(kubectl)
    began = time.monotonic()
    kubectl("delete", "pod", before, f"--namespace={SYSTEM}", "--wait=false")
    await eventually(lambda: leader(kubectl) not in ("", before), within_s=30, every_s=0.1)
    figures["leader_handover_s"] = round(time.monotonic() - began, 2)
    jobs = ledger("load")
    completed = await jobs.completed()
    await jobs.enqueue([0.1] * 50)

    async def served() -> bool:
        return await jobs.completed() == completed + 50

    await eventually(served, within_s=90, every_s=0.5)


async def test_what_cannot_work_ends_as_conditions_while_another_queue_is_served(
    kubectl: Any, images: Any, redis_host: str, ledger: Any, figures: dict[str, Any], eventually: Any
) -> None:
    image = images["ledger:2"]
    no_secret = {"host": redis_host, "passwordFrom": {"name": "missing", "key": "password"}}
    unknown = {"image": "registry.invalid/app:1", "settings": "ledger.WorkerSettings"}
    one = {"minReplicas": 1, "maxReplicas": 1}
    kubectl.apply(
        task_queue("no-secret", redis=no_secret, image=image),
        task_queue("no-redis", redis={"host": "198.51.100.1"}, image=image),  # An address of RFC 5737: nobody answers.
        task_queue("no-image", redis={"host": redis_host}, image=image, worker=unknown, scaling=one),
    )
    expected = {
        "no-secret": ("RedisReachable", "False", "SecretNotFound"),
        "no-redis": ("RedisReachable", "False", "RedisUnreachable"),
        "no-image": ("WorkersAvailable", "False", "ImagePullFailed"),
    }

    def found() -> dict[str, tuple[str, str, str]]:
        conditions = {name: kubectl.condition(name, kind) for name, (kind, _, _) in expected.items()}
        return {name: (one.get("type"), one.get("status"), one.get("reason")) for name, one in conditions.items()}

    await eventually(lambda: found() == expected, within_s=60, every_s=1)
    for name in expected:
        assert kubectl.condition(name, "Ready")["status"] == "False"
    jobs = ledger("load")
    completed, began = await jobs.completed(), time.monotonic()
    await jobs.enqueue([0.1] * 100)

    async def served() -> bool:
        return await jobs.completed() == completed + 100

    await eventually(served, within_s=90, every_s=0.5)
    figures["served_beside_broken_queues_s"] = round(time.monotonic() - began, 1)
    assert found() == expected
    # What is mended is served.
    mended = json.dumps({"spec": {"redis": {"host": redis_host}}})
    kubectl("patch", "taskqueue/no-redis", f"--namespace={WORK}", "--type=merge", f"--patch={mended}")
    await eventually(lambda: kubectl.condition("no-redis", "Ready").get("status") == "True", within_s=60, every_s=1)


async def test_with_namespaces_given_only_those_are_served_and_roles_suffice(
    kubectl: Any, images: Any, release: Any, redis_host: str, ledger: Any, eventually: Any
) -> None:
    notes = release.deploy(f"watchNamespaces={{{WORK}}}")
    assert f"TaskQueues of {WORK}" in notes
    cluster_roles = kubectl("get", "clusterroles", "--selector=app.kubernetes.io/part-of=arqube", "--output=name")
    assert all(role.endswith((":view", ":edit")) for role in cluster_roles.split())
    elsewhere = task_queue("elsewhere", redis={"host": redis_host}, image=images["ledger:2"])
    kubectl.apply(elsewhere, namespace=SYSTEM)
    jobs = ledger("load")
    completed = await jobs.completed()
    await jobs.enqueue([0.1] * 50)

    async def served() -> bool:
        return await jobs.completed() == completed + 50

    await eventually(served, within_s=90, every_s=0.5)
    assert "status" not in kubectl.json("taskqueue", "elsewhere", f"--namespace={SYSTEM}")
    kubectl("delete", "taskqueue/elsewhere", f"--namespace={SYSTEM}")


def test_the_operators_were_never_refused(kubectl: Any, release: Any) -> None:
    selector = "--selector=app.kubernetes.io/name=arqube-operator"
    logs = kubectl("logs", f"--namespace={SYSTEM}", selector, "--tail=-1", "--prefix")
    refused = [line for line in logs.splitlines() if "forbidden" in line.lower()]
    assert logs
    assert not refused


async def test_uninstalling_leaves_the_definition_and_nothing_else(
    kubectl: Any, release: Any, redis_host: str, eventually: Any
) -> None:
    kinds = ",".join(kubectl("api-resources", "--verbs=list", "--output=name").split())

    def left() -> set[str]:
        ours = [
            kubectl("get", kinds, "--all-namespaces", "--ignore-not-found", f"--selector={label}", "--output=name")
            for label in ("app.kubernetes.io/part-of=arqube", "app.kubernetes.io/managed-by=arqube-operator")
        ]
        return {name for names in ours for name in names.split()}

    assert left(), "the selectors find what is installed"
    kubectl("delete", "taskqueues", "--all", f"--namespace={WORK}", timeout_s=120)
    await eventually(lambda: not worker_pods(kubectl, "load"), within_s=60, every_s=1)
    release.uninstall()
    await eventually(lambda: not left(), within_s=90, every_s=1)
    assert kubectl.json("customresourcedefinition", "taskqueues.arqube.dev"), "crds.keep is the default"
    secrets = kubectl("get", "secrets", f"--namespace={SYSTEM}", "--output=name").split()
    assert not [name for name in secrets if "helm.release" in name]
    assert not kubectl.items("leases", f"--namespace={SYSTEM}")
