"""What happens during an operation, as small typed events in place of the engine's own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pulumi.automation import EngineEvent, StepEventMetadata

MARKUP = re.compile(r"<\{%[^%]*%\}>")


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
    """A resource is, was or could not be worked on.

    Attributes:
        operation: `create`, `update`, `replace`, `delete`, `same`, `read` or `refresh`, as the engine calls them.
        state: in a preview all steps are `planned`.
        old: the inputs before; secrets are blinded by the engine.
        new: the inputs after.
        changed: paths of the properties that differ.
    """

    operation: str
    state: Literal["planned", "started", "done", "failed"]
    old: Mapping[str, Any] = field(default_factory=dict, repr=False)
    new: Mapping[str, Any] = field(default_factory=dict, repr=False)
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """A passing line, such as one of a build or a push.

    Attributes:
        text: the line.
    """

    text: str


@dataclass(frozen=True, kw_only=True)
class Diagnostic(Event):
    """A line that stays.

    Attributes:
        severity: `info`, `warning` or `error`.
        text: one line or several.
    """

    severity: str
    text: str


def translated(stack: str, event: EngineEvent) -> Event | None:
    """The event in place of one of the engine's, or None for those that tell nothing here."""
    if (line := event.diagnostic_event) and line.severity != "debug":
        text = MARKUP.sub("", line.message).strip()
        if line.ephemeral:
            return Progress(stack=stack, urn=line.urn or "", text=text)
        return Diagnostic(stack=stack, urn=line.urn or "", severity=line.severity.partition("#")[0], text=text)
    if before := event.resource_pre_event:
        return _step(stack, before.metadata, "planned" if before.planning else "started")
    if after := event.res_outputs_event:
        # What a refresh would find is known only at the end of its step.
        return _step(stack, after.metadata, "planned" if after.planning else "done")
    if failed := event.res_op_failed_event:
        return _step(stack, failed.metadata, "failed")
    return None


def _step(stack: str, step: StepEventMetadata, state: Literal["planned", "started", "done", "failed"]) -> Step:
    changed = sorted(step.detailed_diff or step.diffs or ())
    return Step(
        stack=stack,
        urn=step.urn,
        operation=step.op.value,
        state=state,
        old=(step.old and step.old.inputs) or {},
        new=(step.new and step.new.inputs) or {},
        changed=tuple(changed),
    )
