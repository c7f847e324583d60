"""What the local run opens on this machine, tested from a page of another origin and by inspection."""

import json
import os
import re
import signal
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import boto3
import pytest
from selenium import webdriver

from tests.engine.clone import Clone

NAME = "cross-account-function"
# Returns what the page can read of each response, and sends each request again as a form does.
SCRIPT = """
const [requests, done] = arguments;
Promise.all(requests.map(async ([method, url, body]) => {
  const request = {method, body: body || undefined, headers: body ? {"content-type": "text/plain"} : {}};
  await fetch(url, {...request, mode: "no-cors"}).catch(() => null);
  return fetch(url, request).then((answer) => answer.text(), () => null);
})).then(done);
"""


class Page(BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>another origin</title>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def elsewhere(browser: webdriver.Chrome) -> Iterator[webdriver.Chrome]:
    """A browser on a page of another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.get(f"http://localhost:{server.server_port}/")
        yield browser
        server.shutdown()


def test_a_page_of_another_origin_changes_and_reads_nothing(deployed: Clone, elsewhere: webdriver.Chrome) -> None:
    address = f"http://127.0.0.1:{deployed.port}"
    # Correctly signed, but still denied for a page.
    presigned = deployed.client("consumer", "sts").generate_presigned_url("get_caller_identity")
    listed = deployed.client("consumer", "lambda").generate_presigned_url("list_functions")
    requests = [
        ["POST", f"{address}/_ministack/config", json.dumps({"lambda_svc.LAMBDA_EXECUTOR": "local"})],
        ["POST", f"{address}/_ministack/reset", ""],
        ["POST", f"{address}/_local/faults", json.dumps({"status": 500, "times": 99})],
        ["POST", f"{address}/_local/functions/222222222222/{NAME}/age", ""],
        ["GET", f"{address}/_ministack/health", ""],
        ["GET", presigned, ""],
        ["GET", listed, ""],
    ]
    file = deployed.root / ".local" / "logs" / "cloud.log"
    before = len(file.read_text())
    assert elsewhere.execute_async_script(SCRIPT, requests) == [None] * len(requests)
    log = file.read_text()[before:]
    calls = [line for line in log.splitlines() if "/_ministack/" in line or "/_local/f" in line]
    assert calls
    assert all(line.endswith(" 403") for line in calls)
    assert "ignature=" not in log
    assert deployed.client("consumer", "lambda").get_function(FunctionName=NAME)["Configuration"]["State"] == "Active"
    assert deployed.get() == (200, {"message": "hello world!"})


def newest_container(clone: Clone) -> dict[str, Any]:
    """The output of `docker inspect` for the newest container of the function."""
    assert clone.get()[0] == 200
    labels = (f"ministack.instance=cross-account-ecr:{clone.port}", "ministack=lambda")
    names = clone.docker("ps", "-q", *(f"--filter=label={label}" for label in labels)).stdout.split()
    inspected = json.loads(clone.docker("inspect", *names).stdout)
    return next(one for one in inspected if f"AWS_LAMBDA_FUNCTION_NAME={NAME}" in one["Config"]["Env"])


def test_a_functions_container_has_no_more_than_a_function(deployed: Clone) -> None:
    memory = deployed.client("consumer", "lambda").get_function_configuration(FunctionName=NAME)["MemorySize"]
    container = newest_container(deployed)
    given = container["HostConfig"]
    assert given["Memory"] == given["MemorySwap"] == memory * 1024**2
    assert (given["PidsLimit"], given["CapDrop"], given["SecurityOpt"]) == (1024, ["ALL"], ["no-new-privileges"])
    assert not given["Privileged"]
    assert not given["Binds"]
    assert not container["Mounts"]
    assert not given["ExtraHosts"]
    assert not given["PortBindings"]
    assert not container["NetworkSettings"]["Networks"]


def test_a_function_writes_to_its_storage_only_and_has_no_rights(deployed: Clone) -> None:
    # https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#images-reqs
    script = """
import os
for file in ("/tmp/new", "/var/task/new", "/dev/shm/new", "/new"):
    try:
        open(file, "w").close()
        print(file)
    except OSError as error:
        print(type(error).__name__, error.errno)
storage = os.statvfs("/tmp")
print(os.getuid(), storage.f_blocks * storage.f_frsize // 1024**2)
"""
    container = newest_container(deployed)
    ran = deployed.docker("exec", container["Id"], "python3", "-c", script)
    storage, task, shared_memory, root, user = ran.stdout.splitlines()
    assert storage == "/tmp/new"  # noqa: S108  # the function's
    assert (task, shared_memory, root) == ("OSError 30", "FileNotFoundError 2", "OSError 30")
    assert user == "993 512"


def test_a_function_reaches_the_local_cloud_and_nothing_else_of_this_machine(deployed: Clone) -> None:
    [bridge] = json.loads(deployed.docker("network", "inspect", "bridge").stdout)
    beyond_loopback = bridge["IPAM"]["Config"][0]["Gateway"]
    presigned = deployed.client("consumer", "lambda").generate_presigned_url("list_functions")
    script = f"""
import os, socket, sys, urllib.request
for host in sys.argv[2:]:
    try:
        socket.create_connection((host, int(sys.argv[1])), 5)
        print("reached", host)
    except OSError as error:
        print(type(error).__name__)
print(os.environ["AWS_ENDPOINT_URL"], urllib.request.urlopen({presigned!r}).status)
"""
    with socket.create_server((beyond_loopback, 0)) as listener:
        port = listener.getsockname()[1]
        socket.create_connection((beyond_loopback, port), 5).close()
        container = newest_container(deployed)
        command = ["python3", "-c", script, str(port), beyond_loopback, "127.0.0.1"]
        ran = deployed.docker("exec", container["Id"], *command)
        expected = ["OSError", "ConnectionRefusedError", f"http://127.0.0.1:{deployed.port} 200"]
        assert ran.stdout.splitlines() == expected, ran.stderr
        given = dict(variable.split("=", 1) for variable in container["Config"]["Env"])
        sts = boto3.client(
            "sts", region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{deployed.port}",
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"], aws_session_token=given["AWS_SESSION_TOKEN"],
        )  # fmt: skip
        assert re.search(rf":assumed-role/.+/{NAME}$", sts.get_caller_identity()["Arn"])


def test_secrets_are_the_owners_alone(deployed: Clone) -> None:
    folder = deployed.root / ".local"
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("run/secret", "aws/credentials", "passphrase"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    environment = deployed.shell("env").stdout
    assert (folder / "passphrase").read_text() not in environment
    assert deployed.secret not in environment


def test_down_ends_a_cloud_that_does_not_answer(empty: Clone) -> None:
    record = json.loads((empty.root / ".local" / "run" / "cloud.json").read_text())
    os.kill(record["pid"], signal.SIGSTOP)
    ran = empty.make("down")
    assert "Traceback" not in ran.stdout
    assert empty.processes() == []
