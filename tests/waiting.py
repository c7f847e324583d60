"""Waits for conditions."""

import time
from collections.abc import Callable

SECONDS = 300


def until(condition: Callable[[], object]) -> None:
    """Wait until a condition is true. Fails after five minutes, so that a slow machine is not a failure."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited for {SECONDS} s"
        time.sleep(0.05)
