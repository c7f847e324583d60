"""What a registry says of an image, before Lambda is asked."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from components.errors import ImageUnusable, RegistryUnusable
from components.image import manifest
from components.image.manifest import RepositoryReader, require_architecture, require_runnable, require_single
from tests.unit.recorder import DIGEST

SINGLE: dict[str, Any] = {"schemaVersion": 2, "config": {"digest": DIGEST}, "layers": [{"size": 1}]}
CONFIG = {"os": "linux", "architecture": "amd64"}


class Answers(ThreadingHTTPServer):
    """A registry on loopback that gives fixed answers and remembers what it was asked with.

    Attributes:
        answers: path → status, headers, body (JSON, unless bytes); a list is given one by one, the last for ever.
        asked: path and headers of every request.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: dict[str, list[tuple[int, dict[str, str], Any]]] = {}
        self.asked: list[tuple[str, Any]] = []

    @property
    def reader(self) -> RepositoryReader:
        return RepositoryReader(url=f"localhost:{self.server_port}/hello", username="AWS", password="the-token")


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:  # the handler's own name
        self.server.asked.append((self.path, self.headers))
        answers = self.server.answers[self.path]
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Not to the terminal."""


@pytest.fixture
def registry() -> Iterator[Answers]:
    server = Answers()
    server.answers = {
        "/v2/hello/manifests/v1": [(200, {}, SINGLE)],
        f"/v2/hello/blobs/{DIGEST}": [(307, {"Location": f"http://127.0.0.1:{server.server_port}/storage"}, "")],
        "/storage": [(200, {}, CONFIG)],
    }
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user is told, without waiting in between."""
    lines: list[str] = []
    for level in ("info", "warn"):
        monkeypatch.setattr(manifest.pulumi.log, level, lines.append)
    monkeypatch.setattr(manifest, "WAIT_SECONDS", (0, 0))
    return lines


def check(registry: Answers, architecture: str = "x86_64", *, missing: bool = False) -> None:
    asyncio.run(require_runnable(registry.reader, "v1", architecture, missing=missing))


def test_an_image_that_lambda_takes_passes(registry: Answers, said: list[str]) -> None:
    check(registry)
    assert said == []


def test_the_login_is_not_sent_on_to_where_layers_are_stored(registry: Answers, said: list[str]) -> None:
    check(registry)
    sent = {path: headers.get("Authorization") for path, headers in registry.asked}
    assert base64.b64decode(sent["/v2/hello/manifests/v1"].removeprefix("Basic ")) == b"AWS:the-token"
    assert sent["/storage"] is None


def test_a_refused_pull_is_asked_again_for_policies_take_seconds(registry: Answers, said: list[str]) -> None:
    registry.answers["/v2/hello/manifests/v1"].insert(0, (403, {}, {}))
    check(registry)
    assert len(said) == 1
    assert "asking again in 0 s" in said[0]


def test_a_pull_refused_for_long_names_both_policies(registry: Answers, said: list[str]) -> None:
    refusal = {"errors": [{"code": "DENIED", "message": "not authorized to perform: ecr:BatchGetImage"}]}
    registry.answers["/v2/hello/manifests/v1"] = [(403, {}, refusal)]
    with pytest.raises(RegistryUnusable, match=r"ecr:BatchGetImage.*repository's.*deployerPolicies") as refused:
        check(registry)
    assert len(registry.asked) == 3
    assert "the-token" not in str(refused.value)


def test_a_missing_image_is_refused_unless_it_is_about_to_be_built(registry: Answers, said: list[str]) -> None:
    registry.answers["/v2/hello/manifests/v1"] = [(404, {}, {})]
    check(registry, missing=True)
    with pytest.raises(ImageUnusable, match="There is no image v1"):
        check(registry)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_cannot_answer_stops_nobody(registry: Answers, said: list[str], status: int) -> None:
    registry.answers["/v2/hello/manifests/v1"] = [(status, {}, {})]
    check(registry)
    assert "Lambda will tell" in said[0]


PAGE = b"<!DOCTYPE html><title>Sign in to the network</title>"
CUT = {"Content-Length": "9999"}


@pytest.mark.parametrize("path", ["/v2/hello/manifests/v1", "/storage"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, PAGE),
        ({}, b""),
        ({}, b"\xff\xfe"),
        (CUT, b'{"schemaVersion": 2, "con'),
        ({}, []),
        ({}, {"error": "down"}),
        ({}, {"schemaVersion": 2, "config": {}, "layers": [{}]}),
        ({}, {"schemaVersion": 2, "config": None, "layers": 5}),
    ],
    ids=[
        "a proxy's page",
        "nothing",
        "no text",
        "cut off",
        "a list",
        "another object",
        "half a manifest",
        "other types",
    ],
)
def test_an_answer_that_is_not_the_registrys_is_a_warning(
    registry: Answers, said: list[str], path: str, headers: dict[str, str], body: Any
) -> None:
    registry.answers[path] = [(200, headers, body)]
    check(registry)
    assert len(said) == 1
    assert "Lambda will tell" in said[0]


@pytest.mark.parametrize("status", [401, 403])
def test_a_preview_that_may_not_pull_says_so_once_and_goes_on(
    registry: Answers, said: list[str], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest.pulumi.runtime, "is_dry_run", lambda: True)
    registry.answers["/v2/hello/manifests/v1"] = [(status, {}, {"errors": [{"message": "no ecr:BatchGetImage"}]})]
    check(registry)
    assert len(registry.asked) == len(said) == 1
    assert "may not be pulled from here (no ecr:BatchGetImage)" in said[0]


def test_a_preview_that_may_read_the_manifest_alone_names_what_is_refused(
    registry: Answers, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest.pulumi.runtime, "is_dry_run", lambda: True)
    refusal = {"errors": [{"message": "no ecr:GetDownloadUrlForLayer"}]}
    registry.answers["/v2/hello/manifests/v1"] = [(200, {}, SINGLE)]
    registry.answers[f"/v2/hello/blobs/{SINGLE['config']['digest']}"] = [(403, {}, refusal)]
    check(registry)
    assert len(said) == 1
    assert "may not be pulled from here (no ecr:GetDownloadUrlForLayer)" in said[0]


def test_an_index_is_refused_with_the_way_to_push_one_image() -> None:
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
    with pytest.raises(ImageUnusable, match=r"no single image \(application/vnd.oci.image.index.*--provenance=false"):
        require_single(json.dumps(index).encode(), "registry/hello", "v1")


def test_an_image_over_ten_gigabytes_is_refused() -> None:
    large = {**SINGLE, "layers": [{"size": 6 * 1024**3}, {"size": 6 * 1024**3}]}
    with pytest.raises(ImageUnusable, match="12.0 GB even packed"):
        require_single(json.dumps(large).encode(), "registry/hello", "v1")


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        ({"os": "linux", "architecture": "arm64"}, "x86_64"),
        ({"os": "linux", "architecture": "amd64"}, "arm64"),
        ({"os": "windows", "architecture": "amd64"}, "x86_64"),
    ],
)
def test_an_image_for_another_processor_or_system_is_refused(config: dict[str, str], architecture: str) -> None:
    with pytest.raises(ImageUnusable, match=f"built for {config['os']}/{config['architecture']}"):
        require_architecture(json.dumps(config).encode(), architecture, "v1")
