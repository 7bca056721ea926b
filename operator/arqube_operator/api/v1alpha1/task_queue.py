"""The TaskQueue itself, and how it is read from what the API server hands out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from arqube_operator.api.rules import RULE_ERROR, ApiModel, Rule
from arqube_operator.api.v1alpha1.spec import TaskQueueSpec
from arqube_operator.api.v1alpha1.status import TaskQueueStatus

GROUP: Final = "arqube.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "TaskQueue"

_LONGEST_NAME: Final = 50
"""Leaves room for what is appended in names of Deployments and pods, and within a label's 63 characters."""

_REMEDIES: Final = {
    "missing": "is required; add it",
    "extra_forbidden": "is no field of the TaskQueue; remove it or correct its spelling",
}


class InvalidTaskQueueError(ValueError):
    """The object is no valid TaskQueue.

    Attributes:
        problems: What is wrong, each with the path of its field and the remedy; never with a value.
    """

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class ObjectMeta(ApiModel):
    """What the operator needs of Kubernetes' metadata."""

    model_config = ConfigDict(extra="ignore")

    name: str
    namespace: str
    uid: str = ""
    generation: int = 0
    deletion_timestamp: str | None = None


class TaskQueue(ApiModel):
    """An arq queue and the workers that the operator runs for it: as many as what waits in Redis needs."""

    rules = (
        Rule(
            f"self.metadata.name.size() <= {_LONGEST_NAME}",
            message=f"metadata.name must have at most {_LONGEST_NAME} characters, as names of pods are made from it",
            holds=lambda queue: len(queue.metadata.name) <= _LONGEST_NAME,
        ),
    )

    api_version: Literal["arqube.dev/v1alpha1"]
    kind: Literal["TaskQueue"]
    metadata: ObjectMeta
    spec: TaskQueueSpec
    """What is asked for."""
    status: TaskQueueStatus = Field(default_factory=TaskQueueStatus)
    """What the operator last saw and decided."""

    @classmethod
    def from_object(cls, body: Mapping[str, Any]) -> Self:
        """Read an object of the API.

        Raises:
            InvalidTaskQueueError: A field is missing, unknown, of a wrong type or out of bounds, or a rule is broken.
        """
        try:
            return cls.model_validate(dict(body), by_alias=True, by_name=False)
        except ValidationError as error:
            raise InvalidTaskQueueError(tuple(map(_describe, error.errors()))) from None


def _describe(error: ErrorDetails) -> str:
    """One of pydantic's errors as ``spec.path[0].field: what it must be``."""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    if error["type"] == RULE_ERROR and (below := error["ctx"]["path"]):
        path += f".{below}"
    message = _REMEDIES.get(error["type"], error["msg"].replace("Input should be", "must be"))
    return f"{path.lstrip('.')}: {message}" if path else message
