"""How the API server is reached: where it is, which certificate it must show, and who asks.

In a pod that is the service account, read here. Elsewhere it is a kubeconfig, read by the package ``kubernetes``, which
knows the login plugins: it comes with the extra ``local`` and is no part of the operator's image.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from arqube_operator.kube.errors import NO_ANSWER, ApiError

if TYPE_CHECKING:
    from kubernetes.aio.client.configuration import Configuration

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE_S: Final = 60.0
"""Seconds a token that was read is used: the kubelet writes a new one long before the old one expires."""


@dataclass(frozen=True, slots=True)
class Access:
    """A way to one API server.

    Args:
        server: Its URL, without a slash at the end.
        tls: What its certificate is checked with, and our own where that is how we log in.
        authorization: Gives the ``Authorization`` header of a request, or None. It raises ``ApiError`` or ``OSError``.
        server_name: The name in its certificate where that is not the URL's.
        proxy: URL of the proxy before it.
    """

    server: str
    tls: ssl.SSLContext
    authorization: Callable[[], Awaitable[str | None]]
    server_name: str | None = None
    proxy: str | None = None


def runs_in_pod(kubeconfig: str | None) -> bool:
    """Whether the cluster that ``kubeconfig`` leads to is the one around us, so that its names are ours too."""
    return kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ


async def find_access(kubeconfig: str | None) -> Access:
    """By ``kubeconfig``, else by the pod we run in, else by ``$KUBECONFIG`` or its default.

    Raises:
        ApiError: There is none, or it cannot be used.
    """
    try:
        if runs_in_pod(kubeconfig):
            return _of_service_account(
                os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
            )
    except (OSError, ValueError) as error:
        raise _unusable("the service account", error) from error
    path = kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    try:
        return await _of_kubeconfig(path)
    except ApiError:
        raise
    except Exception as error:  # the package takes a file to be well-formed, and fails over others as it comes
        raise _unusable(path, error) from error


def _of_service_account(host: str, port: str) -> Access:
    token = _TokenFile(SERVICE_ACCOUNT / "token")
    token.read()
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    return Access(
        server,
        ssl.create_default_context(cafile=SERVICE_ACCOUNT / "ca.crt"),
        token.authorization,
        proxy=_proxy(server),
    )


class _TokenFile:
    """A token in a file that is replaced now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._token = ""
        self._read_at = 0.0

    def read(self) -> str:
        """The token, at most ``TOKEN_LIFE_S`` old.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is empty.
        """
        if not self._token or time.monotonic() - self._read_at >= TOKEN_LIFE_S:
            token = self._path.read_text().strip()
            if not token:
                raise ValueError("the service account's token is empty")
            self._token, self._read_at = token, time.monotonic()
        return self._token

    async def authorization(self) -> str:
        return f"Bearer {self.read()}"


async def _of_kubeconfig(path: str) -> Access:
    try:
        from kubernetes.aio.client.configuration import Configuration
        from kubernetes.aio.config import ConfigException, load_kube_config
    except ImportError as error:
        needed = "a kubeconfig is read by the package kubernetes, which is not installed: pip install 'arqube[local]'"
        raise ApiError(NO_ANSWER, "NoConfiguration", needed) from error

    configuration = Configuration()
    expanded = str(Path(path).expanduser())  # noqa: ASYNC240 - no disk is read for it
    await load_kube_config(expanded, client_configuration=configuration)  # type: ignore[no-untyped-call]

    async def authorization() -> str | None:
        try:
            return await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
        except ConfigException as error:  # its text may hold what a plugin printed
            raise ApiError(NO_ANSWER, "NoConfiguration", "the login that the kubeconfig names failed") from error

    return Access(
        configuration.host.rstrip("/"),
        _tls(configuration),
        authorization,
        configuration.tls_server_name,
        configuration.proxy or _proxy(configuration.host),
    )


def _proxy(server: str) -> str | None:
    """What the environment's ``HTTPS_PROXY`` and ``NO_PROXY`` say of a server, read once.

    aiohttp would look for a ``.netrc`` too, in a thread at each request, and refuse to send our own authorization.
    """
    url = urlsplit(server)
    return None if proxy_bypass(url.hostname or "") else getproxies().get(url.scheme)


def _unusable(path: str, error: Exception) -> ApiError:
    """Without the error's own words: they may repeat what is in the file."""
    reason = f"({path}) cannot be used ({type(error).__name__}); name one that works in KUBECONFIG"
    return ApiError(NO_ANSWER, "NoConfiguration", f"the Kubernetes configuration {reason}")


def _tls(configuration: Configuration) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data)
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
