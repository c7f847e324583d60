"""The way from a local run's shell to an endpoint's own URL, `https://API.execute-api.REGION.amazonaws.com/…`.

The local cloud serves a proxy on loopback (`cloud/proxy.py`) that ends TLS with the certificate authority of this
folder. `variables` are what `curl`, Python, Node and Go need to go that way.
"""

import os
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from local.workspace import LOCAL

FOLDER = LOCAL / "endpoint"
AUTHORITY, BUNDLE, PORT = "authority.pem", "bundle.pem", "port"
# Clients read one spelling or the other, and some the small one first.
PROXY = ("HTTPS_PROXY", "https_proxy")
NO_PROXY = ("NO_PROXY", "no_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def variables(docker: str | None) -> dict[str, str]:
    """Environment variables of the local run; without the proxy before the local cloud has run once.

    Args:
        docker: address of the Docker engine, which is never reached through the proxy.
    """
    engine = urlsplit(docker or "").hostname
    hosts = (*LOOPBACK, *([engine] if engine else []))
    direct = dict.fromkeys(NO_PROXY, ",".join(hosts))
    if not (FOLDER / PORT).exists():
        return direct
    return {
        **direct,
        **dict.fromkeys(PROXY, address(FOLDER)),
        **dict.fromkeys(CERTIFICATES, str(FOLDER / BUNDLE)),
        "NODE_EXTRA_CA_CERTS": str(FOLDER / AUTHORITY),
    }


def address(folder: Path) -> str:
    """URL of the proxy that a local cloud serves, from that cloud's folder."""
    return f"http://127.0.0.1:{(folder / PORT).read_text()}"


def opener(folder: Path = FOLDER) -> urllib.request.OpenerDirector:
    """Opens endpoints of a local cloud from a process outside of its environment."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": address(folder)}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(folder / AUTHORITY))),
    )


def outside(environment: dict[str, str]) -> dict[str, str]:
    """The same environment for a command that downloads: with the proxy of this process, if it has one."""
    return {**environment, **{name: os.environ.get(name, "") for name in PROXY}}


def leave() -> None:
    """Take this process off the proxy: commands that are run in `make shell` download what they need."""
    if os.environ.get(CERTIFICATES[0]) == str(FOLDER / BUNDLE):
        for name in PROXY:
            os.environ.pop(name, None)
