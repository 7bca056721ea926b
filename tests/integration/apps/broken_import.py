"""A settings module whose import fails."""

raise RuntimeError("DATABASE_URL is not set")
