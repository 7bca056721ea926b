"""``spec.worker``: the pods that run the jobs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field

from arqube_operator.api.rules import ApiModel, Rule, matching

_IDENTIFIER: Final = "[A-Za-z_][A-Za-z0-9_]*"
_OWN_PREFIX: Final = "arqube.dev/"

Image = Annotated[
    str,
    Field(max_length=1000),
    matching(r"^\S+$", "must be a container image such as registry.example/app:1.4.2"),
]
SettingsPath = Annotated[
    str,
    Field(max_length=500),
    matching(
        rf"^{_IDENTIFIER}(\.{_IDENTIFIER})*[.:]{_IDENTIFIER}$",
        "must be the path of a WorkerSettings class, such as app.worker.WorkerSettings or app.worker:WorkerSettings",
    ),
]
LabelValue = Annotated[
    str,
    Field(max_length=63),
    matching(
        "^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$",
        "must be empty or letters, digits, -, _ and . between letters or digits",
    ),
]


class PodTemplateMetadata(ApiModel):
    """Labels and annotations that the pods get besides ours."""

    rules = (
        Rule(
            f"!has(self.labels) || self.labels.all(name, !name.startsWith('{_OWN_PREFIX}'))",
            message=f"must not hold names that begin with {_OWN_PREFIX}, by which the operator knows its pods",
            holds=lambda metadata: not any(name.startswith(_OWN_PREFIX) for name in metadata.labels or ()),
            path="labels",
        ),
    )

    labels: dict[str, LabelValue] | None = Field(default=None, max_length=64)
    """Labels of the pods."""
    annotations: dict[str, str] | None = Field(default=None, max_length=64)
    """Annotations of the pods."""


class PodTemplateSpec(ApiModel):
    """Fields of a PodSpec; Kubernetes checks those that are not named here when the pods are made."""

    model_config = ConfigDict(extra="allow")

    termination_grace_period_seconds: int | None = Field(default=None, ge=0, le=604_800)
    """Seconds between the request to stop and the kill: more than shutdown.timeout; that and 15 s unless set."""


class PodTemplate(ApiModel):
    """A partial pod template, laid over the operator's own: objects are merged, lists by the key of their items."""

    metadata: PodTemplateMetadata | None = None
    """Labels and annotations of the pods."""
    spec: PodTemplateSpec | None = None
    """Fields of the pods' PodSpec, such as nodeSelector or, of the container named worker, env and resources.

    A null takes a field of the operator's away; kubectl apply keeps nulls with --server-side only.
    """

    def to_object(self) -> dict[str, Any]:
        """The template as it was given. A null within it is kept: it takes a field of ours away."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class WorkerSpec(ApiModel):
    """The pods that run the jobs."""

    image: Image
    """Container image that holds the app and arq 0.25 or newer for Python 3.10 or newer; see runtime."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When a node pulls the image; Kubernetes' own default unless set: Always for the tag latest, else IfNotPresent."""
    runtime: Literal["inject", "image"] = "inject"
    """Where arqube-worker comes from: inject brings it into the pod beside the image, image takes the image's own."""
    settings: SettingsPath
    """Path of arq's WorkerSettings class in the image, such as app.worker.WorkerSettings."""
    concurrency: int = Field(default=10, ge=1, le=1000)
    """Jobs one pod runs at once; arq's max_jobs."""
    pod_template: PodTemplate = PodTemplate()
    """A partial pod template laid over the operator's: environment, resources, volumes, node selector and so on."""
