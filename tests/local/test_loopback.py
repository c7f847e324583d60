"""The process of the local cloud neither listens nor calls beyond loopback."""

from typing import Any

import pytest

from local.cloud.loopback import NotLoopback, stay_on_loopback


@pytest.mark.parametrize(
    ("event", "arguments"),
    [
        ("socket.bind", (None, ("127.0.0.1", 1))),
        ("socket.connect", (None, ("::1", 1, 0, 0))),
        ("socket.connect", (None, "/run/docker.sock")),
        ("socket.getaddrinfo", ("localhost", 1, 0, 0, 0)),
        ("socket.getaddrinfo", (None, 1, 0, 0, 0)),
        ("open", ("192.0.2.1", "r", 0)),
    ],
)
def test_loopback_and_files_are_allowed(event: str, arguments: tuple[Any, ...]) -> None:
    stay_on_loopback(event, arguments)


@pytest.mark.parametrize(
    ("event", "arguments", "said"),
    [
        ("socket.bind", (None, ("0.0.0.0", 1)), "listens on loopback only"),  # noqa: S104
        ("socket.bind", (None, ("", 1)), "every address"),
        ("socket.connect", (None, ("192.0.2.1", 443)), "calls loopback only, and 192.0.2.1"),
        ("socket.connect", (None, ("0.0.0.0", 443)), "calls loopback only"),  # noqa: S104
        ("socket.sendto", (None, ("192.0.2.1", 53)), "calls loopback only"),
        ("socket.getaddrinfo", ("issuer.example", 443, 0, 0, 0), "calls loopback only, and issuer.example"),
        ("socket.gethostbyname", (b"issuer.example",), "issuer.example"),
    ],
)
def test_other_addresses_and_names_are_refused(event: str, arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(NotLoopback, match=said):
        stay_on_loopback(event, arguments)
