"""The proxy of a local run: endpoints end in the local cloud, everything else ends here."""

import asyncio
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from local import endpoint
from local.cloud import proxy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a clone of its own."""
    for module in (endpoint, proxy):
        monkeypatch.setattr(module, "FOLDER", tmp_path / "endpoint")
    return tmp_path / "endpoint"


def behind_the_proxy(act: Callable[[], object]) -> object:
    """What a client gets, in a thread, while the proxy stands in front of a cloud that echoes requests."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + head)
        await writer.drain()
        writer.close()

    async def main() -> object:
        cloud = await asyncio.start_server(echo, "127.0.0.1", 0)
        server = await proxy.start(cloud.sockets[0].getsockname()[1])
        try:
            return await asyncio.to_thread(act)
        finally:
            server.close()
            cloud.close()

    return asyncio.run(main())


@pytest.mark.parametrize(
    "host",
    [
        "a1b2c3d4e5.execute-api.us-east-1.amazonaws.com",
        "a1b2c3d4e5.execute-api.cn-north-1.amazonaws.com.cn",
        "abcdef.lambda-url.eu-west-1.on.aws",
    ],
)
def test_an_endpoint_ends_in_the_local_cloud(folder: Path, host: str) -> None:
    def act() -> str:
        with endpoint.opener(folder).open(f"https://{host}/Prod/hello?name=you", timeout=30) as answer:
            return str(answer.read().decode())

    seen = str(behind_the_proxy(act))
    assert seen.startswith("GET /Prod/hello?name=you HTTP/1.1\r\n")
    assert f"Host: {host}\r\n" in seen


@pytest.mark.parametrize(
    "host", ["example.com", "sts.us-east-1.amazonaws.com", "execute-api.us-east-1.amazonaws.com", "x.execute-api.a:22"]
)
def test_every_other_host_is_refused_with_the_way_out(folder: Path, host: str) -> None:
    def act() -> str:
        with pytest.raises(urllib.error.URLError) as refused:
            endpoint.opener(folder).open(f"https://{host}/", timeout=30)
        return str(refused.value)

    said = str(behind_the_proxy(act))
    assert "403" in said
    assert "unset HTTPS_PROXY https_proxy" in said


def test_the_authority_stays_and_only_its_owner_reads_its_key(folder: Path) -> None:
    behind_the_proxy(lambda: None)
    first = (folder / proxy.AUTHORITY).read_bytes()
    behind_the_proxy(lambda: None)
    assert (folder / proxy.AUTHORITY).read_bytes() == first
    assert (folder / proxy.KEY).stat().st_mode & 0o777 == 0o600
    # What was trusted is trusted still.
    assert len(ssl.create_default_context(cafile=str(folder / proxy.BUNDLE)).get_ca_certs()) > 1


def test_the_environment_leads_there_and_a_command_of_the_shell_that_downloads_does_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "HTTPS_PROXY" not in endpoint.variables(None)
    behind_the_proxy(lambda: None)
    variables = endpoint.variables("tcp://build.example.com:2376")
    assert variables["HTTPS_PROXY"] == variables["https_proxy"] == endpoint.address(folder)
    # Neither the local cloud nor Docker is reached through the proxy, whichever spelling a client reads.
    assert {"127.0.0.1", "localhost", "build.example.com"} < set(variables["NO_PROXY"].split(","))
    assert variables["no_proxy"] == variables["NO_PROXY"]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    endpoint.leave()
    assert "https" not in urllib.request.getproxies()
