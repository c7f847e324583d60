"""A function's container has no network but its own loopback, which it shares with its gate.

The gate is a container without a network, too. It listens where the function looks for the local cloud, and calls the
function; its standard input and output are carried here, through the Docker engine. So a function reaches the local
cloud and nothing else of this machine, and nobody on this machine reaches a function but the local cloud.
"""

import asyncio
import http.client
import logging
import socket
import threading
import urllib.request
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import docker
from ministack.core import container_reaper

from local.cloud import streams
from local.cloud.streams import READY, Streams

log = logging.getLogger("local.cloud.gate")

# Where the Runtime Interface Emulator of the image listens, and the runtime API that it serves.
# https://github.com/aws/aws-lambda-runtime-interface-emulator
FUNCTION, RUNTIME_API = 8080, 9001
SUFFIX = ".gate"
# What a function has on AWS: a user without rights, whatever the image names, no capability of the kernel, no shared
# memory, and nothing to write to but `/tmp`.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#images-reqs
USER = "993:990"
CONFINED: dict[str, Any] = {
    "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "read_only": True, "ipc_mode": "none",
}  # fmt: skip
START_SECONDS = 60
MEMORY = "128m"
PROCESSES = 16
# Frames of 64 KiB.
WAITING = 64

_open: dict[str, "Gate"] = {}


class Gate:
    """The gate of one function's container.

    Args:
        client: of the Docker engine.
        image: has Python.
        cloud: loopback port of the local cloud, here and in the function's container.

    Raises:
        DockerException: the engine does not start it.
        RuntimeError: it does not answer.
    """

    def __init__(self, client: docker.DockerClient, image: str, cloud: int) -> None:
        self._cloud = cloud
        # A function that listens here itself comes first; it does not reach the local cloud then.
        inside = 0 if cloud in (FUNCTION, RUNTIME_API) else cloud
        source = Path(streams.__file__).read_text()
        labels = {container_reaper.INSTANCE_LABEL: container_reaper.instance_id()}
        # Not detached: its input ends with this process, and so does the container.
        self.id: str = client.api.create_container(
            image, [source, str(FUNCTION), str(inside)], entrypoint=["python3", "-c"], stdin_open=True, labels=labels,
            user=USER, host_config=client.api.create_host_config(
                network_mode="none", auto_remove=True, mem_limit=MEMORY, memswap_limit=MEMORY, pids_limit=PROCESSES,
                **CONFINED,
            ),
        )["Id"]  # fmt: skip
        self.name = f"{self.id[:12]}{SUFFIX}"
        self._attached = client.api.attach_socket(self.id, {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
        client.api.start(self.id)
        try:
            asyncio.run_coroutine_threadsafe(self._serve(), _loop()).result(START_SECONDS)
        except (OSError, EOFError) as error:
            self._attached.close()
            raise RuntimeError(f"the gate of a function did not start from {image}") from error
        _open[self.name] = self

    @property
    def serves(self) -> bool:
        """Whether it runs."""
        return not self._serving.done()

    def close(self) -> None:
        """End it."""
        if _open.pop(self.name, None):
            # The response that the connection came with keeps it open: to close one end of it is not enough.
            with suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)
            self._attached.close()

    def connect(self, timeout: float | None) -> socket.socket:
        """A connection to the function.

        Raises:
            OSError: nothing listens there, yet or any more.
        """
        here, there = socket.socketpair()
        try:
            asyncio.run_coroutine_threadsafe(self._carry(there), _loop()).result(timeout)
        except BaseException:
            here.close()
            raise
        here.settimeout(timeout)
        return here

    async def _carry(self, there: socket.socket) -> None:
        await self._streams.open(*await asyncio.open_connection(sock=there))

    async def _serve(self) -> None:
        self._connection = getattr(self._attached, "_sock", self._attached)
        self._connection.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=self._connection)
        read = _Output(reader).read
        await read(len(READY))
        self._streams = Streams(read, writer, lambda: asyncio.open_connection("127.0.0.1", self._cloud), 0, WAITING)
        self._serving = asyncio.create_task(self._streams.run())


class Gates:
    """The gates of all functions. One is started ahead, since a function waits for its gate.

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
        """Start one ahead, if there is none."""
        if not self._spares:
            self._spares.append(self._starter.submit(Gate, client, self._image, self._cloud))

    def take(self, client: docker.DockerClient) -> Gate:
        """The gate that was started ahead, or a new one.

        Raises:
            DockerException: the engine does not start it.
            RuntimeError: it does not answer.
        """
        with suppress(IndexError, RuntimeError, docker.errors.DockerException):
            if (spare := self._spares.popleft().result()).serves:
                return spare
        return Gate(client, self._image, self._cloud)


class _Output:
    """A container's standard output, out of the frames in which Docker sends it beside the standard error.

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


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        gate = _open.get(self.host)
        if gate is None:
            raise ConnectionRefusedError
        self.sock = gate.connect(self.timeout)


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        through = (req.host or "").partition(":")[0].endswith(SUFFIX)
        return self.do_open(_Connection if through else http.client.HTTPConnection, req)


def install() -> None:
    """Let `urllib` find functions by the names of their gates; MiniStack calls them with it."""
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({}), _Handler))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all gates, in a thread of its own: functions are called from threads that wait."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="gates", daemon=True).start()
    return loop
