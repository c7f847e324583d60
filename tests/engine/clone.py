"""A clone of this folder, in which tests run both stacks as a user would."""

import json
import shutil
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local import endpoint
from tests.engine.checkout import ROOT, free_port, interrupt_at, tracebacks
from tests.engine.cloud import WithCloud

POLL_SECONDS = 0.05
STACKS = ("registry", "consumer")
PROJECT = "cross-account-ecr"

__all__ = ["ROOT", "Clone", "free_port", "interrupt_at", "tracebacks"]


@dataclass
class Clone(WithCloud):
    """A copy of the program with its own local cloud and stacks."""

    _as_committed: dict[str, bytes] = field(default_factory=dict, repr=False)
    _changed: bool = False

    def remember(self) -> None:
        """Remember that both stacks are deployed as committed."""
        self._as_committed = {stack: self.state(stack) for stack in STACKS}
        self._changed = False

    def leave(self) -> None:
        """Restore all files to the commit. The next `reset` updates the stacks."""
        self.restore()
        self._changed = True

    def reset(self) -> None:
        """After `leave`, update each stack that was updated since it was as committed."""
        if not self._changed:
            return
        for stack in STACKS:
            # A preview does not write the state.
            if self.state(stack) != self._as_committed.get(stack):
                self.up(stack)
        self.remember()

    def end(self) -> None:
        """Stop the local cloud, without a destroy of the stacks in it."""
        shutil.rmtree(self._backend / "stacks", ignore_errors=True)
        self.make("down")

    def state(self, stack: str) -> bytes:
        """The file with a stack's state."""
        return (self._backend / "stacks" / PROJECT / f"{stack}.json").read_bytes()

    def latest(self, stack: str) -> dict[str, Any]:
        """The state of a stack after its last operation. Before the first one it is empty."""
        return json.loads(self.state(stack))["checkpoint"]["latest"] or {}

    def resources(self, stack: str) -> list[dict[str, Any]]:
        """The resources in a stack's state."""
        return self.latest(stack).get("resources") or []

    @property
    def _backend(self) -> Path:
        """The folder of the state backend."""
        return self.root / ".local" / "state" / ".pulumi"

    def up(self, stack: str) -> dict[str, int]:
        """Run `pulumi up`. Returns the number of resources by operation."""
        done = self.shell(f"pulumi up --yes --skip-preview -s {stack}")
        assert done.returncode == 0, done.stdout
        return self.last_update(stack)

    def last_update(self, stack: str) -> dict[str, int]:
        """The number of changed resources in the last update, refresh or destroy, by operation."""
        # Like `pulumi stack history`, in a tenth of the time of a command.
        updates = (self._backend / "history" / PROJECT / stack).glob("*.history.json")
        changes = json.loads(max(updates).read_text())["resourceChanges"]
        return {kind: count for kind, count in changes.items() if kind != "same" and count}

    def planned(self, stack: str, *, refresh: bool = False) -> dict[str, str]:
        """Run `pulumi preview`. Returns the operation by type of each resource that would change.

        With a refresh, this includes what differs from the resources in the local cloud.
        """
        option = "--refresh" if refresh else ""
        shown = self.shell(f"pulumi preview --json {option} -s {stack} 2>/dev/null")
        assert shown.returncode == 0, shown.stdout
        steps = json.loads(shown.stdout)["steps"]
        changes = [step for step in steps if step["op"] not in ("same", "read", "refresh")]
        return {step["urn"].split("::")[2].rpartition("$")[2]: step["op"] for step in changes}

    def output(self, stack: str, name: str) -> str:
        """One output of a stack, as `pulumi stack output` prints it."""
        value = self.outputs(stack)[name]
        return value if isinstance(value, str) else json.dumps(value)

    def outputs(self, stack: str) -> dict[str, Any]:
        """The outputs in a stack's state."""
        # Like `pulumi stack output`, in a tenth of the time of a command.
        (outputs,) = (item["outputs"] for item in self.resources(stack) if item["type"] == "pulumi:pulumi:Stack")
        return dict(outputs)

    def get(self, headers: dict[str, str] | None = None, stack: str = "consumer") -> tuple[int, dict[str, str]]:
        """GET a stack's endpoint: status and JSON body."""
        return self.get_url(self.output(stack, "endpointUrl"), headers)

    @property
    def opener(self) -> urllib.request.OpenerDirector:
        """An opener for the endpoints of this clone's local cloud."""
        return endpoint.opener(self.root / ".local" / "endpoint")

    @contextmanager
    def asking(self, url: str) -> Iterator[list[int]]:
        """Send a request to a URL every 50 ms within the block. Yields the status of each response; 0: none."""
        ended, answers = threading.Event(), list[int]()

        def ask() -> None:
            while not ended.wait(POLL_SECONDS):
                try:
                    with self.opener.open(url, timeout=60) as answer:
                        answers.append(answer.status)
                except urllib.error.HTTPError as error:
                    answers.append(error.code)
                except OSError:
                    answers.append(0)

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
