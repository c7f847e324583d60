"""The gate of a function: a second container that connects the function to the local cloud.

The gate is a container without a network, too. It listens where the function looks for the local cloud and for its
Runtime API; its standard input and output are carried here, through the Docker engine. So a function reaches the local
cloud and nothing else of this machine, and nobody on this machine reaches a function.
"""

import asyncio
import logging
import socket
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import docker
from ministack.core import container_reaper

from local.cloud import streams
from local.cloud.runtime import Result, Runtime
from local.cloud.streams import READY, Streams

log = logging.getLogger("local.cloud.gate")

# Where the Runtime API is, as on AWS; the second one where the local cloud itself has the first.
RUNTIME_PORTS = (9001, 9002)
# The restrictions of Lambda: an unprivileged user whatever user the image sets, no kernel capabilities, no shared
# memory, and a read-only file system except `/tmp`.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#images-reqs
USER = "993:990"
CONFINED: dict[str, Any] = {
    "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "read_only": True, "ipc_mode": "none",
}  # fmt: skip
START_SECONDS = 60
MEMORY = "128m"
PROCESSES = 16
# Number of frames, each of 64 KiB.
WAITING = 64


class Gate:
    """The gate of one function's container.

    Args:
        client: client of the Docker engine.
        image: an image with Python.
        cloud: loopback port of the local cloud, on this machine and in the function's container.

    Attributes:
        runtime: the function's Runtime API.
        address: where the function finds it.

    Raises:
        DockerException: the engine cannot start the container.
        RuntimeError: the gate does not respond.
    """

    def __init__(self, client: docker.DockerClient, image: str, cloud: int) -> None:
        self._cloud = cloud
        port = runtime_port(cloud)
        self.address = f"127.0.0.1:{port}"
        source = Path(streams.__file__).read_text()
        labels = {container_reaper.INSTANCE_LABEL: container_reaper.instance_id()}
        # Not detached: when this process ends, the container's input ends, and then the container.
        self.id: str = client.api.create_container(
            image, [source, str(port), str(cloud)], entrypoint=["python3", "-c"], stdin_open=True, labels=labels,
            user=USER, host_config=client.api.create_host_config(
                network_mode="none", auto_remove=True, mem_limit=MEMORY, memswap_limit=MEMORY, pids_limit=PROCESSES,
                **CONFINED,
            ),
        )["Id"]  # fmt: skip
        self._attached = client.api.attach_socket(self.id, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        client.api.start(self.id)
        try:
            asyncio.run_coroutine_threadsafe(self._serve(), _loop()).result(START_SECONDS)
        except (OSError, EOFError) as error:
            self._attached.close()
            raise RuntimeError(f"the gate of a function did not start from {image}") from error

    @property
    def serves(self) -> bool:
        """Whether the gate is running."""
        return not self._serving.done()

    def close(self) -> None:
        """Stop the gate."""
        # Shut the connection down, because the HTTP response that it came with keeps it open.
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._attached.close()

    def call(self, request: str, event: bytes, *, arn: str, trace: str, seconds: float) -> Result:
        """Let the function answer an event."""
        called = self.runtime.call(request, event, arn=arn, trace=trace, seconds=seconds)
        return asyncio.run_coroutine_threadsafe(called, _loop()).result()

    def ended(self, status: int) -> None:
        """The function's process has ended."""
        _loop().call_soon_threadsafe(self.runtime.ended, status)

    async def _dial(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if port == self._cloud:
            return await asyncio.open_connection("127.0.0.1", port)
        here, there = socket.socketpair()
        served = asyncio.create_task(self.runtime.serve(*await asyncio.open_connection(sock=here)))
        self._served.add(served)
        served.add_done_callback(self._served.discard)
        return await asyncio.open_connection(sock=there)

    async def _serve(self) -> None:
        self._connection = getattr(self._attached, "_sock", self._attached)
        self._connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=self._connection)
        read = _Output(reader).read
        await read(len(READY))
        self.runtime, self._served = Runtime(), set[asyncio.Task[None]]()
        self._serving = asyncio.create_task(Streams(read, writer, self._dial, WAITING).run())


def runtime_port(cloud: int) -> int:
    """Where the Runtime API of a function is, which finds the local cloud at its own port."""
    return next(port for port in RUNTIME_PORTS if port != cloud)


class Gates:
    """The gates of all functions. One gate is started in advance, because a function waits for its gate.

    Args:
        image: has Python.
        cloud: loopback port of the local cloud.
    """

    def __init__(self, image: str, cloud: int) -> None:
        self._image = image
        self._cloud = cloud
        self._starter = ThreadPoolExecutor(1, "gate")
        self._spares: deque[Future[Gate]] = deque()

    def prepare(self, client: docker.DockerClient) -> None:
        """Start a gate in advance, unless there is one."""
        if not self._spares:
            self._spares.append(self._starter.submit(Gate, client, self._image, self._cloud))

    def take(self, client: docker.DockerClient) -> Gate:
        """The gate that was started in advance, or a new one.

        Raises:
            DockerException: the engine does not start it.
            RuntimeError: it does not answer.
        """
        with suppress(IndexError, RuntimeError, docker.errors.DockerException):
            if (spare := self._spares.popleft().result()).serves:
                return spare
        return Gate(client, self._image, self._cloud)


class _Output:
    """A container's standard output, read from the frames in which Docker also sends standard error.

    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._pending = bytearray()

    async def read(self, size: int) -> bytes:
        while len(self._pending) < size:
            head = await self._reader.readexactly(8)
            data = await self._reader.readexactly(int.from_bytes(head[4:], "big"))
            if head[0] == 1:
                self._pending += data
            else:
                log.warning("%s", data.decode(errors="replace").rstrip())
        found = bytes(self._pending[:size])
        del self._pending[:size]
        return found


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all gates, in a separate thread, because the threads that call functions block."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="gates", daemon=True).start()
    return loop
