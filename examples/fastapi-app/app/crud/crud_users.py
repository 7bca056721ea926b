"""Users."""

from __future__ import annotations

from app.crud.base import CRUD
from app.models import User

crud_users = CRUD(User)
