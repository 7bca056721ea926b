"""How the worker's runtime gets into its pod: injected beside the app's image, or as a part of that image.

Injected, an init container copies it into a folder that the worker's container mounts, and the image's own Python runs
it. ``PYTHONPATH`` is left to the image: a variable in a pod would take the place of the image's own. The order of the
packages is made by ``run.py`` instead (``arqube_worker.inject``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from arqube_operator.api.v1alpha1 import WorkerSpec
from arqube_operator.decide import pod_security

NAME: Final = "arqube-runtime"
"""Of the init container and of its volume."""
FOLDER: Final = "/opt/arqube-runtime"


@dataclass(frozen=True, slots=True)
class Runtime:
    """What of a pod depends on where the runtime is.

    Attributes:
        command: Starts the worker, given its settings.
        init_containers: To run before it.
        volumes: Of the pod.
        mounts: Of the worker's container.
    """

    command: tuple[str, ...]
    init_containers: tuple[dict[str, Any], ...] = ()
    volumes: tuple[dict[str, Any], ...] = ()
    mounts: tuple[dict[str, Any], ...] = ()


def runtime(worker: WorkerSpec, image: str) -> Runtime:
    """The runtime of ``worker``; ``image`` is the one it is injected from."""
    if worker.runtime == "image":
        return Runtime(command=("arqube-worker",))
    return Runtime(
        # python3 by PEP 394: images with Debian's own Python have no `python`, and those with `python` have both.
        command=("python3", f"{FOLDER}/run.py"),
        init_containers=(_copy(image),),
        volumes=({"name": NAME, "emptyDir": {"sizeLimit": "64Mi"}},),
        mounts=({"name": NAME, "mountPath": FOLDER, "readOnly": True},),
    )


def _copy(image: str) -> dict[str, Any]:
    return {
        "name": NAME,
        "image": image,
        "command": ["python3", "-m", "arqube_worker.inject", FOLDER],
        # All four, so that a namespace with a quota takes the pod; it ends before the worker starts and adds nothing.
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "securityContext": pod_security.CONTAINER,
        "volumeMounts": [{"name": NAME, "mountPath": FOLDER}],
    }
