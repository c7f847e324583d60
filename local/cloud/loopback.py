"""Keeps the process of the local cloud on loopback.

Other machines must not access it. It calls none either, whatever a resource of a user names: an issuer of tokens, a
subscriber, the address of an integration.
"""

import ipaddress
import logging
import socket
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

log = logging.getLogger("local.cloud.loopback")

BIND = "socket.bind"
CALLS = ("socket.connect", "socket.sendto")
# A name may be looked up at another machine.
NAMES = ("socket.getaddrinfo", "socket.gethostbyname")
# Host of a Docker engine that listens on TCP, as a name and by its addresses.
_engine: set[str] = set()


class NotLoopback(OSError):
    """Raised if a socket would be bound to, or call, an address that is not loopback."""


def allow_engine(address: str) -> None:
    """Allow calls of the Docker engine at an address, such as `DOCKER_HOST`. Before the hook is added."""
    if host := urlsplit(address).hostname:
        _engine.add(host)
        with suppress(OSError):
            _engine.update(str(found[4][0]) for found in socket.getaddrinfo(host, None))


def stay_on_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook that allows sockets of this process on loopback and to the engine only, whatever is configured.

    Raises:
        NotLoopback: the address is not loopback.
    """
    if event in NAMES:
        host = arguments[0]
    elif event in (BIND, *CALLS) and isinstance(arguments[1], tuple):  # else a file
        host = arguments[1][0]
    else:
        return
    host = host.decode("latin-1") if isinstance(host, bytes) else str(host or "")
    if event == BIND and not _is_loopback(host):
        raise NotLoopback(
            f"The local cloud listens on loopback only, and {host or 'every address'} is not loopback. "
            "Unset BIND_HOST, or set it to 127.0.0.1."
        )
    if host and not _is_loopback(host) and host not in _engine:
        problem = f"The local cloud calls loopback and the Docker engine only, not {host}."
        log.warning(problem)  # who calls may hide the error
        raise NotLoopback(problem)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
