"""A headless Chromium, driven over its debugging protocol: pages as people see them, and what the browser complains of.

Source of the protocol: https://chromedevtools.github.io/devtools-protocol/.
"""

from __future__ import annotations

import asyncio
import base64
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_TIMEOUT_S = 60.0


def find_chromium() -> str | None:
    """Path of a Chromium, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.complaints: list[str] = []
        """Errors that the browser or a script has told, violations of the page's policy among them."""
        self._socket = socket
        self._numbers = count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._loaded = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def close(self) -> None:
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await self._socket.close()

    async def call(self, method: str, **parameters: Any) -> Any:
        """One command of the protocol, and its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(60):
            return await answer

    async def look(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a screen of that size, of somebody who likes it dark or light."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    @asynccontextmanager
    async def navigation(self) -> AsyncIterator[None]:
        """What is done within leads to another page, which is there at the end."""
        self._loaded.clear()
        yield
        async with asyncio.timeout(60):
            await self._loaded.wait()

    async def open(self, url: str) -> None:
        async with self.navigation():
            await self.call("Page.navigate", url=url)

    async def run(self, script: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        told = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def click(self, selector: str) -> None:
        """Click what leads to another page."""
        async with self.navigation():
            await self.run(f"document.querySelector({selector!r}).click()")

    async def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        pressed = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        text = {"text": "\r"} if key == "Enter" else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", **pressed, **text)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    async def picture(self, path: Path, *, whole: bool = False) -> None:
        shot = await self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))

    async def _read(self) -> None:
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                answer = self._answers.pop(told["id"])
                if "error" in told:
                    answer.set_exception(RuntimeError(told["error"]["message"]))
                else:
                    answer.set_result(told["result"])
            elif told["method"] == "Page.loadEventFired":
                self._loaded.set()
            elif told["method"] == "Runtime.exceptionThrown":
                self.complaints.append(told["params"]["exceptionDetails"]["text"])
            elif told["method"] == "Log.entryAdded" and told["params"]["entry"]["level"] in ("error", "warning"):
                self.complaints.append(told["params"]["entry"]["text"])


class Chromium:
    """A browser of its own with an empty profile; a context manager."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._profile = tempfile.TemporaryDirectory(prefix="arqube-chromium-", ignore_cleanup_errors=True)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Chromium:
        command = [
            *(self._binary, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--hide-scrollbars", "--no-first-run", "--disable-extensions", "--disable-background-networking"),
            *("--disable-sync", "--remote-debugging-port=0", f"--user-data-dir={self._profile.name}", "about:blank"),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        told, deadline = Path(self._profile.name, "DevToolsActivePort"), time.monotonic() + START_TIMEOUT_S
        while not (told.exists() and "/" in told.read_text()):  # its second line is a path
            assert self._process.poll() is None, "Chromium has ended"
            assert time.monotonic() < deadline, "Chromium did not start"
            time.sleep(0.05)
        self._url = f"http://127.0.0.1:{told.read_text().splitlines()[0]}"
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._profile.cleanup()

    @asynccontextmanager
    async def tab(self) -> AsyncIterator[Page]:
        """A tab of somebody who was nowhere before."""
        async with aiohttp.ClientSession() as session:
            async with session.put(f"{self._url}/json/new") as answer:
                told = await answer.json(content_type=None)
            page = Page(await session.ws_connect(told["webSocketDebuggerUrl"], max_msg_size=0))
            try:
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await page.call(f"{domain}.enable")
                await page.call("Network.clearBrowserCookies")
                yield page
                await page.call("Page.close")
            finally:
                await page.close()
