"""The environment variables by which the operator tells a worker what to do: the one contract both sides read.

``REDIS_QUEUE_HOST`` and ``REDIS_QUEUE_PORT`` repeat host and port under the names that FastAPI templates read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

REDIS_URL: Final = "ARQUBE_REDIS_URL"
REDIS_HOST: Final = "ARQUBE_REDIS_HOST"
REDIS_PORT: Final = "ARQUBE_REDIS_PORT"
REDIS_DATABASE: Final = "ARQUBE_REDIS_DATABASE"
REDIS_USERNAME: Final = "ARQUBE_REDIS_USERNAME"
REDIS_PASSWORD: Final = "ARQUBE_REDIS_PASSWORD"  # noqa: S105 - a variable's name
REDIS_SENTINELS: Final = "ARQUBE_REDIS_SENTINELS"
"""Comma-separated ``host:port`` pairs."""
REDIS_SENTINEL_MASTER: Final = "ARQUBE_REDIS_SENTINEL_MASTER"
REDIS_SENTINEL_USERNAME: Final = "ARQUBE_REDIS_SENTINEL_USERNAME"
REDIS_SENTINEL_PASSWORD: Final = "ARQUBE_REDIS_SENTINEL_PASSWORD"  # noqa: S105 - a variable's name
REDIS_TLS: Final = "ARQUBE_REDIS_TLS"
"""``true`` or ``false``."""
REDIS_TLS_CA_FILE: Final = "ARQUBE_REDIS_TLS_CA_FILE"
REDIS_TLS_CERT_FILE: Final = "ARQUBE_REDIS_TLS_CERT_FILE"
REDIS_TLS_KEY_FILE: Final = "ARQUBE_REDIS_TLS_KEY_FILE"
REDIS_TLS_VERIFY: Final = "ARQUBE_REDIS_TLS_VERIFY"
"""``true`` (the default) or ``false``."""

TEMPLATE_REDIS_HOST: Final = "REDIS_QUEUE_HOST"
TEMPLATE_REDIS_PORT: Final = "REDIS_QUEUE_PORT"

QUEUE_NAME: Final = "ARQUBE_QUEUE_NAME"
CONCURRENCY: Final = "ARQUBE_CONCURRENCY"
"""Jobs a worker runs at once; arq's ``max_jobs``."""
SHUTDOWN_TIMEOUT: Final = "ARQUBE_SHUTDOWN_TIMEOUT"
"""Seconds a stopping worker may finish its jobs."""
DEAD_LETTER_RETENTION: Final = "ARQUBE_DEAD_LETTER_RETENTION"
"""Seconds a dead letter is kept."""
DEAD_LETTER_MAX_ENTRIES: Final = "ARQUBE_DEAD_LETTER_MAX_ENTRIES"
"""Dead letters a queue keeps; beyond them the oldest go."""
LEASE: Final = "ARQUBE_LEASE"
"""Seconds after which a job of a worker that died is free; living workers renew their leases."""
UNKNOWN_FUNCTION_GRACE: Final = "ARQUBE_UNKNOWN_FUNCTION_GRACE"
"""Seconds a job is put back for a worker that knows its function, before it becomes a dead letter."""
HTTP_PORT: Final = "ARQUBE_HTTP_PORT"
"""Port of /metrics, /healthz and /readyz."""
WORKER_NAME: Final = "ARQUBE_WORKER_NAME"
"""Name in heartbeats and logs; the Pod's name."""
UVLOOP: Final = "ARQUBE_UVLOOP"
"""``true``: run on uvloop instead of asyncio's own loop, which is arq's; ``false`` is the default."""
TERMINATION_LOG: Final = "ARQUBE_TERMINATION_LOG"
"""File for the one line that says why the worker cannot run; the container's ``terminationMessagePath``."""
NAMESPACE: Final = "ARQUBE_NAMESPACE"
TASK_QUEUE: Final = "ARQUBE_TASKQUEUE"

DEFAULT_HTTP_PORT: Final = 9464
DEFAULT_TERMINATION_LOG: Final = "/dev/termination-log"
DEFAULT_DEAD_LETTER_RETENTION_S: Final = 14 * 86_400
DEFAULT_DEAD_LETTER_MAX_ENTRIES: Final = 100_000


def not_utf8(environ: Mapping[str, str]) -> str | None:
    """The name of a variable of ours that is no UTF-8, and so could not be sent to Redis; None where there is none."""
    for name, value in environ.items():
        if name.startswith(("ARQUBE_", "REDIS_QUEUE_")) and not is_utf8(value):
            return name
    return None


def is_utf8(text: str) -> bool:
    """Whether ``text``, from the system, stands for bytes that were UTF-8: Python keeps others as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
