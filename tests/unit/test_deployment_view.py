"""What a person reads of a deployment while it runs and after it."""

import dataclasses
import importlib
import io
import json
import re
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
import pytest
from rich.console import Console

from deployment import UNKNOWN, Checking, Diagnostic, Ended, Event, Progress, StackResult, Step
from deployment.view import LiveView, Row, kind, report, summary, view

FUNCTION = "aws:lambda/function:Function"
ROLE = "aws:iam/role:Role"
STACK = "pulumi:pulumi:Stack"
IMAGE = "docker:index/image:Image"


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
        ("up", "same read refresh create", "1 created, 2 unchanged"),
        ("up", "", "nothing there"),
    ],
)
def test_a_summary_counts_by_what_was_or_would_be_done(operation: str, kinds: str, expected: str) -> None:
    steps = [step(kind, name=str(number)) for number, kind in enumerate(kinds.split())]
    assert summary(result(operation, *steps, step("same", STACK))) == expected


def test_builds_providers_and_components_are_no_resources_that_are_counted() -> None:
    others = [
        step("create", IMAGE),
        step("delete", "pulumi:providers:aws"),
        step("same", "pulumi:pulumi:StackReference"),
        step("create", "cross-account-ecr:index:ImageFunction", custom=False),
    ]
    assert summary(result("up", *others, step("same"), step("update", ROLE))) == "1 updated, 1 unchanged"
    assert report({"consumer": result("up", *others, step("same"))}).splitlines() == [
        "consumer  up        1 unchanged  (1.2 s)"
    ]


def test_a_report_has_what_changed_then_the_image_the_address_and_the_check() -> None:
    old, new = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    steps = [
        step("update", FUNCTION, "b", changed=("memorySize", "timeout")),
        step("update", FUNCTION, "a"),
        step("create", ROLE, "role"),
        step("replace", ROLE, "s"),
        step("delete", ROLE, "t"),
        step("import", ROLE, "u"),
        step("discard", ROLE, "v"),
        step("same", ROLE, "w"),
        step("same", STACK, old={"imageDigest": old}, new={"imageDigest": new, "endpointUrl": "https://x/"}),
    ]
    other = StackResult(stack="registry", operation="up", steps=(), seconds=0.04, log=Path("log"))
    up = dataclasses.replace(result("up", *steps), checked="200 in 0.6 s")
    assert report({"registry": other, "consumer": up}).split("\n") == [
        "registry  up        nothing there  (0.0 s)",
        "consumer  up        2 updated, 1 created, 1 replaced, 1 deleted, 1 imported, 1 discard, 1 unchanged  (1.2 s)",
        "  + IAM role         role",
        "  ± IAM role         s",
        "  - IAM role         t",
        "  = IAM role         u",
        "  ? IAM role         v",
        "  ~ Lambda function  a",
        "  ~ Lambda function  b     memorySize, timeout",
        "  image    sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb",
        "  address  https://x/",
        "  checked  200 in 0.6 s",
    ]
    assert "https://x/" not in report({"consumer": result("preview", *steps)})
    assert report({}) == ""


def test_a_rollback_names_both_images() -> None:
    images = {"old": {"imageDigest": f"sha256:{'a' * 64}"}, "new": {"imageDigest": f"sha256:{'b' * 64}"}}
    told = report({"consumer": result("rollback", step("update"), step("same", STACK, **images))})
    assert told.startswith("consumer  rolled back sha256:aaaaaaaaaaaa → sha256:bbbbbbbbbbbb  (1.2 s)\n")
    assert told.count("sha256:") == 2


@pytest.mark.parametrize("before", [{}, {"imageDigest": f"sha256:{'a' * 64}"}], ids=["first", "unchanged"])
def test_one_image_is_shown_if_there_is_no_other(before: dict[str, Any]) -> None:
    images = {"old": before, "new": {"imageDigest": f"sha256:{'a' * 64}"}}
    told = report({"consumer": result("up", step("update", STACK, **images))})
    assert "\n  image    sha256:aaaaaaaaaaaa" in told
    assert "→" not in told


def test_a_preview_says_that_the_image_will_be_another_one() -> None:
    images = {"old": {"imageDigest": f"sha256:{'a' * 64}"}, "new": {"imageDigest": UNKNOWN}}
    told = report({"consumer": result("preview", step("update", STACK, **images))})
    assert told.endswith("\n  image    sha256:aaaaaaaaaaaa → a new build")


