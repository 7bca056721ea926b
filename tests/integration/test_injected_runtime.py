"""The runtime as it is injected: run by the Python of an image that holds arq and the app, and knows nothing of us.

An image is a Python and its packages: here the test's own Python with a few of its packages, and in ``make matrix`` the
environment whose Python ``$ARQUBE_MATRIX_IMAGE`` names: old and new versions of what the runtime meets in images.
"""

from __future__ import annotations

import ast
import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

from arqube_local.redis_server import RedisServer
from arqube_queue import environment, exit_codes
from arqube_worker import termination
from arqube_worker.inject import compatibility

Eventually = Callable[..., Awaitable[Any]]

APPS = Path(__file__).parent / "apps"
ARQ = ("arq", "redis", "hiredis", "click", "pyjwt")
"""arq and what it needs."""
SLOW_S = 60.0


@dataclass(frozen=True)
class Image:
    """A command that is Python, and the variables it needs."""

    python: tuple[str, ...]
    environ: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.python, *arguments],
            cwd=APPS,
            env={**clean(), **self.environ, **variables},
            capture_output=True,
            text=True,
            timeout=SLOW_S,
        )


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("ARQUBE_", "REDIS_", "PYTHON"))}


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the init container fills."""
    folder = tmp_path_factory.mktemp("arqube-runtime")
    subprocess.run([sys.executable, "-m", "arqube_worker.inject", str(folder)], check=True)
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Image]:
    """``image("arq", ...)``: the test's own Python, which sees only these packages of its environment."""

    def make(*names: str) -> Image:
        site = tmp_path / "site-packages"
        for name in names:
            found = distribution(name)
            for top in {Path(file).parts[0] for file in found.files or () if ".." not in file.parts}:
                if not top.endswith((".pth", "__pycache__")):
                    site.mkdir(exist_ok=True)
                    (site / top).symlink_to(str(found.locate_file(top)))
        return Image((sys.executable, "-S"), {"PYTHONPATH": str(site)})

    return make


def test_the_folder_holds_nothing_of_the_python_that_made_it(runtime: Path) -> None:
    files = [file for file in runtime.rglob("*") if file.is_file()]

    assert {file.suffix for file in files} & {".so", ".pyc", ".pth"} == set()
    assert sorted(each.name for each in runtime.iterdir()) == ["missing", "own", "run.py"]
    assert not [each for each in (runtime / "own").iterdir() if not each.name.startswith("arqube")]
    assert len([file for file in files if "license" in file.name.lower()]) >= 3


@pytest.mark.parametrize(
    "file", ["run.py", "own/arqube_worker/inject/compatibility.py", "own/arqube_worker/termination.py"]
)
def test_an_old_python_can_read_what_tells_that_it_is_too_old(runtime: Path, file: str) -> None:
    text = (runtime / file).read_text()

    ast.parse(text, feature_version=(3, 6))
    assert "from __future__" not in text  # `annotations` is of Python 3.7


def test_names_that_stand_twice_are_the_same() -> None:
    assert exit_codes.INCOMPATIBLE == compatibility.EXIT_CODE
    assert environment.TERMINATION_LOG == termination.VARIABLE


def package(folder: Path, name: str, version: str) -> None:
    metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.mark.parametrize(
    ("python", "packages", "problem"),
    [
        pytest.param((3, 10, 0), {"arq": "0.25.0", "redis": "4.2.0"}, None, id="the oldest that will do"),
        pytest.param((3, 14, 0), {"arq": "0.28.0", "redis": "5.3.1"}, None, id="the newest"),
        pytest.param((3, 12, 1), {"arq": "1.0b2", "redis": "8.0.0b1"}, None, id="versions still to come"),
        pytest.param((3, 9, 18), {"arq": "0.25.0", "redis": "4.2.0"}, "Python 3.9.18 (", id="an old Python"),
        pytest.param((3, 12, 1), {}, "has no arq: install it", id="no arq"),
        pytest.param((3, 12, 1), {"arq": "0.24.0", "redis": "4.2.0"}, "arq 0.24.0 is too old", id="an old arq"),
        pytest.param((3, 12, 1), {"arq": "0.25.0", "redis": "4.1.4"}, "redis 4.1.4 is too old", id="an old redis-py"),
        pytest.param(
            (3, 12, 1),
            {"arq": "0.28.0", "redis": "5.3.1", "structlog": "21.5.0"},
            "structlog 21.5.0 is too old: it needs 22.2 or newer",
            id="an old structlog of the app's",
        ),
    ],
)
def test_what_an_image_must_have(
    tmp_path: Path, python: tuple[int, ...], packages: dict[str, str], problem: str | None
) -> None:
    for name, version in packages.items():
        package(tmp_path, name, version)

    found = compatibility.problem(python, [str(tmp_path)])

    assert found == problem if problem is None else problem in (found or "")


