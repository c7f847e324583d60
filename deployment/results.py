"""What an operation has done, as plain values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployment.events import STACK, UNKNOWN, Diagnostic, Step

UNCHANGED = frozenset({"same", "read", "refresh"})


@dataclass(frozen=True, kw_only=True)
class StackResult:
    """One operation on one stack.

    Attributes:
        stack: name of the stack.
        operation: `preview`, `up`, `refresh`, `destroy`, `drift`, `rollback` or `promote`.
        steps: what was done, or in a preview would be, in order, one for each resource.
        diagnostics: warnings and errors.
        failed: resources whose update had failed before. Their state has values that AWS may not have.
        seconds: how long it took.
        log: file with everything that the CLI has printed.
        checked: the endpoint's answer to a check, such as `200 in 0.6 s`; empty: it was not checked.
    """

    stack: str
    operation: str
    steps: tuple[Step, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    failed: tuple[str, ...] = ()
    seconds: float
    log: Path
    checked: str = ""

    @property
    def changes(self) -> dict[str, int]:
        """Number of resources by operation, less those that stay as they are."""
        return dict(Counter(step.operation for step in self.changed if step.is_resource))

    @property
    def unchanged(self) -> int:
        """Number of resources that stay as they are. What is only read, such as another stack's output, is none."""
        return sum(step.is_resource and step.operation in UNCHANGED - {"read"} for step in self.steps)

    @property
    def image(self) -> tuple[str, str]:
        """Digests of the images that ran before and run now; empty where there is none, or nobody knows yet."""
        before, after = (str(outputs.get("imageDigest") or "") for outputs in (self.outputs_before, self.outputs))
        return before, "" if after == UNKNOWN else after

    @property
    def changed(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.operation not in UNCHANGED)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs afterwards: `[secret]` in place of secret ones, `[unknown]` of what an update tells."""
        return self._stack_step.new if self._stack_step else {}

    @property
    def outputs_before(self) -> Mapping[str, Any]:
        """The stack's outputs before."""
        return self._stack_step.old if self._stack_step else {}

    @property
    def _stack_step(self) -> Step | None:
        return next((step for step in self.steps if step.type == STACK), None)


@dataclass(frozen=True, kw_only=True)
class Update:
    """One operation in the history of a stack.

    Attributes:
        began: when, as Pulumi writes it.
        operation: `update`, `refresh`, `destroy` and so on, as Pulumi calls them.
        result: `succeeded`, `failed` or `in-progress`.
        changes: number of all resources by operation, as Pulumi counts them.
        who: user and machine, and the commit; empty if it was not run by this package.
        image: digest of the image that ran afterwards; empty if nobody knows.
    """

    began: str
    operation: str
    result: str
    changes: Mapping[str, int]
    who: str = ""
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class StackStatus:
    """What is known of a stack without asking the cloud.

    Attributes:
        stack: name of the stack.
        deployed: whether it has been deployed and not been destroyed since.
        resources: number of resources in its state, counted as those of a `StackResult`.
        outputs: its outputs; `[secret]` in place of secret ones.
        pending: resources with operations whose outcome is unknown, since a run was killed.
        failed: resources whose last update failed. The state has the new values, AWS may have the old ones, until a
            `deployment.up` or a refresh.
        holder: who updates it and since when, if `pending` or `failed` are; empty if nobody does, or the backend does
            not say, such as Pulumi Cloud.
        holder_ended: whether the holder is a process of this machine that runs no more.
    """

    stack: str
    deployed: bool
    resources: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    holder: str = ""
    holder_ended: bool = False