def test_a_drift_has_old_and_new_values_but_none_that_may_be_secret() -> None:
    changed = ("environment.variables.KEY", 'labels["a.b"]', "memorySize", "tags[0].name", "timeout")
    old = {
        "environment": {"variables": {"KEY": "hunter2"}},
        "memorySize": 128,
        "tags": [{"name": "a\n b"}],
        "labels": {"a.b": "x"},
    }
    new = {"environment": {"variables": {"KEY": "hunter3"}}, "memorySize": 256, "tags": [], "timeout": 3}
    told = report({"consumer": result("drift", step("update", changed=changed, old=old, new=new))})
    assert told.splitlines()[1:] == [
        "  ~ Lambda function  one",
        "      environment.variables.KEY: changed (values are not shown)",
        '      labels["a.b"]: x → none',
        "      memorySize: 128 → 256",
        "      tags[0].name: a b → none",
        "      timeout: none → 3",
    ]


def test_of_a_policy_that_drifted_the_lines_that_differ_are_shown() -> None:
    old, new = ({"policy": json.dumps({"Statement": [{"Sid": sid, "Effect": "Allow"}]})} for sid in ("A", "B"))
    told = report({"consumer": result("drift", step("update", ROLE, changed=("policy",), old=old, new=new))})
    assert told.splitlines()[1:] == [
        "  ~ IAM role  one",
        "      policy:",
        '        -      "Sid": "A"',
        '        +      "Sid": "B"',
    ]


def test_a_first_update_fits_on_a_screen_and_no_line_is_longer_than_the_terminal_is_wide() -> None:
    kinds = [FUNCTION, ROLE, "aws:apigateway/restApi:RestApi", "aws:cloudwatch/logGroup:LogGroup"]
    steps = [step("create", kind, f"{kind}-{number}") for number in range(4) for kind in kinds]
    lines = report({"consumer": result("up", *steps)}, width=80).splitlines()
    assert lines[1:] == [
        "  + 4 x API Gateway REST API, 4 x CloudWatch log group, 4 x IAM role, 4 x Lambda",
        "    function",
    ]
    gone = [dataclasses.replace(one, operation="delete") for one in steps]
    assert report({"consumer": result("destroy", *gone)}, width=80).splitlines()[1].startswith("  - 4 x API")
    changed = tuple(f"property{number}" for number in range(20))
    assert max(map(len, report({"consumer": result("up", step("update", changed=changed))}, 80).splitlines())) <= 80


@pytest.mark.parametrize(
    ("type_", "expected"),
    [
        (FUNCTION, "Lambda function"),
        ("aws:ecr/repositoryPolicy:RepositoryPolicy", "ECR repository policy"),
        ("aws:apigateway/apiKey:ApiKey", "API Gateway API key"),
        ("aws:apigatewayv2/route:Route", "API Gateway route"),
        ("aws:route53/record:Record", "Route 53 record"),
        ("aws:scheduler/schedule:Schedule", "EventBridge schedule"),
        ("aws:cloudwatch/eventRule:EventRule", "EventBridge rule"),
        ("aws:cloudwatch/eventTarget:EventTarget", "EventBridge target"),
        ("aws:cloudwatch/metricAlarm:MetricAlarm", "CloudWatch metric alarm"),
        ("aws:lambda/functionUrl:FunctionUrl", "Lambda function URL"),
        ("aws:sns/topic:Topic", "SNS topic"),
        (IMAGE, "image"),
        ("aws:sqs/queue:Queue", "aws:sqs/queue:Queue"),
    ],
)
def test_resources_are_called_as_aws_calls_them(type_: str, expected: str) -> None:
    assert kind(type_) == expected


def registered_types() -> list[str]:
    """The types of all resources that the source of the program creates."""
    source = "".join(path.read_text() for folder in ("components", "stacks") for path in Path(folder).rglob("*.py"))
    created = sorted(set(re.findall(r"\baws\.(\w+)\.([A-Z]\w+)\(", source)))
    classes = [getattr(importlib.import_module(f"pulumi_aws.{module}"), name) for module, name in created]
    return [each.pulumi_type for each in classes if issubclass(each, pulumi.CustomResource)]


