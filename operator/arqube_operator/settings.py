"""The operator's settings, from its environment."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

DEFAULT_HTTP_PORT: Final = 8080
DEFAULT_LEASE: Final = "arqube-operator"
DEFAULT_RUNTIME_IMAGE: Final = f"arqube-worker:{version('arqube')}"

_LEVELS: Final = ("debug", "info", "warning", "error")
_LONGEST_SHOWN: Final = 40
"""Characters of a value that an error repeats."""
_LONGEST_IDENTITY: Final = 253
_LEASE: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_NAMESPACE: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class InvalidSettingsError(ValueError):
    """A variable has a value that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """How the console is served.

    Attributes:
        port: TCP port on loopback.
        token_file: File that holds the token for writes; None allows none.
        show_arguments: Whether the arguments of jobs are shown.
    """

    port: int
    token_file: Path | None = None
    show_arguments: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """How one operator process runs.

    Attributes:
        namespace: Where its Lease is.
        identity: Its name among the replicas; the Pod's name.
        lease_name: Name of the Lease the replicas share.
        watch_namespaces: Namespaces whose TaskQueues it sees to; empty means all.
        http_port: TCP port of /metrics, /healthz and /readyz.
        runtime_image: The image that the workers' runtime is injected from: arqube-worker, of the operator's version.
        log_level: debug, info, warning or error.
        kubeconfig: Path of a kubeconfig; None means the cluster it runs in, else the user's default.
        console: How the console is served; None means that it is not.
    """

    namespace: str = "default"
    identity: str = ""
    lease_name: str = DEFAULT_LEASE
    watch_namespaces: tuple[str, ...] = ()
    http_port: int = DEFAULT_HTTP_PORT
    runtime_image: str = DEFAULT_RUNTIME_IMAGE
    log_level: str = "info"
    kubeconfig: str | None = None
    console: ConsoleSettings | None = None

    @property
    def scopes(self) -> tuple[str | None, ...]:
        """What to list and watch: each namespace, or None for all of them."""
        return self.watch_namespaces or (None,)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """The settings that ``environ`` holds.

    Raises:
        InvalidSettingsError: A value cannot be used.
    """
    namespace = environ.get("ARQUBE_OPERATOR_NAMESPACE") or "default"
    watched = tuple(filter(None, (name.strip() for name in environ.get("ARQUBE_WATCH_NAMESPACES", "").split(","))))
    for variable, name in (
        ("ARQUBE_OPERATOR_NAMESPACE", namespace),
        *(("ARQUBE_WATCH_NAMESPACES", name) for name in watched),
    ):
        if not _NAMESPACE.fullmatch(name):
            raise InvalidSettingsError(f"{variable}: {name!r} is no namespace; use lower-case letters, digits and -")
    lease = environ.get("ARQUBE_LEASE_NAME") or DEFAULT_LEASE
    if not _LEASE.fullmatch(lease):
        raise InvalidSettingsError(
            f"ARQUBE_LEASE_NAME: {lease!r} is no name of a Lease; use lower-case letters, digits, - and ."
        )
    identity = environ.get("ARQUBE_OPERATOR_IDENTITY") or socket.gethostname()
    if not identity.isprintable() or len(identity) > _LONGEST_IDENTITY:
        raise InvalidSettingsError(
            f"ARQUBE_OPERATOR_IDENTITY must be a name of up to {_LONGEST_IDENTITY} characters in one line"
        )
    level = (environ.get("ARQUBE_LOG_LEVEL") or "info").lower()
    if level not in _LEVELS:
        raise InvalidSettingsError(
            f"ARQUBE_LOG_LEVEL must be one of {', '.join(_LEVELS)}, not {level[:_LONGEST_SHOWN]!r}"
        )
    image = environ.get("ARQUBE_WORKER_IMAGE") or DEFAULT_RUNTIME_IMAGE
    if not re.fullmatch(r"\S+", image):
        raise InvalidSettingsError(
            f"ARQUBE_WORKER_IMAGE must be a container image such as {DEFAULT_RUNTIME_IMAGE}, not {image!r}"
        )
    return Settings(
        namespace=namespace,
        identity=identity,
        lease_name=lease,
        watch_namespaces=tuple(dict.fromkeys(watched)),
        http_port=_port("ARQUBE_HTTP_PORT", environ.get("ARQUBE_HTTP_PORT") or str(DEFAULT_HTTP_PORT)),
        runtime_image=image,
        log_level=level,
        kubeconfig=environ.get("KUBECONFIG") or None,
        console=_console(environ),
    )


def _console(environ: Mapping[str, str]) -> ConsoleSettings | None:
    if not (port := environ.get("ARQUBE_CONSOLE_PORT")):
        return None
    show = (environ.get("ARQUBE_CONSOLE_SHOW_ARGUMENTS") or "false").lower()
    if show not in ("true", "false"):
        raise InvalidSettingsError(f"ARQUBE_CONSOLE_SHOW_ARGUMENTS must be true or false, not {show!r}")
    path = environ.get("ARQUBE_CONSOLE_TOKEN_FILE")
    if path and not Path(path).is_file():
        raise InvalidSettingsError(f"ARQUBE_CONSOLE_TOKEN_FILE: there is no file {path!r}; mount the Secret there")
    return ConsoleSettings(_port("ARQUBE_CONSOLE_PORT", port), Path(path) if path else None, show == "true")


def _port(variable: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) < 65536:
        raise InvalidSettingsError(f"{variable} must be a port from 1 to 65535, not {text[:_LONGEST_SHOWN]!r}")
    return int(text)
