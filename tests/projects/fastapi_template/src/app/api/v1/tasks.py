from typing import Any

from arq.jobs import Job as ArqJob
from fastapi import APIRouter, HTTPException

from ...core.utils import queue

router = APIRouter(prefix="/tasks", tags=["tasks"])


@router.post("/task", status_code=201)
async def create_task(message: str) -> dict[str, str]:
    if queue.pool is None:
        raise HTTPException(status_code=503, detail="Queue is not available")
    job = await queue.pool.enqueue_job("sample_background_task", message)
    if job is None:
        raise HTTPException(status_code=500, detail="Failed to create background task")
    return {"id": job.job_id}


@router.get("/task/{task_id}")
async def get_task(task_id: str) -> dict[str, Any] | None:
    if queue.pool is None:
        raise HTTPException(status_code=503, detail="Queue is not available")
    info = await ArqJob(task_id, queue.pool).info()
    return None if info is None else vars(info)
