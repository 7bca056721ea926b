"""Tasks: what can be asked for, and what is told of one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from arqube_queue.job_records import JobRecord, JobState
from arqube_queue.job_tries import JobTry


class Greeting(BaseModel):
    """The template's sample: says hello after a while."""

    function: Literal["sample_background_task"]
    name: str = Field(max_length=100)


class ExchangeRate(BaseModel):
    """Asks a service of somebody else, again and again while that is away."""

    function: Literal["fetch_exchange_rate"]
    currency: str = Field(pattern=r"^[A-Z]{3}$")


class Training(BaseModel):
    """Keeps a processor busy."""

    function: Literal["train_model"]
    points: int = Field(default=10_000, ge=10, le=1_000_000)
    epochs: int = Field(default=50, ge=1, le=10_000)


TaskCreate = Annotated[Greeting | ExchangeRate | Training, Field(discriminator="function")]
"""The tasks that clients may ask for, and no other function of the worker."""


class TaskCreated(BaseModel):
    """The task's id."""

    id: str


class TaskTry(BaseModel):
    """One start of a task."""

    number: int
    worker: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    error: str

    @classmethod
    def of(cls, one: JobTry) -> TaskTry:
        """A try as Redis holds it."""
        return cls(
            number=one.number,
            worker=one.worker,
            started_at=datetime.fromtimestamp(one.started_ms / 1000, UTC),
            ended_at=_time(one.ended_ms),
            outcome=one.outcome,
            error=one.error,
        )


class TaskRead(BaseModel):
    """All that is known of a task. ``result`` is there while arq keeps it, for an hour."""

    id: str
    queue: str
    function: str | None
    status: JobState
    enqueued_at: datetime | None
    due_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    cancelling: bool
    error: str
    tries: list[TaskTry]
    result: Any = None

    @classmethod
    def of(cls, job: JobRecord, queue: str, result: Any = None) -> TaskRead:
        """A job as Redis holds it."""
        return cls(
            id=job.job_id,
            queue=queue,
            function=job.function,
            status=job.state,
            enqueued_at=_time(job.enqueued_ms),
            due_at=_time(job.due_ms),
            started_at=_time(job.started_ms),
            ended_at=_time(job.ended_ms),
            cancelling=job.cancelling,
            error=job.error,
            tries=[TaskTry.of(one) for one in job.tries],
            result=result,
        )


class TaskList(BaseModel):
    """A page of tasks; ``next`` asks for the next one."""

    tasks: list[TaskRead]
    next: str | None


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
