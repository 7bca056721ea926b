"""Keeps the leases of running jobs alive from a thread, so that a job which blocks the event loop keeps its own."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis as sync_redis
from redis.asyncio import Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import NoScriptError, RedisError

from arqube_queue import keys, scripts
from arqube_queue.answers import count, invalid_if_odd
from arqube_queue.turns import Lease

RENEWALS: Final = 3
"""Renewals within one lease."""
ANSWER_TIMEOUT_S: Final = 2.0
"""How long a renewal waits for an answer; there is time for another within the lease."""
BATCH: Final = 1000
"""Leases renewed in one call."""

_RENEW = scripts.load("renew")
logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Held:
    """A lease that we hold. Times are monotonic seconds.

    Attributes:
        lease: The lease.
        until: Until when it is renewed; None for as long as it takes.
        good_at: When it was last asked for, or renewed, and got; it lasts from then on, or longer.
    """

    lease: Lease
    until: float | None
    good_at: float


class LeaseKeeper:
    """Renews what it holds three times a lease, in a thread of its own with a connection of its own.

    ``hold`` and ``release`` cost next to nothing; both are called by the event loop's thread only, and each is one
    operation on a dict, which is what makes the renewing thread's copy of it whole.

    Args:
        redis: How to reach Redis; the connection is not shared.
        lease_ms: How long a lease lasts, in milliseconds.
        lost: Called in the renewing thread with a lease that another worker holds now.
        run_out: Likewise with one that nobody holds: Redis was away too long.
    """

    def __init__(
        self, redis: Redis, *, lease_ms: int, lost: Callable[[Lease], None], run_out: Callable[[Lease], None]
    ) -> None:
        self._held: dict[str, Held] = {}
        self._lease_ms = lease_ms
        self._good_s = lease_ms / 1000 / 2
        self._lost = lost
        self._run_out = run_out
        self._client = _sync_client(redis)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="arqube-leases", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """Renew no more. Does not wait for a renewal that is under way."""
        self._stopped.set()

    def hold(self, lease: Lease, until: float | None, asked_at: float) -> Held:
        """Renew ``lease`` until it is released, or until that monotonic second; it was asked for at another."""
        self._held[lease.token + lease.job_id] = held = Held(lease, until, asked_at)
        return held

    def is_good(self, held: Held) -> bool:
        """Whether nobody else can have the job: the lease has not half run out, so that it is renewed in time."""
        return time.monotonic() - held.good_at < self._good_s

    def release(self, lease: Lease) -> None:
        """Renew ``lease`` no more; nothing happens when it is not held."""
        self._held.pop(lease.token + lease.job_id, None)

    def _keep(self) -> None:
        pause_s = self._lease_ms / 1000 / RENEWALS
        while not self._stopped.wait(pause_s):
            now = time.monotonic()
            held = [one for one in list(self._held.values()) if one.until is None or now < one.until]
            pause_s = self._lease_ms / 1000 / RENEWALS
            for first in range(0, len(held), BATCH):
                batch = held[first : first + BATCH]
                asked_at = time.monotonic()
                try:
                    states = renew(self._client, [one.lease for one in batch], lease_ms=self._lease_ms)
                except (RedisError, OSError) as error:
                    # The loop's own calls fail as well, and tell people. Nothing may end this thread.
                    logger.debug("renewing leases failed: %s: %s", type(error).__name__, error)
                    # It may be a replica since a failover: connect anew, to the new master.
                    self._client.connection_pool.disconnect()
                    pause_s = min(pause_s, 0.5)
                    break
                for one, state in zip(batch, states, strict=True):
                    one.good_at = asked_at if state > 0 else -math.inf
                    if state < 0:
                        self._lost(one.lease)
                    elif state == 0:
                        self._run_out(one.lease)
        self._client.close()


def renew(client: sync_redis.Redis, leases: Sequence[Lease], *, lease_ms: int) -> list[int]:
    """Extend leases.

    Returns:
        For each 1 when it was extended, 0 when it had run out, -1 when somebody else holds the job.

    Raises:
        redis.exceptions.RedisError, OSError: No answer, or none that Redis gives; it can be repeated.
    """
    arguments: list[str | int] = [lease_ms, keys.IN_PROGRESS_PREFIX]
    for lease in leases:
        arguments += (lease.job_id, lease.token)
    with invalid_if_odd():
        try:
            states: Any = client.execute_command("EVALSHA", _RENEW.sha, 0, *arguments)  # type: ignore[no-untyped-call]
        except NoScriptError:
            states = client.execute_command("EVAL", _RENEW.text, 0, *arguments)  # type: ignore[no-untyped-call]
        if not isinstance(states, list):
            raise TypeError(f"a {type(states).__name__}")
        return [count(state) for _, state in zip(leases, states, strict=True)]


def _sync_client(redis: Redis) -> sync_redis.Redis:
    """A client without asyncio that reaches the same server in the same way."""
    pool = redis.connection_pool
    # Renewals are repeated here, with the time that is left; and asyncio's retries cannot be used without it.
    omitted = {"retry", "retry_on_error", "retry_on_timeout", "connection_pool", "parser_class", "encoder_class"}
    options = {name: value for name, value in pool.connection_kwargs.items() if name not in omitted}
    options |= {
        "socket_timeout": ANSWER_TIMEOUT_S,
        "socket_connect_timeout": ANSWER_TIMEOUT_S,
        "health_check_interval": 0,
        "decode_responses": False,
    }
    if isinstance(pool, SentinelConnectionPool):
        hosts = [
            (each.connection_pool.connection_kwargs["host"], each.connection_pool.connection_kwargs["port"])
            for each in pool.sentinel_manager.sentinels
        ]
        tls = issubclass(pool.connection_class, SSLConnection)
        sentinel = sync_redis.Sentinel(  # type: ignore[no-untyped-call]
            hosts, sentinel_kwargs={**pool.sentinel_manager.sentinel_kwargs, "socket_timeout": ANSWER_TIMEOUT_S}
        )
        options.pop("ssl", None)
        client: sync_redis.Redis = sentinel.master_for(pool.service_name, ssl=tls, **options)  # type: ignore[no-untyped-call]
        return client
    kind: Any = sync_redis.Connection
    if issubclass(pool.connection_class, SSLConnection):
        kind = sync_redis.SSLConnection
    elif issubclass(pool.connection_class, UnixDomainSocketConnection):
        kind = sync_redis.UnixDomainSocketConnection
    return sync_redis.Redis(connection_pool=sync_redis.ConnectionPool(connection_class=kind, **options))
