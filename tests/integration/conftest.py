"""A certificate authority of the tests' own, and databases: SQLite always, PostgreSQL where one is installed."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from arqube_local.postgres_server import PostgresServer, find_binaries

KINDS = ["sqlite", *(["postgresql"] if find_binaries() else [])]
"""The header of a run says which."""


class Authority:
    """A certificate authority and the certificates it gave to a server at 127.0.0.1 and to a client."""

    NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        own = ("-x509", *self.NEW_KEY, "-subj", "/CN=authority", "-days", "2")
        self._openssl("req", *own, "-keyout", self.file("ca.key"), "-out", self.file("ca.crt"))
        for name, extension in (("server", "subjectAltName=IP:127.0.0.1"), ("client", "extendedKeyUsage=clientAuth")):
            self._issue(name, extension)

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def options(self, port: int, *, clients_need_certificates: bool = False) -> tuple[str, ...]:
        """What makes a server speak TLS on ``port``."""
        files = ("--tls-ca-cert-file", "ca.crt", "--tls-cert-file", "server.crt", "--tls-key-file", "server.key")
        paths = (self.file(part) if "." in part else part for part in files)
        return ("--tls-port", str(port), *paths, "--tls-auth-clients", "yes" if clients_need_certificates else "no")

    def _issue(self, name: str, extension: str) -> None:
        (self.folder / f"{name}.ext").write_text(extension)
        wanted = (*self.NEW_KEY, "-subj", f"/CN={name}")
        self._openssl("req", *wanted, "-keyout", self.file(f"{name}.key"), "-out", self.file(f"{name}.csr"))
        signed = ("-CA", self.file("ca.crt"), "-CAkey", self.file("ca.key"), "-CAcreateserial", "-days", "2")
        request = ("-in", self.file(f"{name}.csr"), "-out", self.file(f"{name}.crt"))
        self._openssl("x509", "-req", *request, *signed, "-extfile", self.file(f"{name}.ext"))

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=30)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer(options=("fsync=off",)) as server:
        yield server


@pytest_asyncio.fixture(params=KINDS)
async def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of an empty database, one test after the other on each kind."""
    if request.param == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path}/app.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    engine = create_async_engine(server.url)
    async with engine.begin() as connection:
        await connection.execute(text("DROP SCHEMA public CASCADE"))
        await connection.execute(text("CREATE SCHEMA public"))
    await engine.dispose()
    yield server.url
