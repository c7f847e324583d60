"""Access to endpoints by their URLs on AWS, `https://API.execute-api.REGION.amazonaws.com/…`, in a local run.

The local cloud serves a proxy on loopback (`cloud/proxy.py`) with certificates from the certificate authority of this
folder. `variables` makes `curl`, Python, Node and Go use this proxy.
"""

import os
import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from local.workspace import LOCAL

FOLDER = LOCAL / "endpoint"
AUTHORITY, BUNDLE, PORT = "authority.pem", "bundle.pem", "port"
# Some clients read only one spelling.
PROXY = ("HTTPS_PROXY", "https_proxy")
NO_PROXY = ("NO_PROXY", "no_proxy")
CERTIFICATES = ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def variables(docker: str | None) -> dict[str, str]:
    """Environment variables of the local run. They contain the proxy after the first start of the local cloud.

    Args:
        docker: address of the Docker engine, for which the proxy is not used.
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
    """URL of the proxy of a local cloud, read from its folder."""
    return f"http://127.0.0.1:{(folder / PORT).read_text()}"


def opener(folder: Path = FOLDER) -> urllib.request.OpenerDirector:
    """An opener for endpoints of a local cloud, for a process outside of its environment."""
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": address(folder)}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(folder / AUTHORITY))),
    )


def outside(environment: dict[str, str]) -> dict[str, str]:
    """The environment for a command that downloads: with the proxy of this process instead of the local cloud's."""
    return {**environment, **{name: os.environ.get(name, "") for name in PROXY}}


def leave() -> None:
    """Stop using the proxy in this process, so that commands in `make shell` can download."""
    if os.environ.get(CERTIFICATES[0]) == str(FOLDER / BUNDLE):
        for name in PROXY:
            os.environ.pop(name, None)
