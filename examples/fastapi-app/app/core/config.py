"""Settings out of the environment, or out of a file ``.env``."""

from __future__ import annotations

from typing import Final

from arq.connections import RedisSettings
from pydantic_settings import BaseSettings, SettingsConfigDict

FAST_QUEUE: Final = "arq:queue"
"""Jobs of milliseconds that somebody waits for."""
SLOW_QUEUE: Final = "arq:slow"
"""Jobs that take a while, or a whole processor; none of them holds up a mail."""


class Settings(BaseSettings):
    """Each field is a variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore")

    redis_queue_host: str = "localhost"
    redis_queue_port: int = 6379
    database_url: str = "sqlite+aiosqlite:///./app.db"
    """SQLite below the folder it is started in, or ``postgresql+asyncpg://user:password@host/name``."""
    exchange_api_url: str = "https://rates.example.com"
    """A service of somebody else, which is away now and then."""

    @property
    def redis(self) -> RedisSettings:
        """Where the queues are."""
        return RedisSettings(host=self.redis_queue_host, port=self.redis_queue_port)


settings = Settings()
