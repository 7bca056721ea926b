"""Kubeconfigs that cannot be used, and servers that are no API server: each is told of in one sentence."""

from __future__ import annotations

import base64
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from arqube_local.cli import main as arqube

KIND = "kubeconfigs and API servers"
SECRET = "n0t-to-be-seen"  # noqa: S105 - looked for where it must not be


def kubeconfig(user: Any = None, cluster: Any = None, **changes: Any) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
            "clusters": [{"name": "here", "cluster": {"server": "http://127.0.0.1:1"} if cluster is None else cluster}],
            "users": [{"name": "me", "user": {} if user is None else user}],
            **changes,
        }
    )


def plugin(script: str) -> str:
    command = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-c", script],
        "interactiveMode": "Never",
    }
    return kubeconfig(user={"exec": command})


NOT_A_CERTIFICATE = base64.b64encode(b"not a certificate").decode()

FILES = {
    "it is empty": "",
    "it is white space": " \n\t",
    "it is no YAML": "a: [b\nc: }",
    "it is a tab": "\tapiVersion: v1",
    "it is a text": "kubeconfig",
    "it is a number": "7",
    "it is a list": "[]",
    "it is null": "null",
    "it is HTML": "<!DOCTYPE html><html><body>Sign in</body></html>",
    "it holds bytes that are no text": "\udcff\udcfe",
    "it makes Python objects": f"!!python/object/apply:os.system ['echo {SECRET}']",
    "it holds itself": "&a [*a]",
    "nothing is in it": "{}",
    "there is no current context": kubeconfig(**{"current-context": None}),
    "the current context is not there": kubeconfig(**{"current-context": "there"}),
    "there are no contexts": kubeconfig(contexts=None),
    "the contexts are a text": kubeconfig(contexts="here"),
    "a context is a text": kubeconfig(contexts=["here"]),
    "the context names no cluster": kubeconfig(contexts=[{"name": "here", "context": {"user": "me"}}]),
    "the context is null": kubeconfig(contexts=[{"name": "here", "context": None}]),
    "the cluster is not there": kubeconfig(clusters=[]),
    "the cluster is null": kubeconfig(clusters=[{"name": "here", "cluster": None}]),
    "the cluster has no server": kubeconfig(cluster={"insecure-skip-tls-verify": True}),
    "the server is a number": kubeconfig(cluster={"server": 6443}),
    "the server is no URL": kubeconfig(cluster={"server": "127.0.0.1"}),
    "the server is an empty text": kubeconfig(cluster={"server": ""}),
    "the server's port is a word": kubeconfig(cluster={"server": "https://127.0.0.1:port"}),
    "the server's name is no name": kubeconfig(cluster={"server": "https://a..b:6443"}),
    "the server's name cannot be found": kubeconfig(cluster={"server": "https://nowhere.invalid:6443"}),
    "the server speaks FTP": kubeconfig(cluster={"server": "ftp://127.0.0.1"}),
    "the server's URL holds a password": kubeconfig(cluster={"server": f"http://me:{SECRET}@127.0.0.1:1"}),
    "nobody listens": kubeconfig(),
    "the authority's file is not there": kubeconfig(
        cluster={"server": "https://127.0.0.1:1", "certificate-authority": "/nowhere/ca.crt"}
    ),
    "the authority is no base64": kubeconfig(
        cluster={"server": "https://127.0.0.1:1", "certificate-authority-data": "%%%"}
    ),
    "the authority is no certificate": kubeconfig(
        cluster={"server": "https://127.0.0.1:1", "certificate-authority-data": NOT_A_CERTIFICATE}
    ),
    "the client's certificate is none": kubeconfig(
        user={"client-certificate-data": NOT_A_CERTIFICATE, "client-key-data": NOT_A_CERTIFICATE},
        cluster={"server": "https://127.0.0.1:1"},
    ),
    "the client's certificate has no key": kubeconfig(
        user={"client-certificate-data": NOT_A_CERTIFICATE}, cluster={"server": "https://127.0.0.1:1"}
    ),
    "the user is not there": kubeconfig(users=[]),
    "the user is a text": kubeconfig(users=[{"name": "me", "user": SECRET}]),
    "the token is a number": kubeconfig(user={"token": 7}),
    "the token has two lines": kubeconfig(user={"token": f"{SECRET}\nX-Evil: yes"}),
    "the token's file is not there": kubeconfig(user={"tokenFile": "/nowhere/token"}),
    "the proxy is no URL": kubeconfig(cluster={"server": "http://127.0.0.1:1", "proxy-url": "nowhere"}),
    "the plugin is not there": kubeconfig(
        user={"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin-anywhere"}}
    ),
    "the plugin is null": kubeconfig(user={"exec": None}),
    "the plugin has no command": kubeconfig(user={"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}),
    "the plugin is of a version nobody knows": kubeconfig(
        user={"exec": {"apiVersion": "client.authentication.k8s.io/v9", "command": "true"}}
    ),
    "the plugin fails": plugin(f"import sys; sys.exit('{SECRET}')"),
    "the plugin says nothing": plugin(""),
    "the plugin says HTML": plugin("print('<html>Sign in</html>')"),
    "the plugin says a list": plugin("print([])"),
    "the plugin says null": plugin("print('null')"),
    "the plugin gives nothing": plugin(
        'print(\'{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {}}\')'
    ),
    "the plugin is killed": plugin("import os; os.kill(os.getpid(), 9)"),
    "the login is of a provider long gone": kubeconfig(user={"auth-provider": {"name": "gcp"}}),
}


def told(folder: Path, text: str, *arguments: str) -> str:
    """What a command says of a kubeconfig; the same holds for all that name a TaskQueue."""
    path = folder / "kubeconfig"
    path.write_text(text, errors="surrogateescape")
    done = CliRunner().invoke(arqube, [*(arguments or ("explain", "emails")), "--kubeconfig", str(path)])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit), done.exception
    assert "Traceback" not in done.output, done.output
    assert SECRET not in done.output
    assert done.output.startswith("Error: ")
    assert len(done.output) < 2500
    return done.output


