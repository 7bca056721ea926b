"""Tasks: start one, look at it, list them, cancel it, run it again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from arq.jobs import Job
from fastapi import APIRouter, HTTPException, Query

from app.api.dependencies import Queue
from app.core.queue import QUEUES
from app.schemas.task import TaskCreate, TaskCreated, TaskList, TaskRead
from arqube_queue import job_records, jobs
from arqube_queue.dead_letters import Outcome
from arqube_queue.job_records import Cursor, JobFilter, JobRecord, JobState
from arqube_queue.jobs import CancelOutcome

router = APIRouter(prefix="/tasks", tags=["tasks"])

QueueName = Literal["fast", "slow"]
QUEUE_OF: dict[str, QueueName] = {"train_model": "slow"}
"""Of functions that are not run by the fast queue's workers."""


@router.post("", status_code=201)
async def start(task: TaskCreate, queue: Queue, defer_s: Annotated[float, Query(ge=0, le=86_400)] = 0) -> TaskCreated:
    """Enqueue a task, with plain arq."""
    arguments = task.model_dump(exclude={"function"})
    name = QUEUES[QUEUE_OF.get(task.function, "fast")]
    job = await queue.enqueue_job(task.function, _queue_name=name, _defer_by=defer_s or None, **arguments)
    if job is None:  # Only an id of the client's own could be there already.
        raise HTTPException(409, "a task of this id exists")
    return TaskCreated(id=job.job_id)


@router.get("/{task_id}")
async def read(task_id: str, queue: Queue) -> TaskRead:
    """Where a task is, its tries, and its result."""
    name, job = await _find(queue, task_id)
    result = await _result(queue, task_id, name) if job.state in (JobState.SUCCEEDED, JobState.ENDED) else None
    return TaskRead.of(job, name, result)


@router.get("")
async def list_tasks(
    queue: Queue,
    name: Annotated[QueueName, Query(alias="queue")] = "fast",
    status: Annotated[list[JobState], Query()] = [],  # noqa: B006 - FastAPI copies it
    function: str | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> TaskList:
    """The tasks of a queue: those that have not ended by their due times, then ended ones, newest first."""
    chosen = JobFilter(states=frozenset(status), function=function)
    try:
        cursor = None if after is None else Cursor.parse(after)
    except ValueError as error:
        raise HTTPException(422, f"after: {error}") from error
    page = await job_records.list_jobs(queue, QUEUES[name], chosen, after=cursor, limit=limit)
    following = None if page.cursor is None else str(page.cursor)
    return TaskList(tasks=[TaskRead.of(job, name) for job in page.jobs], next=following)


@router.delete("/{task_id}", status_code=202)
async def cancel(task_id: str, queue: Queue) -> TaskRead:
    """Ask to cancel a task: one that waits never starts, one that runs is interrupted."""
    name, _ = await _find(queue, task_id)
    if await jobs.cancel(queue, QUEUES[name], task_id) in (CancelOutcome.ENDED, CancelOutcome.MISSING):
        raise HTTPException(409, "the task has ended")
    return TaskRead.of((await _find(queue, task_id))[1], name)


@router.post("/{task_id}/retry", status_code=202)
async def retry(task_id: str, queue: Queue) -> TaskRead:
    """Run a task again that has failed for good."""
    name, _ = await _find(queue, task_id)
    if await jobs.retry(queue, QUEUES[name], task_id) is not Outcome.RETRIED:
        raise HTTPException(409, "only a task that has failed can be run again")
    return TaskRead.of((await _find(queue, task_id))[1], name)


async def _find(queue: Queue, task_id: str) -> tuple[QueueName, JobRecord]:
    """A task and its queue's name.

    Raises:
        HTTPException: 404, as nothing is known of it.
    """
    names: tuple[QueueName, ...] = ("fast", "slow")
    read = {name: await job_records.read_job(queue, QUEUES[name], task_id) for name in names}
    found = [(name, job) for name, job in read.items() if job is not None]
    if not found:
        raise HTTPException(404, "no such task: it never was, or it was long ago")
    # Results carry no queue's name: a queue that knows no more than that there is one is not the task's own.
    return min(found, key=lambda each: each[1].state is JobState.ENDED)


async def _result(queue: Queue, task_id: str, name: QueueName) -> Any:
    told = await Job(task_id, queue, _queue_name=QUEUES[name]).result_info()
    return told.result if told is not None and told.success else None
