"""Typed events of an operation, converted from the engine's events."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pulumi.automation import EngineEvent, PolicyEvent, StepEventMetadata
from pulumi.runtime.rpc import UNKNOWN as UNKNOWN_SIGN

MARKUP = re.compile(r"<\{%[^%]*%\}>")

STACK = "pulumi:pulumi:Stack"
# Types that are not counted: Pulumi's stacks, stack references and providers, and images, which no destroy deletes.
UNCOUNTED = ("pulumi:", "docker:")
BLINDED = "[secret]"
UNKNOWN = "[unknown]"

# The engine's mark for a secret. In events the value itself is already `[secret]`.
# https://pulumi-developer-docs.readthedocs.io/latest/docs/architecture/deployment-execution/
SIGN, SECRET_SIGN = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"

State = Literal["planned", "started", "done", "failed"]


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events.

    Attributes:
        stack: name of the stack.
        urn: the resource; empty for the stack as a whole.
    """

    stack: str
    urn: str = ""

    @property
    def type(self) -> str:
        """The resource's type, such as `aws:lambda/function:Function`."""
        return self.urn.split("::")[2].rpartition("$")[2] if self.urn else ""

    @property
    def name(self) -> str:
        """The resource's name in the program."""
        return self.urn.rpartition("::")[2]


@dataclass(frozen=True, kw_only=True)
class Step(Event):
    """A step of a resource: planned, started, done or failed.

    Attributes:
        operation: `create`, `update`, `replace`, `delete`, `same`, `read` or `refresh`, as the engine calls them.
            A replacement also has parts, such as `create-replacement`.
        state: in a preview all steps are `planned`.
        old: the inputs before, or the outputs of the stack itself; `[secret]` replaces secret values.
        new: the same after; `[unknown]` replaces values that are known only after an update.
        changed: paths of the properties that differ.
        forcing: the properties that force a replacement.
        retained: whether a delete keeps the resource in the cloud (`retainOnDelete`).
        custom: whether a provider manages the resource. False for components and the stack.
    """

    operation: str
    state: State
    old: Mapping[str, Any] = field(default_factory=dict, repr=False)
    new: Mapping[str, Any] = field(default_factory=dict, repr=False)
    changed: tuple[str, ...] = ()
    forcing: tuple[str, ...] = ()
    retained: bool = False
    custom: bool = True

    @property
    def is_resource(self) -> bool:
        """Whether counts include the resource. They exclude components, providers, stacks and builds."""
        return self.custom and not self.type.startswith(UNCOUNTED)


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """A line of progress, such as one of a build or a push.

    Attributes:
        text: the line.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Diagnostic(Event):
    """A diagnostic message.

    Attributes:
        severity: `info`, `warning` or `error`.
        text: one or more lines.
    """

    severity: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Checking(Event):
    """A check of an endpoint is running.

    Attributes:
        url: the URL of the endpoint.
        answer: the last response; empty before the first.
        seconds_left: the time until the check fails.
    """

    url: str
    answer: str
    seconds_left: float


@dataclass(frozen=True, kw_only=True)
class Ended(Event):
    """The engine finished an operation on the stack, successfully or not. A release has several operations."""


@dataclass(frozen=True, kw_only=True)
class Violation(Diagnostic):
    """A resource violates a policy. Severity `error` ends the operation.

    Attributes:
        policy: ID of the rule.
    """

    policy: str


def translated(stack: str, event: EngineEvent) -> Event | None:
    """Convert an event of the engine. Returns None for events without a counterpart."""
    if (line := event.diagnostic_event) and line.severity != "debug":
        text = MARKUP.sub("", line.message).strip()
        if line.ephemeral:
            return Progress(stack=stack, urn=line.urn or "", text=text)
        return Diagnostic(stack=stack, urn=line.urn or "", severity=line.severity.partition("#")[0], text=text)
    if violation := event.policy_event:
        return _violation(stack, violation)
    if event.summary_event:
        return Ended(stack=stack)
    if before := event.resource_pre_event:
        return _step(stack, before.metadata, "planned" if before.planning else "started")
    if after := event.res_outputs_event:
        # The result of a planned refresh is known only at the end of its step.
        return _step(stack, after.metadata, "planned" if after.planning else "done")
    if failed := event.res_op_failed_event:
        return _step(stack, failed.metadata, "failed")
    return None


def _violation(stack: str, event: PolicyEvent) -> Violation:
    severity = "error" if event.enforcement_level == "mandatory" else "warning"
    text = f"{event.policy_name}: {MARKUP.sub('', event.message).strip()}"
    return Violation(stack=stack, urn=event.resource_urn or "", severity=severity, text=text, policy=event.policy_name)


def _step(stack: str, step: StepEventMetadata, state: State) -> Step:
    old, new = step.old, step.new
    if step.type == STACK:
        values = (old and old.outputs) or {}, (new and new.outputs) or {}
    else:
        values = (old and old.inputs) or {}, (new and new.inputs) or {}
    return Step(
        stack=stack,
        urn=step.urn,
        operation=step.op.value,
        state=state,
        old=plain(values[0]),
        new=plain(values[1]),
        changed=tuple(sorted(step.detailed_diff or step.diffs or ())),
        forcing=tuple(sorted(step.keys or ())),
        retained=bool(old and old.retain_on_delete),
        custom=any(state and state.custom for state in (old, new)),
    )


def plain(value: Any) -> Any:
    """A value of an event, with placeholders for secret and unknown parts."""
    if isinstance(value, Mapping):
        return BLINDED if value.get(SIGN) == SECRET_SIGN else {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return UNKNOWN if value == UNKNOWN_SIGN else value
