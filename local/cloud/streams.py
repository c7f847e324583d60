"""Many connections over one pair of pipes: the only way out of a function's container (`gate.py`).

Both ends run this file. In the container, where connections begin, it runs alone, on the Python of the base image: it
imports nothing of this project.
"""

import asyncio
import contextlib
import functools
import itertools
import struct
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

# Number of the connection, kind of the frame, bytes that follow: of OPEN the port that was called.
HEAD = struct.Struct(">IBI")
OPEN, DATA, CLOSE = range(3)
PORT = struct.Struct(">H")
CHUNK = 65_536
READY = b"ready"

Dial = Callable[[int], Awaitable[tuple[StreamReader, StreamWriter]]]
Frames = asyncio.Queue[tuple[int, bytes]]


class Streams:
    """One end of the pipes.

    Args:
        read: reads exactly this number of bytes from the other end.
        writer: writes to the other end.
        dial: opens the connections to a port that the other end requests; None if it requests none.
        waiting: number of frames that one connection may queue before the other end must wait; 0: no limit.
    """

    def __init__(
        self, read: Callable[[int], Awaitable[bytes]], writer: StreamWriter, dial: Dial | None = None, waiting: int = 0
    ) -> None:
        self._read = read
        self._writer = writer
        self._dial = dial
        self._numbers = itertools.count()
        self._waiting = waiting
        self._arrived: dict[int, Frames] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False

    async def run(self) -> None:
        """Serve until the other end closes; then close every connection."""
        try:
            while True:
                number, kind, size = HEAD.unpack(await self._read(HEAD.size))
                data = await self._read(size)
                if number in self._arrived:
                    await self._arrived[number].put((kind, data))
                elif kind == OPEN and self._dial:
                    self._arrived[number] = asyncio.Queue(self._waiting)
                    self._start(self._accept(number, self._dial(*PORT.unpack(data))))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            self._ended = True
            for frames in self._arrived.values():
                while not frames.empty():
                    frames.get_nowait()
                frames.put_nowait((CLOSE, b""))
            self._writer.close()

    async def open(self, reader: StreamReader, writer: StreamWriter, port: int) -> None:
        """Carry a connection to a port of the other end. Returns when that is connected.

        Raises:
            ConnectionRefusedError: the other end cannot connect.
        """
        number = next(self._numbers)
        frames = self._arrived[number] = asyncio.Queue(self._waiting)
        if not self._ended:
            self._writer.write(HEAD.pack(number, OPEN, PORT.size) + PORT.pack(port))
        if self._ended or (await frames.get())[0] != OPEN:
            self._forget(number)
            writer.close()
            raise ConnectionRefusedError
        self._start(self._carry(number, reader, writer))

    async def _accept(self, number: int, dialled: Awaitable[tuple[StreamReader, StreamWriter]]) -> None:
        try:
            reader, writer = await dialled
        except OSError:
            self._writer.write(HEAD.pack(number, CLOSE, 0))
            self._forget(number)
            return
        self._writer.write(HEAD.pack(number, OPEN, 0))
        await self._carry(number, reader, writer)

    async def _carry(self, number: int, reader: StreamReader, writer: StreamWriter) -> None:
        """Forward both directions. Close them together: HTTP/1.1 has no half-closed connections."""
        arriving = asyncio.create_task(self._deliver(self._arrived[number], writer))
        try:
            while data := await reader.read(CHUNK):
                self._writer.write(HEAD.pack(number, DATA, len(data)) + data)
                await self._writer.drain()
        except OSError:
            pass
        finally:
            arriving.cancel()
            self._forget(number)
            writer.close()
            if not self._ended:
                self._writer.write(HEAD.pack(number, CLOSE, 0))

    async def _deliver(self, frames: Frames, writer: StreamWriter) -> None:
        try:
            while (frame := await frames.get())[0] == DATA:
                writer.write(frame[1])
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    def _forget(self, number: int) -> None:
        # `run` may wait for space in the queue.
        frames = self._arrived.pop(number)
        while not frames.empty():
            frames.get_nowait()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def main(*ports: int) -> None:
    """Serve the end in the container: what calls these ports is connected there."""
    loop, reader = asyncio.get_running_loop(), StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.StreamReaderProtocol(StreamReader()), sys.stdout
    )
    writer = StreamWriter(transport, protocol, None, loop)
    streams = Streams(reader.readexactly, writer)

    async def opened(port: int, there: StreamReader, back: StreamWriter) -> None:
        with contextlib.suppress(ConnectionRefusedError):
            await streams.open(there, back, port)

    for port in ports:
        await asyncio.start_server(functools.partial(opened, port), "127.0.0.1", port)
    writer.write(READY)
    await streams.run()


if __name__ == "__main__":
    asyncio.run(main(*map(int, sys.argv[1:])))
