"""The web example is called by its own page alone, and builds folders of the project alone."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The service with a `pulumi` that knows no stacks."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "pulumi").write_text("#!/bin/sh\necho '[]'\n")
    (folder / "pulumi").chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    program = shutil.which("hypercorn", path=str(ROOT / ".local" / "venv" / "bin")) or "hypercorn"
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [program, "--bind", f"127.0.0.1:{number}", "examples.web.app:app"]
    with subprocess.Popen(command, cwd=ROOT, env=env) as server:
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not _listens(number):
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield number
        finally:
            server.terminate()


def _listens(number: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", number)) == 0


def call(
    port: int, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        sent = {"Host": f"127.0.0.1:{port}", "Content-Type": "application/json", **(headers or {})}
        connection.request(method, path, json.dumps(body) if body is not None else None, sent)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/api/state", "/api/events", "/docs", "/openapi.json"])
def test_a_rebound_name_reads_nothing(port: int, path: str) -> None:
    assert call(port, "GET", path, headers={"Host": f"evil.example:{port}"})[0] == 400


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://127.0.0.1:1"}],
)  # fmt: skip
def test_another_page_does_and_reads_nothing(port: int, headers: dict[str, str]) -> None:
    assert call(port, "GET", "/api/state", headers=headers)[0] == 403
    assert call(port, "PUT", "/api/functions/hello", {"context": "app"}, headers)[0] == 403
    assert call(port, "DELETE", "/api/functions/hello", headers=headers)[0] == 403


def test_its_own_page_is_answered(port: int) -> None:
    own = {"Origin": f"http://127.0.0.1:{port}", "Sec-Fetch-Site": "same-origin"}
    assert call(port, "GET", "/", headers=own)[0] == 200
    assert call(port, "GET", "/api/state", headers={"Host": f"localhost:{port}"})[0] == 200


@pytest.mark.parametrize(
    "context", ["../elsewhere", "/etc", ".", "", "app/../..", ".local", ".local/aws", "app/../.git", "~\0"]
)
def test_a_folder_outside_of_the_project_is_refused(port: int, context: str) -> None:
    status, body = call(port, "PUT", "/api/functions/hello", {"context": context})
    assert status == 422
    assert b"folder of the project" in body or "\0" in context


def test_a_folder_without_a_dockerfile_is_refused(port: int) -> None:
    status, body = call(port, "PUT", "/api/functions/hello", {"context": "docs"})
    assert status == 422
    assert b"'docs' has no Dockerfile" in body


def test_a_name_that_lambda_refuses_is_refused(port: int) -> None:
    assert call(port, "PUT", "/api/functions/Not%20a%20name", {"context": "app"})[0] == 422


@pytest.mark.parametrize(("method", "path"), [("POST", "/rollback"), ("DELETE", ""), ("GET", "/logs")])
def test_a_function_that_is_not_there_is_refused(port: int, method: str, path: str) -> None:
    status, body = call(port, method, f"/api/functions/nobody{path}")
    assert (status, json.loads(body)) == (404, {"detail": "There is no function nobody."})
