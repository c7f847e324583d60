"""Connections to and from a function's container, carried over one pair of pipes."""

import asyncio
import contextlib
import socket
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable

import pytest

from local.cloud import gate
from local.cloud.streams import Streams

Serve = Callable[[StreamReader, StreamWriter], Awaitable[None]]
MEBIBYTE = 1024 * 1024
PORT = 9001


class Pair:
    """Two ends, of which one connects what the other opens to a server, as the local cloud and a gate do."""

    async def start(self, serve: Serve) -> "Pair":
        self.server = await asyncio.start_server(serve, "127.0.0.1", 0)
        self.address = self.server.sockets[0].getsockname()
        here, there = socket.socketpair()
        (reader, self.pipe), (back, forth) = [await asyncio.open_connection(sock=one) for one in (here, there)]
        self.bounded = Streams(reader.readexactly, self.pipe, self.dial, 4)
        self.unbounded = Streams(back.readexactly, forth)
        self.running = [asyncio.create_task(end.run()) for end in (self.bounded, self.unbounded)]
        return self

    async def dial(self, port: int) -> tuple[StreamReader, StreamWriter]:
        assert port == PORT
        return await asyncio.open_connection(*self.address)


async def opened(end: Streams) -> tuple[StreamReader, StreamWriter]:
    here, there = socket.socketpair()
    await end.open(*await asyncio.open_connection(sock=there), PORT)
    return await asyncio.open_connection(sock=here)


async def echo(reader: StreamReader, writer: StreamWriter) -> None:
    """Sends back what it gets, in capitals, and closes behind a line."""
    writer.write((await reader.readline()).upper())
    writer.close()


def test_connections_beside_one_another_get_their_own_answers() -> None:
    async def check() -> None:
        pair = await Pair().start(echo)
        first, second = await opened(pair.unbounded), await opened(pair.unbounded)
        second[1].write(b"second\n")
        first[1].write(b"first\n")
        assert await first[0].read() == b"FIRST\n"
        assert await second[0].read() == b"SECOND\n"

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_connection_that_nobody_reads_does_not_hold_up_another() -> None:
    """Of one end: the function's, which may leave an answer unread."""

    async def pour(reader: StreamReader, writer: StreamWriter) -> None:
        writer.write(await reader.readline() * MEBIBYTE)
        writer.close()

    async def check() -> None:
        pair = await Pair().start(pour)
        unread, read = await opened(pair.unbounded), await opened(pair.unbounded)
        unread[1].write(b"x\n")
        read[1].write(b"y\n")
        assert len(await read[0].read()) == 2 * MEBIBYTE
        assert len(await unread[0].read()) == 2 * MEBIBYTE

    asyncio.run(asyncio.wait_for(check(), 20))


def test_an_upload_that_is_answered_early_does_not_hold_up_another() -> None:
    async def refuse(reader: StreamReader, writer: StreamWriter) -> None:
        if await reader.read(1) == b"u":
            while not any(frames.full() for frames in pair.bounded._arrived.values()):
                await asyncio.sleep(0.01)
            writer.write(b"too large\n")
        else:
            writer.write(b"ok\n")
        writer.close()

    async def check() -> None:
        await pair.start(refuse)
        answer, upload = await opened(pair.unbounded)
        upload.write(b"u" * 64 * MEBIBYTE)
        with contextlib.suppress(ConnectionError):
            await answer.read()
        read, call = await opened(pair.unbounded)
        call.write(b"c")
        assert await read.read() == b"ok\n"

    pair = Pair()

    asyncio.run(asyncio.wait_for(check(), 20))


def test_what_cannot_be_connected_is_refused() -> None:
    async def check() -> None:
        pair = await Pair().start(echo)
        pair.server.close()
        with pytest.raises(ConnectionRefusedError):
            await opened(pair.unbounded)

    asyncio.run(asyncio.wait_for(check(), 20))


def test_connections_end_with_the_other_end() -> None:
    async def wait(reader: StreamReader, writer: StreamWriter) -> None:
        await reader.read()
        writer.close()

    async def check() -> None:
        pair = await Pair().start(wait)
        reader, _writer = await opened(pair.unbounded)
        pair.pipe.transport.abort()
        assert await reader.read() == b""
        with pytest.raises(ConnectionRefusedError):
            await opened(pair.unbounded)

    asyncio.run(asyncio.wait_for(check(), 20))


def test_a_gate_ends_although_the_response_that_it_came_with_is_kept() -> None:
    here, there = socket.socketpair()
    there.settimeout(20)
    kept = here.makefile("rb")
    ended = object.__new__(gate.Gate)
    ended._connection, ended._attached = here, socket.SocketIO(here, "rw")
    ended.close()
    assert there.recv(1) == b""
    kept.close()
