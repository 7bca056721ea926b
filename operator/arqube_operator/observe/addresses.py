"""From a TaskQueue's ``spec.redis`` and its Secrets to a Redis address.

Secrets are read by name, never listed, and remembered for a short while: a changed password is used without a restart.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from arqube_operator.api.v1alpha1 import RedisSpec, SecretKey
from arqube_operator.decide.state import Problem
from arqube_operator.kube.client import SECRETS, KubeClient
from arqube_queue.connection import InvalidAddressError, RedisAddress, Tls, parse_sentinels

SECRET_LIFE_S: Final = 15.0
"""Seconds a Secret is used before it is read again."""


class AddressResolver:
    """Resolves addresses. TLS files from Secrets are kept in a folder of ours, named by their content.

    Args:
        client: Reads the Secrets.
        in_pod: We run in a pod of the cluster. There a Service's short name would mean one beside us, while for the
            TaskQueue and its workers it means the one beside them.
    """

    def __init__(self, client: KubeClient, *, in_pod: bool = False) -> None:
        self._client = client
        self._in_pod = in_pod
        self._secrets: dict[tuple[str, str], tuple[float, Mapping[str, str] | None]] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="arqube-tls-")

    def close(self) -> None:
        """Remove the files."""
        self._folder.cleanup()

    async def resolve(self, namespace: str, spec: RedisSpec) -> RedisAddress | Problem:
        """The address, or why there is none.

        Raises:
            ApiError: A Secret could not be read for a reason of the API server's.
        """
        try:
            return await self._resolve(namespace, spec)
        except _SecretError as error:
            return Problem("SecretNotFound", str(error))
        except InvalidAddressError as error:
            return Problem("InvalidRedisAddress", f"spec.redis: {error}")

    async def _resolve(self, namespace: str, spec: RedisSpec) -> RedisAddress:
        if spec.url_from is not None:
            address = RedisAddress.from_url(await self._text(namespace, "urlFrom", spec.url_from))
        elif spec.url is not None:
            address = RedisAddress.from_url(spec.url)
        elif spec.sentinel is not None:
            sentinels = parse_sentinels(",".join(spec.sentinel.hosts), source="sentinel.hosts")
            secret = spec.sentinel.password_from
            address = RedisAddress(
                sentinels=sentinels,
                sentinel_master=spec.sentinel.master,
                sentinel_username=spec.sentinel.username,
                sentinel_password=await self._text(namespace, "sentinel.passwordFrom", secret) if secret else None,
                database=spec.database,
            )
        else:
            address = RedisAddress(host=spec.host or "", port=spec.port, database=spec.database)
        if self._in_pod:
            address = _from_any_namespace(address, namespace)
        if spec.username is not None:
            address = replace(address, username=spec.username)
        if spec.password_from is not None:
            address = replace(address, password=await self._text(namespace, "passwordFrom", spec.password_from))
        if spec.tls is not None:
            tls = Tls(
                ca_file=await self._file(namespace, "tls.caFrom", spec.tls.ca_from),
                cert_file=await self._file(namespace, "tls.certFrom", spec.tls.cert_from),
                key_file=await self._file(namespace, "tls.keyFrom", spec.tls.key_from),
                verify=spec.tls.verify,
            )
            address = replace(address, tls=tls)
        return address

    async def _text(self, namespace: str, field: str, key: SecretKey) -> str:
        content = await self._content(namespace, field, key)
        try:
            return content.decode().strip()
        except UnicodeDecodeError:
            raise _SecretError(f"spec.redis.{field}: key {key.key!r} of Secret {key.name!r} is no text") from None

    async def _file(self, namespace: str, field: str, key: SecretKey | None) -> str | None:
        if key is None:
            return None
        content = await self._content(namespace, field, key)
        path = Path(self._folder.name, hashlib.sha256(content).hexdigest()[:32])
        await asyncio.to_thread(_write_private, path, content)
        return str(path)

    async def _content(self, namespace: str, field: str, key: SecretKey) -> bytes:
        data = await self._data(namespace, key.name)
        if data is None:
            raise _SecretError(f"spec.redis.{field}: create Secret {key.name!r} in namespace {namespace!r}")
        if key.key not in data:
            raise _SecretError(f"spec.redis.{field}: add key {key.key!r} to Secret {key.name!r}")
        try:
            return base64.b64decode(data[key.key], validate=True)
        except binascii.Error:
            raise _SecretError(f"spec.redis.{field}: key {key.key!r} of Secret {key.name!r} is no base64") from None

    async def _data(self, namespace: str, name: str) -> Mapping[str, str] | None:
        now = time.monotonic()
        read_at, data = self._secrets.get((namespace, name), (-SECRET_LIFE_S, None))
        if now - read_at >= SECRET_LIFE_S:
            secret = await self._client.get(SECRETS, namespace, name)
            data = None if secret is None else secret.get("data", {})
            self._secrets[namespace, name] = (now, data)
        return data


def _from_any_namespace(address: RedisAddress, namespace: str) -> RedisAddress:
    sentinels = tuple((_qualified(host, namespace), port) for host, port in address.sentinels)
    return replace(address, host=_qualified(address.host, namespace), sentinels=sentinels)


def _qualified(host: str, namespace: str) -> str:
    is_short = host != "localhost" and not {".", ":"} & set(host)
    return f"{host}.{namespace}.svc" if is_short else host


class _SecretError(Exception):
    """A Secret lacks what the TaskQueue says it holds; the message names field and remedy, never content."""


def _write_private(path: Path, content: bytes) -> None:
    if path.exists():  # Its name is its content's digest.
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:  # made with mode 0600
        file.write(content)
    Path(file.name).replace(path)
