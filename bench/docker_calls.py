"""A Docker endpoint that forwards to the engine, and counts builds and pushes."""

import re
import socket
import tempfile
import threading
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

# A build with BuildKit opens one or more sessions; the classic builder makes one call.
CALLS = {
    "build": re.compile(rb"POST (?:/v[\d.]+)?/(?:session|build)[? ]"),
    "push": re.compile(rb"POST (?:/v[\d.]+)?/images/\S+/push[? ]"),
}
CHUNK_BYTES = 1 << 16


class DockerCalls:
    """A proxy socket in front of an engine.

    Args:
        engine: the engine's address, as in DOCKER_HOST.

    Attributes:
        host: the proxy's address, for DOCKER_HOST.
        counted: number of calls of the builder (`build`, one or more for each build) and of pushes (`push`).
    """

    def __init__(self, engine: str) -> None:
        self._engine = urlsplit(engine)
        self._folder = tempfile.TemporaryDirectory(prefix="docker-")
        path = Path(self._folder.name, "docker.sock")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.host = f"unix://{path}"
        self.counted: Counter[str] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Stop accepting connections."""
        self._listener.close()
        self._folder.cleanup()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            engine = self._connect()
            threading.Thread(target=self._pass_on, args=(client, engine, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(engine, client, False), daemon=True).start()

    def _connect(self) -> socket.socket:
        if self._engine.scheme == "unix":
            engine = socket.socket(socket.AF_UNIX)
            engine.connect(self._engine.path)
            return engine
        return socket.create_connection((self._engine.hostname or "", self._engine.port or 2375))

    def _pass_on(self, source: socket.socket, target: socket.socket, count: bool) -> None:
        try:
            while data := source.recv(CHUNK_BYTES):
                if count:
                    self.counted.update({name: len(call.findall(data)) for name, call in CALLS.items()})
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            # The other side has closed the connection.
            source.close()
            target.close()
