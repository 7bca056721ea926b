"""``spec.redis``: which Redis holds the queue, and how to reach it."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field

from arqube_operator.api.rules import ApiModel, Rule, matching

_NAME: Final = "[A-Za-z0-9_][A-Za-z0-9_.-]*"
_IPV6: Final = "[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"
_PORT: Final = "(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[1-9][0-9]{0,3})"
"""1 to 65535."""
_URL: Final = rf"^rediss?://([^\s/?#]*@)?({_NAME}|\[{_IPV6}\])(:{_PORT})?(/[0-9]{{0,5}})?$"
_FULL_USERINFO: Final = "//[^@]*:.*@"


def _keep_unset(schema: dict[str, Any]) -> None:
    """Leave a default out of the CRD: stored beside a URL it would contradict what the URL says."""
    del schema["default"]


Host = Annotated[
    str,
    Field(min_length=1, max_length=253),
    matching(
        f"^({_NAME}|{_IPV6})$",
        "must be a DNS name or an IP address alone; a port goes into redis.port, a whole URL into redis.url",
    ),
]
Username = Annotated[
    str, Field(max_length=200), matching(r"^\S+$", "must be the name of a user of Redis, without white space")
]
SentinelHost = Annotated[
    str,
    Field(max_length=260),
    matching(f"^{_NAME}(:{_PORT})?$", "must have the form host:port, with a port from 1 to 65535"),
]


class SecretKey(ApiModel):
    """A key of a Secret in the namespace of the TaskQueue."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-map-type": "atomic"})

    name: Annotated[
        str,
        Field(min_length=1, max_length=253),
        matching(
            "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", "must be the name of a Secret: lower-case letters, digits, - and ."
        ),
    ]
    """Name of the Secret."""
    key: Annotated[
        str,
        Field(min_length=1, max_length=253),
        matching("^[A-Za-z0-9._-]+$", "must be a key of a Secret: letters, digits, -, _ and ."),
    ]
    """Key within the Secret."""


class Sentinel(ApiModel):
    """Redis Sentinel: who knows which server is the master now."""

    master: Annotated[
        str,
        Field(min_length=1, max_length=200),
        matching(r"^\S+$", "must be the master's name, without white space"),
    ]
    """Name of the master as the sentinels know it."""
    hosts: tuple[SentinelHost, ...] = Field(
        min_length=1, max_length=10, strict=False, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """The sentinels, each as host:port; the port is 26379 unless given."""
    username: Username | None = None
    """User of the sentinels' access control list; their default user unless set."""
    password_from: SecretKey | None = None
    """Key of a Secret that holds the password that the sentinels ask for; redis.passwordFrom is the server's."""


class Tls(ApiModel):
    """How to speak TLS to Redis."""

    rules = (
        Rule(
            "has(self.certFrom) == has(self.keyFrom)",
            message="must be set together with keyFrom: set both for mutual TLS, or neither",
            holds=lambda tls: (tls.cert_from is None) == (tls.key_from is None),
            path="certFrom",
        ),
    )

    ca_from: SecretKey | None = None
    """PEM certificates that sign the server's; the image's own authorities unless set."""
    cert_from: SecretKey | None = None
    """PEM certificate of the workers and the operator, for mutual TLS; with keyFrom."""
    key_from: SecretKey | None = None
    """PEM private key that belongs to certFrom."""
    verify: bool = True
    """Whether the server's certificate and host name are checked. Turn it off for tests only."""


_SAME_HOST: Final = (
    "has(self.host) && has(oldSelf.host) && self.host == oldSelf.host"
    " && (has(self.port) ? self.port : 6379) == (has(oldSelf.port) ? oldSelf.port : 6379)"
)
_SAME_SENTINEL: Final = "has(self.sentinel) && has(oldSelf.sentinel) && self.sentinel.master == oldSelf.sentinel.master"


def _database_of(which: str) -> str:
    """CEL for the database of a ``redis``, whose default the CRD leaves out."""
    return f"(has({which}.database) ? {which}.database : 0)"


class RedisSpec(ApiModel):
    """Which Redis holds the queue: exactly one of host, url, urlFrom and sentinel."""

    rules = (
        Rule(
            "[has(self.host), has(self.url), has(self.urlFrom), has(self.sentinel)].exists_one(given, given)",
            message="must name Redis in exactly one way: keep one of host, url, urlFrom and sentinel",
            holds=lambda redis: [redis.host, redis.url, redis.url_from, redis.sentinel].count(None) == 3,
        ),
        Rule(
            "!has(self.port) || has(self.host)",
            message="goes with host alone; with url put it into the URL, with sentinel into each of sentinel.hosts",
            holds=lambda redis: "port" not in redis.model_fields_set or redis.host is not None,
            path="port",
        ),
        Rule(
            "!has(self.database) || (!has(self.url) && !has(self.urlFrom))",
            message="must not be set beside url or urlFrom; put it into the URL's path, as in redis://redis:6379/1",
            holds=lambda redis: (
                "database" not in redis.model_fields_set or (redis.url is None and redis.url_from is None)
            ),
            path="database",
        ),
        Rule(
            f"!(({_SAME_HOST}) || ({_SAME_SENTINEL})) || {_database_of('self')} == {_database_of('oldSelf')}",
            message=(
                "cannot be changed on the same server, as the jobs in the old database would be stranded;"
                " make another TaskQueue for the new one"
            ),
            holds=lambda _: True,
            path="database",
        ),
        # Not on the field itself: there the API server's message would repeat the URL, and with it the password.
        Rule(
            f"!has(self.url) || !self.url.matches('{_FULL_USERINFO}')",
            message="must not hold a password; put it, or the whole URL, into a Secret; see passwordFrom and urlFrom",
            holds=lambda redis: redis.url is None or not re.search(_FULL_USERINFO, redis.url),
            path="url",
        ),
        Rule(
            f"!has(self.url) || self.url.matches(r'{_URL}')",
            message="must have the form redis://[user@]host[:port][/database], rediss:// for TLS; ports are 1 to 65535",
            holds=lambda redis: redis.url is None or re.fullmatch(_URL, redis.url),
            path="url",
        ),
    )

    host: Host | None = None
    """DNS name or IP address of the server, as the pods resolve it."""
    port: int = Field(default=6379, ge=1, le=65535, json_schema_extra=_keep_unset)
    """TCP port of host; 6379 unless set."""
    url: Annotated[str, Field(max_length=512, pattern="^rediss?://")] | None = None
    """The server as redis://[user@]host[:port][/database], or rediss:// for TLS. It must not hold a password."""
    url_from: SecretKey | None = None
    """Key of a Secret that holds the whole URL, which may hold a password."""
    sentinel: Sentinel | None = None
    """Redis Sentinel, which names the server."""
    database: int = Field(default=0, ge=0, le=65535, json_schema_extra=_keep_unset)
    """Number of the database, with host or sentinel; 0 unless set."""
    username: Username | None = None
    """User of Redis' access control list; the default user unless set."""
    password_from: SecretKey | None = None
    """Key of a Secret that holds the password."""
    tls: Tls | None = None
    """Speak TLS. An empty object is enough where the image trusts the server's authority."""
