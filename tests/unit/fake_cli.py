"""The Pulumi CLI as `deployment` sees it: what is asked of it is kept, and stacks are a few values in memory."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pulumi.automation import CommandResult, PulumiCommand
from pulumi.automation.errors import create_command_error

from deployment.events import SECRET_SIGN, SIGN

OPERATIONS = ("preview", "up", "refresh", "destroy")
SECRET = "the secret in clear"
STACK_TYPE = "pulumi:pulumi:Stack"
HISTORY = {
    "kind": "update", "startTime": "2026-01-01T00:00:00.000Z", "message": "", "environment": {}, "config": {},
    "result": "succeeded", "version": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """A command.

    Attributes:
        stack: the stack it is for.
        name: `up`, `stack output` and so on.
        arguments: all of them.
        config: the stack's configuration at that moment, keys without the project.
        environment: the variables that it gets besides those of the process.
    """

    stack: str
    name: str
    arguments: tuple[str, ...]
    config: Mapping[str, Any]
    environment: Mapping[str, str]

    def option(self, name: str) -> list[str]:
        """The values that an option has."""
        values = [each.partition("=")[2] for each in self.arguments if each.startswith(f"{name}=")]
        pairs = zip(self.arguments, self.arguments[1:], strict=False)
        return values + [value for key, value in pairs if key == name]


@dataclass
class State:
    """A stack. `lock` is who holds it, as Pulumi says it."""

    outputs: dict[str, Any] = field(default_factory=dict)
    resources: list[dict[str, Any]] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    lock: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Failure(Exception):
    """An operation fails with this error of a resource."""

    text: str
    kind: str = "aws:lambda/function:Function"


class FakeCli:
    """Runs commands. `up` deploys the image of the configuration, or what the test has built.

    Attributes:
        calls: all of them, in order.
        built: the digest of what a build gives, by stack.
        when: is called before an operation on a stack; may raise a `Failure` or wait.
        stacks: all of them.
        backend: where they are, as `pulumi whoami` says it.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.built: dict[str, str] = defaultdict(lambda: "sha256:new")
        self.when: Callable[[Call], object] = lambda call: None
        self.stacks: dict[str, State] = {}
        self.backend = "file://~"

    def run(
        self, command: PulumiCommand, arguments: list[str], folder: str, environment: Mapping[str, str],
        on_output: Any = None, on_error: Any = None,
    ) -> CommandResult:  # fmt: skip
        """As `PulumiCommand.run`."""
        stack = Path(folder).name
        file = yaml.safe_load(Path(folder, f"Pulumi.{stack}.yaml").read_text()) or {}
        config = {key.partition(":")[2]: value for key, value in (file.get("config") or {}).items()}
        words = [each for each in arguments[:2] if not each.startswith("-")]
        name = " ".join(words) if words[0] in ("stack", "config") else words[0]
        call = Call(stack, name, tuple(arguments), config, dict(environment))
        self.calls.append(call)
        if name not in OPERATIONS:
            return CommandResult(stdout=self._answer(call), stderr="", code=0)
        log = Path(call.option("--event-log")[0])
        if on_output:
            on_output("a line of the CLI")
        try:
            self.when(call)
            self._operate(call, log)
        except Failure as failure:
            self._tell(log, diagnosticEvent={
                "urn": urn(stack, failure.kind), "message": failure.text, "color": "never", "severity": "error",
            })  # fmt: skip
            raise create_command_error(CommandResult(stdout="", stderr="error: it failed", code=255)) from None
        finally:
            self._tell(log, cancelEvent={})
        return CommandResult(stdout="", stderr="", code=0)

    def operations(self) -> list[tuple[str, str]]:
        """The operations and their stacks, in order."""
        return [(call.name, call.stack) for call in self.calls if call.name in OPERATIONS]

    def of(self, name: str, stack: str) -> list[Call]:
        """The calls of a command for a stack."""
        return [call for call in self.calls if (call.name, call.stack) == (name, stack)]

    def _answer(self, call: Call) -> str:
        if call.name in ("whoami", "config", "stack output", "stack history") and "--json" not in call.arguments:
            return "a table for people"
        if call.name == "whoami":
            return json.dumps({"user": "me", "organizations": [], "url": self.backend})
        if call.name == "stack init":
            if call.stack in self.stacks:
                lock = self.stacks[call.stack].lock
                locked = f"the stack is currently locked by 1 lock(s).\n  x: created by {lock}"
                raise _refused(locked if lock else f"stack '{call.stack}' already exists")
            self.stacks[call.stack] = State()
        elif call.stack not in self.stacks:
            raise _refused(f"no stack named '{call.stack}' found")
        elif call.name == "stack rm":
            del self.stacks[call.stack]
        elif call.name == "stack output":
            clear = "--show-secrets" in call.arguments
            outputs = self.stacks[call.stack].outputs
            return json.dumps({key: shown(value, clear) for key, value in outputs.items()})
        elif call.name == "stack export":
            state = self.stacks[call.stack]
            outputs = {key: marked(value) for key, value in state.outputs.items()}
            itself = {"urn": urn(call.stack), "type": STACK_TYPE, "custom": False, "outputs": outputs}
            resources = [itself, *(each for each in state.resources if each["type"] != STACK_TYPE)]
            pending = [{"type": "creating", "resource": {"urn": each, "type": "a:b:C"}} for each in state.pending]
            return json.dumps({"version": 3, "deployment": {"resources": resources, "pending_operations": pending}})
        elif call.name == "config":
            structured = {key: {"objectValue": value} for key, value in call.config.items() if isinstance(value, dict)}
            plain = {key: {"value": str(value)} for key, value in call.config.items() if key not in structured}
            return json.dumps({f"p:{key}": value for key, value in (plain | structured).items()})
        elif call.name == "stack history":
            return json.dumps(self.stacks[call.stack].history or [HISTORY])
        return ""

    def _operate(self, call: Call, log: Path) -> None:
        state = self.stacks[call.stack]
        before, after = dict(state.outputs), dict(state.outputs)
        if call.name in ("up", "preview") and "--preview-only" not in call.arguments:
            after = self._deployed(call, before)
        if call.name in ("up", "destroy") and "--preview-only" not in call.arguments:
            state.outputs = after if call.name == "up" else {}
            state.resources = [{"urn": urn(call.stack, "a:b:C"), "type": "a:b:C", "custom": True}]
            state.history.insert(0, {**HISTORY, "message": "".join(call.option("--message"))})
            if call.name == "destroy":
                state.resources = []
        old, new = (
            {"outputs": {key: shown(value, clear=False) for key, value in each.items()}} for each in (before, after)
        )
        common = {"type": STACK_TYPE, "urn": urn(call.stack), "id": "", "parent": "", "provider": "", "inputs": {}}
        metadata = {"op": "update", "provider": "", **common, "old": common | old, "new": common | new}
        self._tell(log, resOutputsEvent={"metadata": metadata, "planning": call.name == "preview"})
        changes = {"maybeCorrupt": False, "durationSeconds": 1, "resourceChanges": {}, "PolicyPacks": {}}
        self._tell(log, summaryEvent=changes)

    def _deployed(self, call: Call, before: Mapping[str, Any]) -> dict[str, Any]:
        image = call.config.get("image") or {}
        running = before.get("imageDigest")
        digest = image.get("digest") or (
            self.stacks[image["promote"]].outputs["imageDigest"] if "promote" in image else ""
        )
        digest = digest or self.built[call.stack]
        previous = running if running and running != digest else before.get("previousImageDigest")
        return {
            "imageDigest": digest,
            "endpointUrl": f"http://127.0.0.1:1/{call.stack}",
            "apiKey": {"secret": SECRET},
            **({"previousImageDigest": previous} if previous else {}),
        }

    @staticmethod
    def _tell(log: Path, **event: Any) -> None:
        with log.open("a") as file:
            file.write(json.dumps({"sequence": 1, "timestamp": 1, **event}) + "\n")


def _refused(text: str) -> Exception:
    return create_command_error(CommandResult(stdout="", stderr=f"error: {text}", code=255))


def urn(stack: str, kind: str = STACK_TYPE) -> str:
    """The URN of a stack's only resource of a type."""
    return f"urn:pulumi:{stack}::p::{kind}::one"


def marked(value: Any) -> Any:
    """An output as it is in an exported state."""
    return {SIGN: SECRET_SIGN, "ciphertext": "v1:x"} if isinstance(value, dict) and "secret" in value else value


def shown(value: Any, clear: bool) -> Any:
    """An output as the CLI prints it."""
    return (value["secret"] if clear else "[secret]") if isinstance(value, dict) and "secret" in value else value


def wait(condition: threading.Event) -> None:
    """Wait for something that has to happen."""
    assert condition.wait(20)
