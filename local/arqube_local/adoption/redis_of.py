"""Where settings say that Redis is."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from arqube_local.adoption.findings import Place
from arqube_local.adoption.names import Found, Scope, class_of, external_name, resolve
from arqube_local.adoption.values import Known, Value, Variable, argument, evaluate
from arqube_local.adoption.worker_settings import WorkerSettings

LOOPBACK: Final = {"localhost", "127.0.0.1", "::1", "0.0.0.0"}  # noqa: S104 - an address that is looked for
_DEEPEST: Final = 5
_REDIS_SETTINGS: Final = {"arq.connections.RedisSettings", "arq.RedisSettings"}


@dataclass(frozen=True, slots=True)
class RedisPlace:
    """What ``redis_settings`` says.

    Attributes:
        host: Of the server, or the variable that holds it.
        port: Likewise.
        url: The variable or the text of a whole URL, in host's place.
        place: Where the settings are made.
    """

    host: Value
    port: Value
    url: Value
    place: Place

    @property
    def known_host(self) -> str | None:
        """The host that stands in the source, as a default too."""
        host = _of_url(self.url).hostname if self.url is not None else _plain(self.host)
        return host if isinstance(host, str) else None

    @property
    def known_port(self) -> int | None:
        """The port that stands in the source, as a default too."""
        try:
            return _of_url(self.url).port if self.url is not None else int(_plain(self.port))
        except (TypeError, ValueError):
            return None

    @property
    def database(self) -> int:
        """The database of the URL, 0 unless it names one."""
        path = _of_url(self.url).path.lstrip("/")
        return int(path) if path.isdecimal() else 0

    @property
    def variables(self) -> tuple[Variable, ...]:
        """The variables of the environment that say where Redis is."""
        return tuple(each for each in (self.host, self.port, self.url) if isinstance(each, Variable))


def redis_of(settings: WorkerSettings) -> RedisPlace | None:
    """What the settings say; None where they do not, or in a way that cannot be told."""
    expression = settings.expression("redis_settings")
    return None if expression is None else redis_place(*expression)


def redis_place(scope: Scope, node: ast.expr, *, depth: int = 0) -> RedisPlace | None:
    """What an expression that makes ``RedisSettings`` says."""
    if depth > _DEEPEST:
        return None
    found = resolve(scope, node)
    if isinstance(found, Found) and isinstance(found.node, ast.FunctionDef) and isinstance(node, ast.Attribute):
        return _returned(found, node, scope, depth)  # a property of the app's settings
    if not isinstance(found, Found) or not isinstance(found.node, ast.Call):
        return None
    scope, call = found.scope, found.node
    name = external_name(scope, call.func)
    if name in _REDIS_SETTINGS:
        host, port = argument(call, 0, "host"), argument(call, 1, "port")
        return RedisPlace(
            evaluate(scope, host) if host else Known("localhost"),
            evaluate(scope, port) if port else Known(6379),
            None,
            scope.at(call),
        )
    if name in {f"{each}.from_dsn" for each in _REDIS_SETTINGS} and (url := argument(call, 0, "dsn")) is not None:
        return RedisPlace(None, None, evaluate(scope, url), scope.at(call))
    maker = resolve(scope, call.func)
    if isinstance(maker, Found) and isinstance(maker.node, ast.FunctionDef):
        return _returned(maker, call.func, scope, depth)
    return None


def _returned(function: Found, named: ast.expr, scope: Scope, depth: int) -> RedisPlace | None:
    """What a function of the project returns; ``self`` in it is what it is named on."""
    holder = class_of(resolve(scope, named.value)) if isinstance(named, ast.Attribute) else None
    here = function.scope
    if isinstance(holder, Found) and isinstance(holder.node, ast.ClassDef):
        itself = ast.Call(ast.Name(holder.node.name), [], [])
        here = Scope(here.project, here.module, {"self": Found(holder.scope, itself)})
    returned = (each.value for each in ast.walk(function.node) if isinstance(each, ast.Return) and each.value)
    return next((redis_place(here, each, depth=depth + 1) for each in returned), None)


def _plain(value: Value) -> Any:
    return value.default if isinstance(value, Variable) else value.value if isinstance(value, Known) else None


def _of_url(value: Value) -> Any:
    return urlsplit(str(_plain(value) or ""))
