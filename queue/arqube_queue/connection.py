"""Where a Redis is and how to reach it: one frozen value, made from fields, a URL or the environment."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis, SSLConnection
from redis.asyncio.connection import Connection, ConnectionPool
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from arqube_queue import environment as env

DEFAULT_PORT: Final = 6379
DEFAULT_SENTINEL_PORT: Final = 26379
LAST_PORT: Final = 65535
LAST_DATABASE: Final = 65535


class InvalidAddressError(ValueError):
    """The description of a Redis server is wrong; the message names the field and never holds a secret."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How to speak TLS to Redis. Files are PEM; the certificate and key are ours, for mutual TLS."""

    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    verify: bool = True


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Everything needed to connect to one Redis database. Hashable, so equal addresses can share a connection.

    With ``sentinels`` the host and port are ignored: the sentinels name the master called ``sentinel_master``. User and
    password of the sentinels are their own; ``tls`` is for both.
    """

    host: str = "localhost"
    port: int = DEFAULT_PORT
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    sentinel_master: str = "mymaster"
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """What people see in logs, Events and conditions: no user, no password."""
        if self.sentinels:
            hosts = ",".join(_host_and_port(host, port) for host, port in self.sentinels)
            return f"{self.sentinel_master}@{hosts}/{self.database}"
        return f"{_host_and_port(self.host, self.port)}/{self.database}"

    @classmethod
    def from_url(cls, url: str) -> RedisAddress:
        """Read ``redis://[user[:password]@]host[:port][/database]``; ``rediss`` speaks TLS.

        ``?db=N`` may stand in the path's place, as in arq. User and password are percent-encoded.

        Raises:
            InvalidAddressError: The URL is of another form. The message does not repeat it, as it may hold a password.
        """
        try:
            parts = urlsplit(url.strip())
            port = DEFAULT_PORT if parts.port is None else parts.port
        except ValueError:
            raise InvalidAddressError(
                "the Redis URL has a malformed host or port; special characters of a password must be percent-encoded"
            ) from None
        if parts.scheme not in ("redis", "rediss"):
            raise InvalidAddressError("the Redis URL must begin with redis:// or rediss://")
        if port == 0:
            raise InvalidAddressError(f"the port of the Redis URL must be from 1 to {LAST_PORT}")
        # Options of other libraries must not be dropped in silence, nor the end of a password that holds ? or #.
        query_database = parts.query.removeprefix("db=")
        if parts.fragment or (parts.query and parts.query == query_database):
            raise InvalidAddressError(
                "the Redis URL may have no query but ?db=N, and no #; in a password they must be percent-encoded"
            )
        database = _number(query_database or parts.path.strip("/") or "0", LAST_DATABASE)
        if database is None:
            raise InvalidAddressError(
                f"the path of the Redis URL must be a database number up to {LAST_DATABASE}, as in redis://host:6379/0"
            )
        return cls(
            host=parts.hostname or "localhost",
            port=port,
            database=database,
            username=unquote(parts.username) if parts.username else None,
            password=unquote(parts.password) if parts.password else None,
            tls=Tls() if parts.scheme == "rediss" else None,
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> RedisAddress | None:
        """Read the variables of ``arqube_queue.environment``; None when none of them names a server.

        Raises:
            InvalidAddressError: A variable has a value that cannot be used; the message names the variable.
        """
        address: RedisAddress
        if url := environ.get(env.REDIS_URL):
            try:
                address = cls.from_url(url)
            except InvalidAddressError as error:
                raise InvalidAddressError(f"{env.REDIS_URL}: {error}") from None
        elif sentinels := environ.get(env.REDIS_SENTINELS):
            address = cls(
                sentinels=parse_sentinels(sentinels, source=env.REDIS_SENTINELS),
                sentinel_master=environ.get(env.REDIS_SENTINEL_MASTER) or "mymaster",
                sentinel_username=environ.get(env.REDIS_SENTINEL_USERNAME) or None,
                sentinel_password=_secret(environ, env.REDIS_SENTINEL_PASSWORD),
            )
        elif host := environ.get(env.REDIS_HOST):
            address = cls(host=host, port=_integer(environ, env.REDIS_PORT, DEFAULT_PORT, least=1, most=LAST_PORT))
        else:
            return None
        return replace(
            address,
            database=_integer(environ, env.REDIS_DATABASE, address.database, least=0, most=LAST_DATABASE),
            username=environ.get(env.REDIS_USERNAME) or address.username,
            password=_secret(environ, env.REDIS_PASSWORD) or address.password,
            tls=_tls(environ, address.tls),
        )

    def connect(self, *, timeout_s: float = 5.0, **options: Any) -> Redis:
        """A client for this address; it connects at its first command.

        Args:
            timeout_s: Longest wait for a connection and for an answer, in seconds.
            options: Further keyword arguments of ``redis.asyncio.Connection``.
        """
        options = {
            "username": self.username,
            "password": self.password,
            "db": self.database,
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            **_KEEPALIVE,
            **self._tls_options(),
            **options,
        }
        if self.sentinels:
            over_tls = self.tls is not None
            to_sentinels = {
                "username": self.sentinel_username,
                "password": self.sentinel_password,
                "socket_timeout": timeout_s,
                "ssl": over_tls,
                **self._tls_options(),
            }
            sentinel = Sentinel(self.sentinels, sentinel_kwargs=to_sentinels)  # type: ignore[no-untyped-call]
            client: Redis = sentinel.master_for(
                self.sentinel_master, connection_pool_class=_SentinelPool, ssl=over_tls, **options
            )
            return client
        connection_class: type[Connection] = SSLConnection if self.tls else Connection
        pool = ConnectionPool(connection_class=connection_class, host=self.host, port=self.port, **options)
        redis: Redis = Redis(connection_pool=pool)
        redis.auto_close_connection_pool = True  # as Redis.from_pool does, which came with redis-py 5.0.1
        return redis

    def _tls_options(self) -> dict[str, Any]:
        if self.tls is None:
            return {}
        return {
            "ssl_ca_certs": self.tls.ca_file,
            "ssl_certfile": self.tls.cert_file,
            "ssl_keyfile": self.tls.key_file,
            "ssl_cert_reqs": "required" if self.tls.verify else "none",  # redis-py 5 cannot take ssl.VerifyMode
            "ssl_check_hostname": self.tls.verify,
        }


_KEEPALIVE: Final = {
    "socket_keepalive": True,
    "socket_keepalive_options": {
        getattr(socket, name): seconds
        for name, seconds in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 20), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    },
}
"""A connection that is idle is not dropped by what stands between, and one that was dropped is noticed."""


class _SentinelPool(SentinelConnectionPool):
    """Closes the connections to the sentinels with its own; redis-py leaves them open."""

    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:  # else it is only about idle connections to a former master
            for sentinel in self.sentinel_manager.sentinels:
                await sentinel.connection_pool.disconnect()


def parse_sentinels(text: str, *, source: str) -> tuple[tuple[str, int], ...]:
    """Read ``host[:port][,host[:port]...]``, IPv6 addresses in brackets; ``source`` names the field in the error.

    Raises:
        InvalidAddressError: An entry is of another form. The message does not repeat it, as people put passwords there.
    """
    pairs = []
    for position, item in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        match = _SENTINEL.fullmatch(item)
        port = _number(match["port"] or str(DEFAULT_SENTINEL_PORT), LAST_PORT) if match else None
        if match is None or not port:
            raise InvalidAddressError(
                f"{source}: entry {position} must be host or host:port, with a port from 1 to {LAST_PORT}"
            )
        pairs.append((match["address"] or match["host"], port))
    if not pairs:
        raise InvalidAddressError(f"{source}: at least one sentinel, as host:port, is needed")
    return tuple(pairs)


_SENTINEL: Final = re.compile(r"(\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/@\[\]]+))(:(?P<port>[0-9]+))?")


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _number(text: str, most: int) -> int | None:
    """A whole number from 0 to ``most`` in ASCII digits, else None."""
    digits = text.lstrip("0") or text[-1:]
    if not text.isascii() or not text.isdecimal() or len(digits) > len(str(most)):  # int() refuses thousands of digits
        return None
    return int(digits) if int(digits) <= most else None


def _integer(environ: Mapping[str, str], name: str, default: int, *, least: int, most: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    number = _number(text, most)
    if number is None or number < least:
        raise InvalidAddressError(f"{name} must be a whole number from {least} to {most}, not {text[:20]!r}")
    return number


def _secret(environ: Mapping[str, str], name: str) -> str | None:
    """Secrets made from files end in a line break, which is no part of the password."""
    return environ.get(name, "").strip() or None


def _boolean(environ: Mapping[str, str], name: str, default: bool) -> bool:
    text = environ.get(name, "").lower()
    if not text:
        return default
    if text not in ("true", "false"):
        raise InvalidAddressError(f"{name} must be true or false, not {text!r}")
    return text == "true"


def _tls(environ: Mapping[str, str], from_url: Tls | None) -> Tls | None:
    if not _boolean(environ, env.REDIS_TLS, from_url is not None):
        return None
    tls = Tls(
        ca_file=environ.get(env.REDIS_TLS_CA_FILE) or None,
        cert_file=environ.get(env.REDIS_TLS_CERT_FILE) or None,
        key_file=environ.get(env.REDIS_TLS_KEY_FILE) or None,
        verify=_boolean(environ, env.REDIS_TLS_VERIFY, True),
    )
    if (tls.cert_file is None) != (tls.key_file is None):
        raise InvalidAddressError(
            f"set both {env.REDIS_TLS_CERT_FILE} and {env.REDIS_TLS_KEY_FILE} for mutual TLS, or neither"
        )
    return tls
