"""Version 1."""

from fastapi import APIRouter

from app.api.v1 import reports, tasks, users

router = APIRouter(prefix="/api/v1")
router.include_router(users.router)
router.include_router(tasks.router)
router.include_router(reports.router)
