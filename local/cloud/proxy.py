"""An HTTPS proxy on loopback that forwards only to API endpoints, domain names and function URLs of the local cloud.

For `CONNECT API.execute-api.REGION.amazonaws.com:443`, the proxy uses a certificate for this host from the certificate
authority of this clone (`local/endpoint.py`), and forwards the request with its `Host` header to the local cloud.
"""

import asyncio
import contextlib
import os
import re
import ssl
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import certifi
import trustme

from local.cloud import domains
from local.endpoint import AUTHORITY, BUNDLE, CERTIFICATES, FOLDER, PORT, PROXY

# https://docs.aws.amazon.com/apigateway/latest/developerguide/how-to-call-api.html
# https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html
CONNECT = re.compile(r"CONNECT ([a-z0-9.-]+):443 HTTP/1\.[01]\r\n")
ENDPOINT = re.compile(r"[a-z0-9-]+\.(execute-api|lambda-url)\.[a-z0-9.-]+")
SECONDS = 30
# Errors when a client closes a connection.
ENDED = (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError)
CERTIFICATE_HOSTS = 256
Contexts = Callable[[str], ssl.SSLContext]
KEY = "authority.key"
SYSTEM_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")


async def start(cloud: int) -> asyncio.Server:
    """Serve the proxy, if possible on its previous port.

    Args:
        cloud: port of the local cloud.
    """
    authority = _authority()
    _write_bundle(authority)
    serve = partial(_serve, cloud=cloud, context=lru_cache(CERTIFICATE_HOSTS)(partial(_context, authority)))
    file = FOLDER / PORT
    try:
        server = await asyncio.start_server(serve, "127.0.0.1", int(file.read_text()) if file.exists() else 0)
    except OSError:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
    file.write_text(str(server.sockets[0].getsockname()[1]))
    return server


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cloud: int, context: Contexts) -> None:
    with contextlib.suppress(*ENDED):
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SECONDS)).decode("latin-1")
        match = CONNECT.match(head)
        if match is None or not (ENDPOINT.fullmatch(match[1]) or domains.exists(match[1])):
            writer.write(_refusal(head))
            await writer.drain()
        else:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await writer.start_tls(context(match[1]), ssl_handshake_timeout=SECONDS)
            there, back = await asyncio.open_connection("127.0.0.1", cloud)
            await asyncio.gather(_copy(reader, back), _copy(there, writer))
    writer.close()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(65_536):
            sink.write(data)
            await sink.drain()
    finally:
        # Close both directions together: HTTP/1.1 has no half-closed connections.
        sink.close()


def _refusal(head: str) -> bytes:
    method, target, *_ = f"{head.splitlines()[0]} ? ?".split(" ")
    host = target if method == "CONNECT" else "this request"
    reason = (
        f"{host} is outside of the local run. Its proxy forwards only to its own endpoints. To access the internet in "
        f"this shell: unset {' '.join(PROXY)}"
    )
    # Python, pip, Go and wget show the reason.
    lines = [f"HTTP/1.1 403 {reason}", "Content-Type: text/plain", f"Content-Length: {len(reason)}", "", reason]
    return "\r\n".join(lines).encode()


def _authority() -> trustme.CA:
    """The certificate authority of this clone. Its key is secret, because it could sign certificates for any host."""
    certificate, key = FOLDER / AUTHORITY, FOLDER / KEY
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    if certificate.exists() and key.exists():
        return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
    authority = trustme.CA(organization_name="local cloud", organization_unit_name=str(FOLDER.parent.parent))
    key.unlink(missing_ok=True)
    with open(key, "wb", opener=lambda path, flags: os.open(path, flags | os.O_EXCL, 0o600)) as file:
        file.write(authority.private_key_pem.bytes())
    authority.cert_pem.write_to_path(str(certificate))
    return authority


def _write_bundle(authority: trustme.CA) -> None:
    """Write the user's trusted certificates and the authority's. `SSL_CERT_FILE` replaces the defaults."""
    given = os.environ.get(CERTIFICATES[0], "")
    files = [Path(given), *map(Path, SYSTEM_CERTIFICATES), Path(certifi.where())]
    trusted = next(file for file in files if file.is_file() and file != FOLDER / BUNDLE)
    (FOLDER / BUNDLE).write_bytes(trusted.read_bytes() + b"\n" + authority.cert_pem.bytes())


def _context(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context
