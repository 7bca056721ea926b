"""Another address of a server, as a Service or a DNS name gives it: it may lead elsewhere, or hold an answer back."""

from __future__ import annotations

import asyncio


class Door:
    """Leads to the port ``target`` of this machine; an answer with ``held`` in it waits until ``opened``."""

    def __init__(self, target: int, *, held: bytes | None = None) -> None:
        self.target = target
        self.opened = asyncio.Event()
        self._held = held
        self._streams: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Door:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for stream in self._streams:
            stream.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        for source, sink, answers in ((reader, back, False), (there, writer, True)):
            self._streams.add(asyncio.create_task(self._pass(source, sink, answers)))

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, answers: bool) -> None:
        try:
            while data := await source.read(65536):
                if answers and self._held is not None and self._held in data:
                    await self.opened.wait()
                sink.write(data)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()
