"""The process of the local cloud neither listens nor calls beyond loopback."""

from typing import Any

import pytest

from local.cloud import loopback
from local.cloud.loopback import NotLoopback, allow_engine, stay_on_loopback


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
        ("socket.bind", (None, ("::", 1, 0, 0)), "listens on loopback only"),
        ("socket.bind", (None, ("", 1)), "every address"),
        ("socket.connect", (None, ("192.0.2.1", 443)), "calls loopback and the Docker engine only, not 192.0.2.1"),
        ("socket.connect", (None, ("0.0.0.0", 443)), "calls loopback and the Docker engine only"),  # noqa: S104
        ("socket.sendto", (None, ("192.0.2.1", 53)), "calls loopback and the Docker engine only"),
        ("socket.getaddrinfo", ("issuer.example", 443, 0, 0, 0), "not issuer.example"),
        ("socket.gethostbyname", (b"issuer.example",), "issuer.example"),
    ],
)
def test_other_addresses_and_names_are_refused(event: str, arguments: tuple[Any, ...], said: str) -> None:
    with pytest.raises(NotLoopback, match=said):
        stay_on_loopback(event, arguments)


def test_the_docker_engine_of_an_address_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "_engine", set())
    monkeypatch.setattr("socket.getaddrinfo", lambda *_: [(2, 1, 6, "", ("192.0.2.7", 0))])
    for address in ("", "unix:///run/docker.sock", "tcp://engine.example:2375"):
        allow_engine(address)
    stay_on_loopback("socket.getaddrinfo", ("engine.example", 2375, 0, 0, 0))
    stay_on_loopback("socket.connect", (None, ("192.0.2.7", 2375)))
    with pytest.raises(NotLoopback):
        stay_on_loopback("socket.bind", (None, ("192.0.2.7", 2375)))
    with pytest.raises(NotLoopback):
        stay_on_loopback("socket.connect", (None, ("192.0.2.8", 2375)))