def test_every_resource_of_the_program_has_a_name_of_aws() -> None:
    types = registered_types()
    assert {FUNCTION, ROLE, "aws:ecr/repository:Repository"} <= set(types)
    assert [name for name in map(kind, types) if not re.fullmatch(r"[A-Z][\w ]+", name)] == []


@pytest.mark.parametrize(
    ("failed", "colour"), [(False, "\x1b[32m"), (True, "\x1b[31m")], ids=["done: green", "failed: red"]
)
def test_on_a_terminal_how_a_stack_ended_has_a_colour(failed: bool, colour: str) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", width=80)
    shown = view(console)
    assert isinstance(shown, LiveView)
    row = shown._rows.setdefault("consumer", Row())
    row.take(step("create", state="started"))
    console.print(shown._table())
    assert colour not in console.file.getvalue()  # type: ignore[attr-defined]
    row.take(Diagnostic(stack="consumer", severity="error" if failed else "warning", text="x"))
    row.take(Ended(stack="consumer"))
    console.print(shown._table())
    assert f"{colour}{'failed' if failed else 'done'}" in console.file.getvalue()  # type: ignore[attr-defined]


def test_away_from_a_terminal_there_is_no_escape_code() -> None:
    shown = told(
        step("create"),
        step("update", ROLE, state="failed"),
        Diagnostic(stack="consumer", severity="warning", text="the image is gone"),
        Diagnostic(stack="consumer", severity="error", text="no"),
        Ended(stack="consumer"),
    )
    assert "failed" in shown
    assert "\x1b" not in shown + report({"consumer": result("up", step("create"))})


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
        "consumer     created   Lambda function  one",
        "consumer     failed    Lambda function  one",
        "consumer     warning   the image is gone",
        "registry     warning   the image is gone",
        "",
    ]


def test_a_terminal_has_a_row_for_each_stack_and_keeps_warnings() -> None:
    text = told(
        step("create", state="started"), Diagnostic(stack="registry", severity="warning", text="[bold]w"), terminal=True
    )
    assert "creating Lambda function one" in text
    assert "registry     warning   [bold]w" in text


def test_every_stack_has_a_row_before_anything_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployment.view.time.monotonic", lambda: 0.0)
    console = Console(file=io.StringIO(), force_terminal=True, width=80, record=True)
    with view(console, ["registry", "consumer"]) as shown:
        shown.tell(step("same"))
    console.export_text()
    console.print(shown._table())  # type: ignore[attr-defined]
    first, second = console.export_text().splitlines()
    assert first.split() == ["registry", "starting"]
    assert second.split() == ["consumer", "0", "s", "1", "unchanged"]


def test_a_warning_of_a_plan_is_not_told_again_by_the_update() -> None:
    warning = Diagnostic(stack="consumer", severity="warning", text="the image is gone")
    console, already = Console(file=io.StringIO(), force_terminal=False), set[tuple[str, str]]()
    for _ in range(2):
        with view(console, told=already) as shown:
            shown.tell(warning)
    assert console.file.getvalue() == "consumer     warning   the image is gone\n"  # type: ignore[attr-defined]


def test_plugins_that_are_on_path_are_one_line_for_all_stacks() -> None:
    text = "using pulumi-{} from $PATH at /opt/bin/pulumi-{}"
    lines = told(
        *(
            Diagnostic(stack=stack, severity="warning", text=text.format(plugin, plugin))
            for stack in ("registry", "consumer")
            for plugin in ("language-python", "resource-aws", "resource-docker")
        )
    )
    assert lines == "registry     warning   the plugins in /opt/bin are used, because the folder is on PATH\n"


@pytest.mark.parametrize("width", [80, 200])
def test_a_terminal_row_never_wraps_and_stacks_that_run_come_first(width: int) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=width, record=True)
    shown = view(console)
    with shown:
        # A program that prints at the same time prints past the view.
        assert [type(stream).__module__.partition(".")[0] for stream in (sys.stdout, sys.stderr)].count("rich") == 0
        shown.tell(step("create"))
        shown.tell(Ended(stack="consumer"))
        shown.tell(dataclasses.replace(step("create", name="two" * 30, state="started"), stack="o" * 60))
        shown.tell(dataclasses.replace(step("create"), stack="o" * 60))
    console.export_text()
    console.print(shown._table())  # type: ignore[attr-defined]
    rows = console.export_text().splitlines()
    assert [row.split()[0] for row in rows] == [f"{'o' * 23}…", "consumer"]
    assert max(map(len, rows)) <= width
    assert "creating Lambda function two" in rows[0]
    assert "done" in rows[1]


