"""A proxy in front of the Docker engine. It can close all connections while the engine itself keeps running."""

import base64
import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path


class DockerProxy:
    """Forwards bytes between a socket and the Docker engine until `cut` is called.

    Args:
        path: path of the socket.
        cut_at: text in the engine's output at which the proxy closes all connections.
    """

    def __init__(self, path: Path, cut_at: bytes) -> None:
        self.host = f"unix://{path}"
        self.was_cut = threading.Event()
        self._cut_at = _forms(cut_at)
        self._sockets: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close all connections and accept no new one."""
        self.was_cut.set()
        for one in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.was_cut.is_set():
                client, _ = self._listener.accept()
                engine = socket.socket(socket.AF_UNIX)
                engine.connect(os.environ["DOCKER_HOST"].removeprefix("unix://"))
                self._sockets += [client, engine]
                if self.was_cut.is_set():
                    self.cut()
                threading.Thread(target=self._pass_on, args=(client, engine, ()), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(engine, client, self._cut_at), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, cut_at: tuple[bytes, ...]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if any(form in data for form in cut_at):
                    self.cut()
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def _forms(text: bytes) -> tuple[bytes, ...]:
    """The encodings of a text in the engine's output: plain, or base64, which BuildKit uses for its progress."""
    forms = [text]
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + text)
        # Without the characters that depend on the surrounding text.
        forms.append(encoded[(before * 4 + 2) // 3 : (before + len(text)) // 3 * 4])
    return tuple(forms)


@contextlib.contextmanager
def docker_proxy(folder: Path, cut_at: bytes) -> Iterator[DockerProxy]:
    """Run a proxy in front of the engine in DOCKER_HOST within the block."""
    proxy = DockerProxy(folder / "docker.sock", cut_at)
    try:
        yield proxy
    finally:
        proxy.cut()