def test_an_image_without_arq_says_so_to_people_and_to_the_operator(
    runtime: Path, image: Callable[..., Image], tmp_path: Path
) -> None:
    log = tmp_path / "termination-log"
    ended = image().run(str(runtime / "run.py"), "anywhere.WorkerSettings", ARQUBE_TERMINATION_LOG=str(log))

    assert ended.returncode == exit_codes.INCOMPATIBLE
    assert "has no arq" in ended.stderr
    assert ended.stderr == log.read_text() + "\n"


def test_settings_that_cannot_be_imported_say_so_without_passwords(
    runtime: Path, image: Callable[..., Image], tmp_path: Path
) -> None:
    (tmp_path / "secretive.py").write_text("raise ValueError('no server at redis://app:hunter2@redis:6379\\nmore')")
    log = tmp_path / "termination-log"
    app = image(*ARQ)
    path = f"{app.environ['PYTHONPATH']}{os.pathsep}{tmp_path}"
    ended = Image(app.python, {"PYTHONPATH": path}).run(
        str(runtime / "run.py"), "secretive.WorkerSettings", ARQUBE_TERMINATION_LOG=str(log), ARQUBE_HTTP_PORT="0"
    )

    assert ended.returncode == exit_codes.SETTINGS
    assert "ValueError: no server at redis://***@redis:6379" in log.read_text()
    assert "\n" not in log.read_text()


@pytest.mark.parametrize(
    ("packages", "place"),
    [
        pytest.param(ARQ, "runtime", id="the runtime brings what an image lacks"),
        pytest.param((*ARQ, "structlog", "prometheus-client"), "image", id="what the image has comes from the image"),
    ],
)
async def test_the_app_keeps_its_own_packages(
    runtime: Path,
    image: Callable[..., Image],
    redis_server: RedisServer,
    redis: Any,
    eventually: Eventually,
    tmp_path: Path,
    packages: tuple[str, ...],
    place: str,
) -> None:
    places = await work(image(*packages), runtime, redis_server, redis, eventually, tmp_path)

    folders = {"runtime": str(runtime), "image": str(tmp_path)}
    assert places["arqube_worker"].startswith(folders["runtime"])
    for name in ("arq", "redis"):
        assert places[name].startswith(folders["image"])
    for name in ("structlog", "prometheus_client"):
        assert places[name].startswith(folders[place])


async def work(
    image: Image, runtime: Path, redis_server: RedisServer, redis: Any, eventually: Eventually, tmp_path: Path
) -> dict[str, str]:
    """Run all the ways a job may end in this image, and stop in the middle of one. Gives the modules' places."""
    address = redis_server.address
    where = {f"{prefix}_HOST": address.host for prefix in ("REDIS_QUEUE", "ARQUBE_REDIS")}
    where |= {f"{prefix}_PORT": str(address.port) for prefix in ("REDIS_QUEUE", "ARQUBE_REDIS")}
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        worker = subprocess.Popen(  # noqa: ASYNC220 - it only starts it
            [*image.python, str(runtime / "run.py"), "anywhere.WorkerSettings"],
            cwd=APPS,
            env={**clean(), **image.environ, **where, "ARQUBE_HTTP_PORT": "0"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        enqueue = asyncio.create_task(asyncio.to_thread(image.run, "anywhere.py", **where))
        await eventually(lambda: enqueue.done() or worker.poll() is not None, within_s=SLOW_S)
        assert worker.poll() is None, log.read_text()
        producer = await enqueue
        assert producer.returncode == 0, producer.stderr + log.read_text()
        ends = json.loads(producer.stdout)
        places: dict[str, str] = ends.pop("places")
        assert ends == {
            "succeed": 7,
            "fail": "LookupError",
            "retry": 3,
            "outlast": "TimeoutError",
            "deferred": 8,
            "aborted": True,
        }
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, SLOW_S) == 0, log.read_text()
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()
    assert await redis.exists("arq:result:late"), log.read_text()
    # A cron job's key stays for a while, as arq's does, so that no other worker runs it again.
    assert not await redis.keys("arq:in-progress:[^c]*")
    assert "Traceback" not in [line for line in log.read_text().splitlines() if not line.startswith("{")]
    return places


@pytest.mark.skipif("ARQUBE_MATRIX_IMAGE" not in os.environ, reason="an image of `make matrix`")
@pytest.mark.timeout(600)
async def test_it_runs_in_an_image_of_the_matrix(
    runtime: Path, redis_server: RedisServer, redis: Any, eventually: Eventually, tmp_path: Path
) -> None:
    image = Image((os.environ["ARQUBE_MATRIX_IMAGE"],))

    await work(image, runtime, redis_server, redis, eventually, tmp_path)
