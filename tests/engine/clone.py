"""A clone of this folder, in which tests run both stacks as a user would."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from local import endpoint
from tests.engine.checkout import ROOT, free_port, interrupt_at
from tests.engine.cloud import WithCloud

POLL_SECONDS = 0.05

__all__ = ["ROOT", "Clone", "free_port", "interrupt_at"]


class Clone(WithCloud):
    """A copy of the program with its own local cloud and stacks."""

    def up(self, stack: str) -> dict[str, int]:
        """Run `pulumi up`. Returns the number of resources by operation."""
        done = self.shell(f"pulumi up --yes --skip-preview -s {stack}")
        assert done.returncode == 0, done.stdout
        return self.last_update(stack)

    def last_update(self, stack: str) -> dict[str, int]:
        """The number of changed resources in the last update, refresh or destroy, by operation."""
        shown = self.shell(f"pulumi stack history --json --page-size 1 -s {stack}")
        changes = json.loads(shown.stdout)[0]["resourceChanges"]
        return {kind: count for kind, count in changes.items() if kind != "same" and count}

    def planned(self, stack: str) -> dict[str, str]:
        """Run `pulumi preview`. Returns the operation by type of each resource that would change."""
        shown = self.shell(f"pulumi preview --json -s {stack} 2>/dev/null")
        assert shown.returncode == 0, shown.stdout
        steps = json.loads(shown.stdout)["steps"]
        changes = {step["urn"].split("::")[2].rpartition("$")[2]: step["op"] for step in steps}
        return {kind: operation for kind, operation in changes.items() if operation not in ("same", "read")}

    def output(self, stack: str, name: str) -> str:
        """One output of a stack."""
        return self.shell(f"pulumi stack output {name} -s {stack}").stdout.strip()

    def get(self, headers: dict[str, str] | None = None, stack: str = "consumer") -> tuple[int, dict[str, str]]:
        """GET a stack's endpoint: status and JSON body."""
        return self.get_url(self.output(stack, "endpointUrl"), headers)

    @property
    def opener(self) -> urllib.request.OpenerDirector:
        """An opener for the endpoints of this clone's local cloud."""
        return endpoint.opener(self.root / ".local" / "endpoint")

    @contextmanager
    def asking(self, url: str) -> Iterator[list[int]]:
        """Send a request to a URL every 50 ms within the block. Yields the status of each response."""
        ended, answers = threading.Event(), list[int]()

        def ask() -> None:
            while not ended.wait(POLL_SECONDS):
                try:
                    with self.opener.open(url, timeout=60) as answer:
                        answers.append(answer.status)
                except urllib.error.HTTPError as error:
                    answers.append(error.code)

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            yield answers
        finally:
            ended.set()
            asker.join()

    def get_url(self, url: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
        """GET a URL: status and JSON body."""
        request = urllib.request.Request(url, headers=headers or {})  # noqa: S310
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
