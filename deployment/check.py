"""Check the response of an endpoint."""

import math
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

Accepts = Callable[[int, bytes], bool]

# How often a check looks whether it should stop.
POLL_SECONDS = 0.05


def is_success(status: int, body: bytes) -> bool:
    """Whether a status is 2xx."""
    return 200 <= status < 300


@dataclass(frozen=True, kw_only=True)
class Check:
    """GET requests to a stack's `endpointUrl` after an update.

    Attributes:
        accepts: whether status and body are correct. Default: any 2xx.
        answers: how many correct responses in a row are required. Default 1; more if a new image gets a share of calls.
        seconds: how long to retry. Default 60.
        interval: seconds between two requests. Default 0.5.
        headers: headers of the requests, such as `x-api-key`.
    """

    accepts: Accepts = is_success
    answers: int = 1
    seconds: float = 60
    interval: float = 0.5
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    def problem(
        self,
        url: str,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[str, float], None] = lambda answer, left: None,
    ) -> str:
        """Send requests until enough responses are correct or the time is over.

        Args:
            url: the URL to GET.
            stop: ends the check when it returns True, even during a request.
            tell: called with the last response, empty at first, and the seconds that are left.

        Returns: what is wrong with the last response; empty if the check passed.
        """
        end = time.monotonic() + self.seconds
        well, problem = 0, ""
        tell("", self.seconds)
        while True:
            asked = Future[tuple[str, bool]]()
            # A daemon, because an endpoint may answer long after the check was stopped.
            threading.Thread(target=self._fulfil, args=(asked, url, end), daemon=True).start()
            if _is_stopped(asked, math.inf, stop):
                return problem or "no answer: the check was stopped"
            answer, good = asked.result()
            # A request that is cut off by the end of the check says less than the answer before it.
            if good or not problem or time.monotonic() < end:
                problem = "" if good else answer
            tell(answer, max(end - time.monotonic(), 0))
            well = well + 1 if good else 0
            if well >= self.answers:
                return ""
            if _is_stopped(Future(), time.monotonic() + self.interval, stop) or time.monotonic() > end:
                return problem or f"only {well} good answers in a row"

    def _fulfil(self, asked: Future[tuple[str, bool]], url: str, end: float) -> None:
        try:
            asked.set_result(self._ask(url, max(end - time.monotonic(), 1)))
        except Exception as error:
            asked.set_exception(error)

    def _ask(self, url: str, seconds: float) -> tuple[str, bool]:
        """The response as text, and whether it is correct. The text of a correct response is its status."""
        request = urllib.request.Request(url, headers=dict(self.headers))  # noqa: S310  # a stack's own output
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:  # noqa: S310
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        except (OSError, HTTPException) as error:
            return f"no answer: {error}", False
        if self.accepts(status, body):
            return str(status), True
        return f"{status} {body[:200].decode(errors='replace')}", False


def _is_stopped(future: Future[Any], until: float, stop: Callable[[], bool]) -> bool:
    """Wait for a result or a time. Returns whether the check is stopped before."""
    while not wait([future], min(POLL_SECONDS, max(until - time.monotonic(), 0))).done:
        if stop():
            return True
        if time.monotonic() >= until:
            return False
    return False
