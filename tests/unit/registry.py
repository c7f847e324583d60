"""A registry on loopback with one image, which answers as ECR does."""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from components.image.manifest import RepositoryReader
from tests.unit.recorder import DIGEST

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PATH = "/v2/team/orders"
TAGGED = f"{PATH}/manifests/v1"
BLOB = f"{PATH}/blobs/{DIGEST}"
STORAGE = "/storage"


class Registry(ThreadingHTTPServer):
    """The registry.

    Attributes:
        refusals: statuses of the next answers, before an image is given.
        kind: media type of the image. Who does not accept it gets a manifest of the first version, as from Docker Hub.
        image: the manifest, of the tag `v1`.
        config: the image's configuration, to which the registry redirects.
        answers: path → status, headers, body (JSON, unless bytes), in place of all that.
        asked: path and headers of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusals: list[int] = []
        self.kind = MANIFEST
        self.image: dict[str, Any] = {"schemaVersion": 2, "config": {"digest": DIGEST}, "layers": [{"size": 1}]}
        self.config: dict[str, Any] = {"os": "linux", "architecture": "amd64"}
        self.answers: dict[str, tuple[int, dict[str, str], Any]] = {}
        self.asked: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"localhost:{self.server_port}/team/orders"

    @property
    def reader(self) -> RepositoryReader:
        return RepositoryReader(url=self.url, username="AWS", password="the-token")

    def answer(self, path: str, headers: Any) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body."""
        if path in self.answers:
            return self.answers[path]
        if path == STORAGE:
            return 200, {}, self.config
        login = (headers.get("Authorization") or "").removeprefix("Basic ")
        if base64.b64decode(login) != b"AWS:the-token":
            return 401, {}, {"errors": [{"message": "no credentials"}]}
        if self.refusals:
            return self.refusals.pop(0), {}, {"errors": [{"message": "not authorized: ecr:BatchGetImage"}]}
        if path == BLOB:
            return 307, {"Location": f"http://127.0.0.1:{self.server_port}{STORAGE}"}, ""
        if path not in (TAGGED, f"{PATH}/manifests/{DIGEST}"):
            return 404, {}, {}
        accepted = {kind.strip() for kind in headers.get("Accept", "").split(",")}
        return 200, {}, self.image if self.kind in accepted else {"schemaVersion": 1}


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:  # the handler's own name
        self.server.asked.append((self.path, self.headers))
        status, headers, body = self.server.answer(self.path, self.headers)
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Not to the terminal."""


@contextmanager
def serving() -> Iterator[Registry]:
    """A registry while the block lasts."""
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