def test_the_time_of_a_stack_stops_when_the_stack_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("deployment.view.time.monotonic", lambda: now)
    row = Row(began=0)
    now = 3
    row.take(Ended(stack="consumer"))
    now = 60
    assert (row.seconds, row.now) == (3, "done")
    # A release is several operations.
    row.take(step("update", state="started"))
    assert row.seconds == 60


def test_a_check_counts_down_and_says_the_last_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("deployment.view.time.monotonic", lambda: now)
    row = Row()
    url = "https://x.execute-api.us-east-1.amazonaws.com/Prod/hello"
    row.take(Checking(stack="consumer", url=url, answer="", seconds_left=60))
    now = 18
    assert row.now == "GET /Prod/hello, 42 s left"
    row.take(Checking(stack="consumer", url=url, answer="503 no", seconds_left=40))
    assert row.now == "GET /Prod/hello, 40 s left: 503 no"


def progress(text: str) -> Progress:
    return Progress(stack="consumer", urn=f"urn:pulumi:consumer::p::{IMAGE}::image", text=text)


def test_a_build_is_one_calm_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider passes on several lines at a time, of which most are digests and bytes of the context."""
    row = Row()
    row.take(step("create", IMAGE, state="started"))
    for text, expected in (
        ("Starting Docker build", "building the image"),
        (
            "digest: sha256:1\n[2/3] RUN pip install x\ndigest: sha256:2\n",
            "building the image: [2/3] RUN pip install x",
        ),
        ("transferring context: 443B done\n", "building the image: [2/3] RUN pip install x"),
        ("Collecting x\n  Downloading x\n", "building the image: [2/3] RUN pip install x"),
        ("#7 [app 3/3] COPY . .", "building the image: [app 3/3] COPY . ."),
        ("Pushing", "pushing the image"),
    ):
        row.take(progress(text))
        assert row.now == expected


def test_a_push_tells_its_bytes_and_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 5.0
    monkeypatch.setattr("deployment.view.time.monotonic", lambda: now)
    row = Row()
    row.take(progress("Pushing [=>         ]  10.5MB/500MB"))
    assert row.now == "pushing the image: 10 of 500 MB"
    now = 7
    row.take(progress("Pushing [=>         ]  512kB/1.024MB"))
    row.take(progress("Pushing [==>        ]  100.2MB/500MB"))
    # For a layer that is complete, or has no known size, Docker reports only the bytes that were sent.
    row.take(progress("Pushing [===========>]  1.717MB"))
    row.take(progress("Pushing  2.048kB"))
    row.take(progress("Pushed"))
    assert row.now == "pushing the image: 101 of 501 MB, 50 MB/s"
    row.take(progress("Pushing [>          ]  100.2MB/1.5GB"))
    assert "of 2001 MB" in row.now


# Taken from an update with the docker provider 5.2.0 and Docker 20.10.24; many lines of the layers are left out.
FULL = "[==================================================>]"
PUSHED = f"""\
Starting Docker build
digest: sha256:3b17e3f4627d55b128a7ad777befadba15b950ad119d77bbd4ce8428bcdc055b
writing image sha256:e641cc3f7178e3ec9e5322b35e70b072c31fc1301beceba5d82957926c359b11
Pushing Image to the registry
Preparing
Waiting
Pushing {FULL}     512B
Pushing {FULL}  3.072kB
Pushing  2.048kB
Pushing [>                                                  ]  21.66kB/1.665MB
Pushing [>                                                  ]  100.4kB/9.323MB
Pushing [===========>                                       ]  381.4kB/1.665MB
Pushing [=======>                                           ]  1.378MB/9.323MB
Pushing [==========================================>        ]  1.403MB/1.665MB
Pushed
Pushing {FULL}  1.735MB
Pushed
Pushing [>                                                  ]  549.4kB/158.5MB
Pushing [=================================================> ]  9.144MB/9.323MB
Pushing [==>                                                ]  7.551MB/158.5MB
Pushing {FULL}  9.326MB
Pushed
Pushing [================>                                  ]     57MB/158.5MB
Pushing [===============================>                   ]  99.98MB/158.5MB"""


def test_a_push_of_the_docker_provider_is_one_line_that_only_rises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployment.view.time.monotonic", lambda: 0.0)
    row, shown = Row(), list[str]()
    row.take(step("create", IMAGE, state="started"))
    for text in PUSHED.splitlines():
        row.take(progress(text))
        shown += [row.now] if row.now not in shown[-1:] else []
    assert shown[:2] == ["building the image", "pushing the image"]
    pushed = [re.fullmatch(r"pushing the image: (\d+) of (\d+) MB", text) for text in shown[2:]]
    figures = [(int(found[1]), int(found[2])) for found in pushed if found]
    assert len(figures) == len(pushed)
    assert figures == sorted(figures)
    # Two layers that Docker finished are counted with their last known bytes.
    assert figures[-1] == (111, 169)


@pytest.mark.parametrize(("text", "size"), [("900000B", 1), ("2000kB", 2), ("3MB", 3), ("4GB", 4000)])
def test_sizes_are_in_megabytes(text: str, size: int) -> None:
    row = Row()
    row.take(progress(f"Pushing [=>         ]  {text}/{text}"))
    assert row.now.startswith(f"pushing the image: {size} of {size} MB")


def test_information_is_in_the_row_on_a_terminal_and_a_line_elsewhere() -> None:
    info = Diagnostic(stack="consumer", severity="info", text="localhost:1/registry/orders may not be pulled from yet.")
    row = Row()
    row.take(info)
    assert row.now == "orders may not be pulled from yet."
    assert "consumer     info      localhost:1/registry/orders may" in told(info)
    assert "info" not in told(info, terminal=True)
    on_terminal = view(Console(file=io.StringIO(), force_terminal=True))
    assert isinstance(on_terminal, LiveView)
    assert on_terminal._line(info) == ""


def test_the_time_of_a_row_goes_on_without_events(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("deployment.view.time", SimpleNamespace(monotonic=lambda: now[0]))
    file = io.StringIO()
    with view(Console(file=file, force_terminal=True)) as shown:
        shown.tell(step("create", state="started"))
        for seconds in (0, 7, 8):
            now[0] = 100.0 + seconds
            while f"{seconds} s" not in file.getvalue():  # the test's time limit ends it
                threading.Event().wait(0.01)


def test_an_interrupted_run_names_the_running_operations() -> None:
    shown = view(Console(file=io.StringIO()))
    assert shown.waits_for() == "the CLI"
    with shown:
        shown.tell(step("create", state="started"))
        shown.tell(dataclasses.replace(step("create", ROLE, state="started"), stack="second"))
        shown.tell(Ended(stack="third"))
    assert shown.waits_for() == "consumer: creating Lambda function one; second: creating IAM role one"


@pytest.mark.parametrize(
    ("events", "now", "counts"),
    [
        ([], "starting", ""),
        ([step("create", state="started")], "creating Lambda function one", ""),
        ([step("create-replacement", state="started")], "creating again Lambda function one", ""),
        ([step("import", state="started")], "import Lambda function one", ""),
        ([step("create", state="started"), step("create")], "", "1 created"),
        # What does not change covers nothing that runs.
        ([step("create", state="started"), step("same", ROLE)], "creating Lambda function one", "1 unchanged"),
        (
            [step("create", state="started"), step("create", ROLE, state="started")],
            "creating Lambda function one (+1 more)",
            "",
        ),
        ([step("create", state="planned")], "", "1 to create"),
        ([step("update", state="failed")], "", "1 failed"),
        ([step("same")], "", "1 unchanged"),
        ([step("same"), step("update")], "", "1 updated"),
        ([step("same"), step("update", ROLE)], "", "1 updated, 1 unchanged"),
        ([step("update"), step("update", ROLE)], "", "2 updated"),
        ([step("update", STACK), step("create", "pulumi:providers:aws")], "starting", ""),
        ([Progress(stack="consumer", text="waiting\nfor it")], "waiting", ""),
        ([step("create", state="started"), Ended(stack="consumer")], "done", ""),
        ([Diagnostic(stack="consumer", severity="error", text="no"), Ended(stack="consumer")], "failed", ""),
    ],
)
def test_a_row_tells_what_is_done_now_and_what_was(events: list[Event], now: str, counts: str) -> None:
    row = Row()
    for event in events:
        row.take(event)
    assert (row.now, row.counts) == (now, counts)
