"""What a person reads of a deployment while it runs and after it."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from deployment import Diagnostic, Ended, Event, Progress, StackResult, Step
from deployment.view import Row, report, summary, view

FUNCTION = "aws:lambda/function:Function"
ROLE = "aws:iam/role:Role"
STACK = "pulumi:pulumi:Stack"


def step(operation: str, kind: str = FUNCTION, name: str = "one", state: Any = "done", **values: Any) -> Step:
    urn = f"urn:pulumi:consumer::p::{kind}::{name}"
    return Step(stack="consumer", urn=urn, operation=operation, state=state, **values)


def result(operation: str, *steps: Step) -> StackResult:
    return StackResult(stack="consumer", operation=operation, steps=steps, seconds=1.25, log=Path("log"))


@pytest.mark.parametrize(
    ("operation", "kinds", "expected"),
    [
        ("preview", "create update replace delete", "1 to create, 1 to update, 1 to replace, 1 to delete"),
        ("up", "create update replace delete import", "1 created, 1 updated, 1 replaced, 1 deleted, 1 imported"),
        ("destroy", "delete delete", "2 deleted"),
        ("drift", "create update delete", "1 new, 1 changed, 1 gone"),
        ("up", "same read refresh create", "1 created, 3 unchanged"),
        ("up", "", "nothing there"),
    ],
)
def test_a_summary_counts_by_what_was_or_would_be_done(operation: str, kinds: str, expected: str) -> None:
    steps = [step(kind, name=str(number)) for number, kind in enumerate(kinds.split())]
    assert summary(result(operation, *steps, step("same", STACK))) == expected


def test_a_report_has_a_line_for_each_stack_and_below_it_one_for_each_change() -> None:
    steps = [
        step("update", FUNCTION, "b", changed=("memorySize", "timeout")),
        step("update", FUNCTION, "a"),
        step("create", ROLE, "role"),
        step("replace", ROLE, "s"),
        step("delete", ROLE, "t"),
        step("import", ROLE, "u"),
        step("discard", ROLE, "v"),
        step("same", ROLE, "w"),
        step("same", STACK, new={"endpointUrl": "https://x/"}),
    ]
    other = StackResult(stack="registry", operation="up", steps=(), seconds=0.04, log=Path("log"))
    assert report({"registry": other, "consumer": result("up", *steps)}).split("\n") == [
        "registry  up        nothing there  (0.0 s)",
        "consumer  up        2 updated, 1 created, 1 replaced, 1 deleted, 1 imported, 1 discard, 1 unchanged  (1.2 s)",
        "  + aws:iam/role:Role             role",
        "  ± aws:iam/role:Role             s",
        "  - aws:iam/role:Role             t",
        "  = aws:iam/role:Role             u",
        "  ? aws:iam/role:Role             v",
        "  ~ aws:lambda/function:Function  a",
        "  ~ aws:lambda/function:Function  b     memorySize, timeout",
        "  https://x/",
    ]
    assert "https://x/" not in report({"consumer": result("preview", *steps)})
    assert report({}) == ""


def told(*events: Event, terminal: bool = False) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    with view(console) as shown:
        for event in events:
            shown.tell(event)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_log_has_a_line_for_each_change_and_each_warning_once() -> None:
    warning = Diagnostic(stack="consumer", severity="warning", text="the image is gone")
    assert told(
        step("create", state="started"),
        step("create"),
        step("update", state="failed"),
        step("same"),
        step("create", state="planned"),
        step("create-replacement"),
        Progress(stack="consumer", text="#7 RUN x"),
        warning,
        warning,
        Diagnostic(stack="registry", severity="warning", text="the image is gone"),
        Diagnostic(stack="consumer", severity="error", text="told at the end"),
        Ended(stack="consumer"),
    ).split("\n") == [
        f"consumer     created   {FUNCTION}  one",
        f"consumer     failed    {FUNCTION}  one",
        "consumer     warning   the image is gone",
        "registry     warning   the image is gone",
        "",
    ]


def test_a_terminal_has_a_row_for_each_stack_and_keeps_warnings() -> None:
    text = told(
        step("create", state="started"), Diagnostic(stack="registry", severity="warning", text="[bold]w"), terminal=True
    )
    assert f"creating {FUNCTION} one" in text
    assert "registry     warning   [bold]w" in text


@pytest.mark.parametrize(
    ("events", "now", "counts"),
    [
        ([], "starting", ""),
        ([step("create", state="started")], f"creating {FUNCTION} one", ""),
        ([step("create-replacement", state="started")], f"creating anew {FUNCTION} one", ""),
        ([step("import", state="started")], f"import {FUNCTION} one", ""),
        ([step("create", state="started"), step("create")], f"creating {FUNCTION} one", "1 created"),
        ([step("create", state="planned")], "starting", "1 to create"),
        ([step("update", state="failed")], "starting", "1 failed"),
        ([step("same")], "looked at one", "1 unchanged"),
        ([step("same"), step("update")], "looked at one", "1 updated"),
        ([step("update"), step("update", ROLE)], "starting", "2 updated"),
        ([step("update", STACK)], "starting", ""),
        ([Progress(stack="consumer", text="waiting")], "waiting", ""),
        ([Progress(stack="consumer", urn="a::b::c::image", text="#7")], "image: #7", ""),
        ([step("create", state="started"), Ended(stack="consumer")], "", ""),
    ],
)
def test_a_row_tells_what_is_done_now_and_what_was(events: list[Event], now: str, counts: str) -> None:
    row = Row()
    for event in events:
        row.take(event)
    assert (row.now, row.counts) == (now, counts)
