"""The web example is called by its own page alone, builds folders of the project alone, and says so in sentences."""

import http.client
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployment import Progress, errors
from local.cloud import listens
from tests.engine.checkout import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The service with a `pulumi` that knows no stacks."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "pulumi").write_text("#!/bin/sh\necho '[]'\n")
    (folder / "pulumi").chmod(0o755)
    number = free_port()
    program = shutil.which("hypercorn", path=str(ROOT / ".local" / "venv" / "bin")) or "hypercorn"
    env = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [program, "--bind", f"127.0.0.1:{number}", "examples.web.app:app"]
    with subprocess.Popen(command, cwd=ROOT, env=env) as server:
        try:
            until(lambda: listens(number))
            yield number
        finally:
            server.terminate()


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


# ---- what the page says

PAGE = ROOT / "examples" / "web"


def in_page(function: str, argument: Any) -> Any:
    """Call one of the script's functions that put something in words, with the labels and hints of the page."""
    if (node := shutil.which("node")) is None:
        pytest.skip("needs node")
    markup = (PAGE / "index.html").read_text()
    fields = {
        name: {"id": name, "labels": [{"textContent": label}]}
        for name, label in re.findall(r'<label for="(\w+)">([^<]+)</label>', markup)
    }
    hints = {name: {"textContent": text} for name, text in re.findall(r'<p id="(\w+-hint)"[^>]*>([^<]+)</p>', markup)}
    words = (PAGE / "page.js").read_text().partition("// Calls of the service")[0]
    script = (
        f"const elements = {json.dumps(fields | hints)}; const document = {{getElementById: (id) => elements[id]}};"
        f"{words}; console.log(JSON.stringify({function}({json.dumps(argument)})));"
    )
    ran = subprocess.run([node, "-"], input=script, capture_output=True, text=True, check=True, timeout=30)
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("hello", {"memory": 64}, ["Memory: 128 to 10240 MB."]),
        ("Hello", {}, ["Name: Lowercase letters, digits and hyphens, a letter first, at most 41."]),
        ("hello", {"context": "docs"}, ["Folder: 'docs' has no Dockerfile; "]),
        ("Hello", {"memory": 64}, ["Name: Lower", "Memory: 128 to 10240 MB."]),
    ],
    ids=["memory", "name", "folder", "both"],
)
def test_what_is_refused_is_a_sentence_for_each_field(
    port: int, name: str, wanted: dict[str, Any], expected: list[str]
) -> None:
    status, body = call(port, "PUT", f"/api/functions/{name}", {"context": "app", **wanted})
    assert status == 422
    said = in_page("sentences", json.loads(body)["detail"])
    assert [sentence for sentence in expected if sentence not in said] == []
    assert said.endswith(".")


def test_of_a_build_the_last_line_is_the_failing_one_and_the_error_is_preformatted() -> None:
    urn = "urn:pulumi:function-hello::p::docker:index/image:Image::image"
    step = "digest: sha256:2\n[3/4] RUN make"
    texts = [step, "cc main.c", "make: *** No rule to make target 'all'.", f"{step}\nerror: exit code: 2"]
    seen = [Progress(stack="function-hello", urn=urn, text=text) for text in texts]
    error = errors.build_failure("error reading build output", urn, seen)
    assert in_page("failingLine", error) == "make: *** No rule to make target 'all'."
    assert in_page("failingLine", "one\ntwo") == "one"
    assert '<pre data-slot="error"' in (PAGE / "index.html").read_text()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(5, "just now"), (130, "2 min ago"), (7_300, "2 h ago"), (180_000, "2 d ago")],
)
def test_an_age_is_in_the_unit_that_a_person_uses(seconds: int, expected: str) -> None:
    assert in_page("ago", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - seconds))) == expected


def test_the_page_is_one_small_file_of_markup_and_one_of_script() -> None:
    sizes = {file.name: file.stat().st_size for file in PAGE.iterdir() if file.suffix in (".html", ".js", ".css")}
    assert set(sizes) == {"index.html", "page.js"}
    assert max(sizes.values()) <= 12_000
