"""The results of operations, as plain values."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployment.events import STACK, UNKNOWN, Diagnostic, Step

UNCHANGED = frozenset({"same", "read", "refresh"})


@dataclass(frozen=True, kw_only=True)
class StackResult:
    """The result of one operation on one stack.

    Attributes:
        stack: name of the stack.
        operation: `preview`, `up`, `refresh`, `destroy`, `drift`, `rollback` or `promote`.
        steps: what was done, or in a preview would be: one step for each resource, in order.
        diagnostics: warnings and errors.
        failed: resources whose previous update failed. Their state has values that AWS may not have.
        seconds: how long it took.
        log: file with the CLI's output.
        checked: the result of the endpoint check, such as `200 in 0.6 s`; empty without a check.
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
        """Number of changed resources by operation."""
        return dict(Counter(step.operation for step in self.changed if step.is_resource))

    @property
    def unchanged(self) -> int:
        """Number of unchanged resources, without those that are only read, such as stack references."""
        return sum(step.is_resource and step.operation in UNCHANGED - {"read"} for step in self.steps)

    @property
    def image(self) -> tuple[str, str]:
        """Digests of the images that ran before and run now; empty if there is none, or it is not known yet."""
        before, after = (str(outputs.get("imageDigest") or "") for outputs in (self.outputs_before, self.outputs))
        return before, "" if after == UNKNOWN else after

    @property
    def changed(self) -> tuple[Step, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.operation not in UNCHANGED)

    @property
    def outputs(self) -> Mapping[str, Any]:
        """The stack's outputs afterwards; `[secret]` and `[unknown]` replace secret outputs and those not known yet."""
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
        began: start time, as Pulumi writes it.
        operation: `update`, `refresh`, `destroy` and so on, as Pulumi calls them.
        result: `succeeded`, `failed` or `in-progress`.
        changes: number of all resources by operation, as Pulumi counts them.
        who: user and machine, and the commit; empty if it was not run by this package.
        image: digest of the image that ran afterwards; empty if unknown.
    """

    began: str
    operation: str
    result: str
    changes: Mapping[str, int]
    who: str = ""
    image: str = ""


@dataclass(frozen=True, kw_only=True)
class StackStatus:
    """The status of a stack according to its state.

    Attributes:
        stack: name of the stack.
        deployed: whether it is deployed and not destroyed.
        resources: number of resources in its state, counted as in `StackResult`.
        outputs: its outputs; `[secret]` replaces secret ones.
        pending: resources with operations whose outcome is unknown, because a run was killed.
        failed: resources whose last update failed. The state has the new values and AWS may have the old ones until the
            next `deployment.up` or refresh.
        holder: who updates the stack, and since when. Empty if nobody does, or if it is unknown: Pulumi
            Cloud does not report it, and other backends than `file://` are asked only with `pending` or `failed`.
        holder_ended: whether the holder is a process of this machine that has ended.
    """

    stack: str
    deployed: bool
    resources: int
    outputs: Mapping[str, Any] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    holder: str = ""
    holder_ended: bool = False