@pytest.mark.parametrize("case", FILES.values(), ids=FILES.keys())
def test_a_command_tells_what_is_wrong_with_a_kubeconfig(tmp_path: Path, case: str) -> None:
    words = told(tmp_path, case)
    assert "Kubernetes" in words or "kubeconfig" in words or "API" in words


@pytest.mark.parametrize("command", ["dlq list --taskqueue emails", "record emails --for 1s"])
def test_so_do_the_other_commands(tmp_path: Path, command: str) -> None:
    told(tmp_path, FILES["it is a list"], *command.split())


def test_an_operator_tells_it_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(FILES["it is a list"])
    done = subprocess.run(
        [sys.executable, "-m", "arqube_operator"],
        env={**os.environ, "KUBECONFIG": str(path), "ARQUBE_HTTP_PORT": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("arqube-operator: ")
    assert SECRET not in done.stdout + done.stderr


STATUS = {"apiVersion": "v1", "kind": "Status", "code": 403, "reason": "Forbidden", "message": "not you"}
LIST = "application/json"
ANSWERS = {
    "HTML": (200, "text/html", b"<html>Sign in</html>"),
    "HTML that is an error": (502, "text/html", b"<html>Bad gateway</html>"),
    "nothing": (200, LIST, b""),
    "null": (200, LIST, b"null"),
    "a list": (200, LIST, b"[]"),
    "a number": (200, LIST, b"7"),
    "an empty object": (200, LIST, b"{}"),
    "an object of another kind": (200, LIST, b'{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}'),
    "a TaskQueue of another version": (
        200,
        LIST,
        b'{"apiVersion": "arqube.dev/v9", "kind": "TaskQueue", "metadata": {"name": "emails", "namespace": "a"}}',
    ),
    "metadata that are none": (200, LIST, b'{"metadata": null}'),
    "JSON that is cut short": (200, LIST, b'{"metadata": {"na'),
    "bytes that are no text": (200, LIST, b"\xff\xfe\x00"),
    "lists 100,000 deep": (200, LIST, b"[" * 100_000),
    "not for you": (401, LIST, b"{}"),
    "forbidden": (403, LIST, json.dumps(STATUS).encode()),
    "a code in words": (500, LIST, b'{"kind": "Status", "code": "five", "reason": 5, "message": ["x"], "details": 1}'),
    "a code that is none": (404, LIST, b'{"kind": "Status", "code": -1}'),
    "a redirection to itself": (302, LIST, b""),
    "a message of 5 MB": (500, LIST, json.dumps({"message": "x" * 5_000_000}).encode()),
    "too many requests": (429, LIST, b"{}"),
    "an encoding that is none": (200, LIST, b"abc"),
}


@pytest.fixture
def impostor() -> Iterator[Any]:
    """A server that gives one answer to everything; ``impostor.answer`` is it."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = self.server.answer  # type: ignore[attr-defined]
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", self.path)
            if body == b"abc":
                self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("case", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_command_tells_of_a_server_that_is_no_api_server(
    tmp_path: Path, impostor: Any, case: tuple[int, str, bytes]
) -> None:
    impostor.answer = case
    server = f"http://127.0.0.1:{impostor.server_address[1]}"
    words = told(tmp_path, kubeconfig(user={"token": SECRET}, cluster={"server": server}))
    assert "emails" in words
