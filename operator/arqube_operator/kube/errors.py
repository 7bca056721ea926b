"""What goes wrong between us and an API server: every failure becomes one ``ApiError``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import aiohttp

NO_ANSWER: Final = 0
"""Status of an error without an answer: no connection, no answer in time, no usable configuration."""

_MESSAGE_LIMIT: Final = 2000
_WHOLE_SECONDS: Final = re.compile(r"\d{1,9}")


class ApiError(Exception):
    """A request was refused or could not be made.

    Args:
        status: HTTP status such as 409; ``NO_ANSWER`` where no answer came.
        reason: CamelCase word, Kubernetes' own (``NotFound``, ``Conflict``, ``Expired``) where it gave one.
        message: A sentence. It never holds credentials: no header, request body or unparsed answer gets into it.
        retry_after_s: How many seconds the server asks us to wait before the next try.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.status or 'no answer'} {self.reason}: {self.message}"


def error_of_answer(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that an answer with a failing HTTP status means; ``body`` should be a ``v1.Status``."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    error = error_of_status(answer if isinstance(answer, dict) else {}, status)
    if _WHOLE_SECONDS.fullmatch(headers.get("Retry-After", "")):
        error.retry_after_s = float(headers["Retry-After"])
    return error


def error_of_status(answer: Mapping[str, Any], status: int = 500) -> ApiError:
    """The error that a ``v1.Status`` tells of; ``status`` stands in where it holds no code."""
    code = answer.get("code")
    details = answer.get("details")
    seconds = details.get("retryAfterSeconds") if isinstance(details, Mapping) else None
    return ApiError(
        code if isinstance(code, int) else status,
        str(answer.get("reason") or "Unknown"),
        str(answer.get("message") or f"the API server answered HTTP {status} without a reason")[:_MESSAGE_LIMIT],
        float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None,
    )


def error_of_exception(error: Exception, what: str) -> ApiError:
    """The error for a request, described by ``what``, that got no answer."""
    if isinstance(error, TimeoutError):
        return ApiError(NO_ANSWER, "Timeout", f"{what}: the API server did not answer in time")
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    # Only the system's own words are passed on: other texts may repeat a URL, and a URL may hold a password.
    words = cause.strerror if isinstance(cause, OSError) and cause.strerror else type(cause).__name__
    return ApiError(NO_ANSWER, "Unreachable", f"{what}: the connection to the API server failed: {words}")
