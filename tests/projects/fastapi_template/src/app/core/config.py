import os

from pydantic_settings import BaseSettings
from starlette.config import Config

env_path = os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "..", ".env")
config = Config(env_path if os.path.exists(env_path) else None)


class AppSettings(BaseSettings):
    APP_NAME: str = config("APP_NAME", default="FastAPI app")


class RedisCacheSettings(BaseSettings):
    REDIS_CACHE_HOST: str = config("REDIS_CACHE_HOST", default="localhost")
    REDIS_CACHE_PORT: int = config("REDIS_CACHE_PORT", default=6379)
    REDIS_CACHE_URL: str = f"redis://{REDIS_CACHE_HOST}:{REDIS_CACHE_PORT}"


class RedisQueueSettings(BaseSettings):
    REDIS_QUEUE_HOST: str = config("REDIS_QUEUE_HOST", default="localhost")
    REDIS_QUEUE_PORT: int = config("REDIS_QUEUE_PORT", default=6379)


class Settings(AppSettings, RedisCacheSettings, RedisQueueSettings):
    pass


settings = Settings()
