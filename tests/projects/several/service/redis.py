import os

from arq.connections import RedisSettings

REDIS = RedisSettings(host=os.environ.get("REDIS_HOST", "redis"), port=int(os.environ.get("REDIS_PORT", "6379")))
