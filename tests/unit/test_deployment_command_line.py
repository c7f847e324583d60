"""`python -m deployment`, with a deployment that does nothing in place of the real one."""

import atexit
import dataclasses
import gc
import inspect
import io
import json
import re
import runpy
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
import typer.testing
from rich.console import Console
from typer.testing import CliRunner

import deployment.__main__ as command_line
from deployment import (
    BuildError,
    Check,
    ConflictError,
    Deployment,
    Progress,
    StackResult,
    StackStatus,
    Step,
    Update,
    aws,
    errors,
)
from deployment.view import LiveView, PlainView, summary, view
from deployment.watch import Save
from tests.pages import commands

PAGES = "\n".join(page.read_text() for page in (Path("README.md"), *sorted(Path("docs").glob("*.md"))))
FUNCTION = "aws:lambda/function:Function"


def step(operation: str, name: str = "function", state: Any = "done", stack: str = "consumer") -> Step:
    urn = f"urn:pulumi:{stack}::cross-account-ecr::{FUNCTION}::{name}"
    return Step(stack=stack, urn=urn, operation=operation, state=state, changed=("memorySize",))


def result(*steps: Step, operation: str = "up", stack: str = "consumer") -> StackResult:
    return StackResult(stack=stack, operation=operation, steps=steps, seconds=1.23, log=Path("log"))


class Recorded:
    """A deployment that notes how it is made and called, and gives what it is told to."""

    answer: Any = None
    made: dict[str, Any]
    prepared: list[Any]
    called: tuple[str, tuple[Any, ...], dict[str, Any]]

    def __init__(self, folder: Path = Path(), **options: Any) -> None:
        inspect.signature(Deployment).bind(folder, **options)
        type(self).made = {"folder": folder, **options}

    def __enter__(self) -> "Recorded":
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            inspect.signature(getattr(Deployment, name)).bind(self, *arguments, **options)
            if name == "prepare":
                type(self).prepared += arguments
                return None
            type(self).called = (name, arguments, options)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        return call


COMMAND = cache(typer.main.get_command)


@pytest.fixture(autouse=True)
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Recorded]]:
    monkeypatch.setattr(command_line, "Deployment", Recorded)
    # Typer builds the command line from the signatures for each run.
    monkeypatch.setattr(typer.testing, "_get_command", COMMAND)
    Recorded.answer = {"consumer": result(step("update"))}
    Recorded.prepared = []
    return Recorded


def run(*arguments: str) -> Any:
    return CliRunner().invoke(command_line.app, arguments)


def test_options_stand_behind_the_command_and_reach_the_deployment() -> None:
    ran = run(
        "up", "--folder", "x", "--registry", "r", "--consumer", "a", "--consumer", "b", "--backend", "s3://b",
        "--secrets-provider", "awskms://k", "--timeout", "5", "--check", "--check-seconds", "7", "--share", "0.1",
        "--share", "0.5", "--policy-pack", "policy_pack",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.output
    made, options = Recorded.made, Recorded.made["options"]
    assert (made["folder"], made["registry"], made["consumers"]) == (Path("x"), "r", ["a", "b"])
    assert (options.backend.url, options.backend.secrets_provider) == ("s3://b", "awskms://k")
    assert (options.timeout, options.policy_packs) == (5, [Path("policy_pack").resolve()])
    assert Recorded.called == ("up", (), {"check": Check(seconds=7), "shares": [0.1, 0.5], "refresh": False})


@pytest.mark.parametrize(
    ("arguments", "stacks"),
    [
        ([], ("registry", ["consumer"])),
        (["--no-registry"], (None, ["consumer"])),
        (["--no-consumers"], ("registry", [])),
    ],
)
def test_a_stage_can_be_left_out(arguments: list[str], stacks: tuple[str | None, list[str]]) -> None:
    assert run("up", *arguments).exit_code == 0
    assert (Recorded.made["registry"], Recorded.made["consumers"]) == stacks


@pytest.mark.parametrize(
    ("arguments", "called"),
    [
        (["promote", "consumer", "production"], ("promote", ("consumer", "production"), {})),
        (["rollback", "production"], ("rollback", ("production",), {"to": ""})),
        (["rollback", "production", "--to", "sha256:1"], ("rollback", ("production",), {"to": "sha256:1"})),
        (["repair", "production"], ("repair", ("production",), {"force": False})),
        (["repair", "production", "--yes"], ("repair", ("production",), {"force": True})),
    ],
)
def test_commands_for_one_stack_leave_the_others_alone(arguments: list[str], called: object) -> None:
    Recorded.answer = result(step("update"), stack="production")
    assert run(*arguments).exit_code == 0
    assert Recorded.called == called
    assert (Recorded.made["registry"], Recorded.made["consumers"]) == (None, ["production"])


def test_results_are_one_json_document_without_inputs_of_resources() -> None:
    secret = Step(stack="consumer", urn="u::p::a:b:C::n", operation="update", state="done", new={"password": "hunter2"})
    Recorded.answer = {"consumer": result(secret)}
    ran = run("up", "--json")
    stacks = json.loads(ran.stdout)["stacks"]
    assert set(stacks["consumer"]) == {
        *("operation", "changes", "steps", "outputs", "diagnostics", "failed", "seconds", "checked", "log")
    }
    assert stacks["consumer"]["changes"] == {"update": 1}
    assert stacks["consumer"]["steps"] == [
        {"operation": "update", "urn": "u::p::a:b:C::n", "changed": [], "forcing": []}
    ]
    assert "hunter2" not in ran.output


def test_an_error_is_told_with_stack_resource_and_hint_on_stderr_and_its_code() -> None:
    error = BuildError("it did not build", stack="consumer", urn="urn:x", hint="Mend it.")
    error.outcomes = {"registry": result(step("same"), stack="registry"), "consumer": error}
    Recorded.answer = error
    ran = run("up")
    assert ran.exit_code == 5
    assert ran.stderr == "consumer: it did not build\n  resource  urn:x\n  fix       Mend it.\n"
    assert ran.stdout == "registry  up        1 unchanged  (1.2 s)\n"


def test_errors_are_in_the_json_document_beside_results() -> None:
    error = ConflictError("locked", stack="consumer", holder="me")
    error.outcomes = {"registry": result(step("same"), stack="registry"), "consumer": error}
    Recorded.answer = error
    ran = run("up", "--json")
    stacks = json.loads(ran.stdout)["stacks"]
    assert ran.exit_code == 4
    assert (stacks["registry"]["operation"], stacks["consumer"]["error"]) == ("up", "ConflictError")


@pytest.mark.parametrize(("operation", "code"), [("update", 8), ("same", 0)])
def test_drift_has_an_exit_code_of_its_own(operation: str, code: int) -> None:
    Recorded.answer = {"consumer": result(step(operation), operation="drift")}
    assert run("drift").exit_code == code


def test_a_failed_update_counts_as_drift() -> None:
    """The state has the new values, whatever a refresh finds."""
    unchanged = result(step("same"), operation="drift")
    Recorded.answer = {"consumer": dataclasses.replace(unchanged, failed=("urn:x",))}
    ran = run("drift")
    assert ran.exit_code == 8
    assert "urn:x  its update failed" in ran.stdout


@pytest.mark.parametrize(
    ("known", "code", "fix"),
    [
        ({}, 0, None),
        ({"pending": ("urn:x",)}, 10, "python -m deployment repair consumer"),
        ({"failed": ("urn:x",)}, 10, "python -m deployment up, or pulumi up --refresh"),
    ],
    ids=["in order", "killed", "failed update"],
)
def test_status_says_where_the_state_may_be_wrong(known: dict[str, Any], code: int, fix: str | None) -> None:
    Recorded.answer = {"consumer": StackStatus(stack="consumer", deployed=True, resources=3, **known)}
    ran = run("status")
    assert ran.exit_code == code
    assert ("urn:x" in ran.stdout) == bool(fix)
    assert re.findall("^  fix +(.*)", ran.stdout, re.MULTILINE) == ([fix] if fix else [])
    assert json.loads(run("status", "--json").stdout)["stacks"]["consumer"]["resources"] == 3


def test_the_json_of_a_status_has_all_that_is_known_of_a_stack() -> None:
    known = StackStatus(
        stack="consumer", deployed=True, resources=3, outputs={"apiKey": "[secret]"}, pending=("urn:x",),
        failed=("urn:y",), holder="me@x, since noon", holder_ended=True,
    )  # fmt: skip
    Recorded.answer = {"consumer": known}
    assert json.loads(run("status", "--json").stdout) == {
        "stacks": {
            "consumer": {
                "stack": "consumer",
                "deployed": True,
                "resources": 3,
                "outputs": {"apiKey": "[secret]"},
                "pending": ["urn:x"],
                "failed": ["urn:y"],
                "holder": "me@x, since noon",
                "holder_ended": True,
            }
        }
    }


def test_status_shows_which_image_runs_at_which_address() -> None:
    outputs = {"imageDigest": f"sha256:{'ab' * 32}", "endpointUrl": "https://x/"}
    Recorded.answer = {"consumer": StackStatus(stack="consumer", deployed=True, resources=1, outputs=outputs)}
    shown = run("status").stdout
    assert "consumer     1 resource\n  image     sha256:abababababab\n  address   https://x/\n" in shown


def test_while_somebody_updates_a_stack_its_status_says_who_and_nothing_is_to_be_repaired() -> None:
    known = StackStatus(
        stack="consumer", deployed=True, resources=3, pending=("urn:x",), failed=("urn:y",), holder="me@x, since noon"
    )
    Recorded.answer = {"consumer": known}
    ran = run("status")
    assert ran.exit_code == 0
    assert ran.stdout == "consumer     3 resources\n  updating  me@x, since noon\n"
    assert "repair" not in ran.stdout
    Recorded.answer = {"consumer": dataclasses.replace(known, holder_ended=True)}
    ran = run("status")
    assert ran.exit_code == 10
    assert "python -m deployment repair consumer" in ran.stdout


def test_without_a_terminal_a_repair_of_a_locked_stack_does_not_ask_and_is_refused() -> None:
    Recorded.answer = ConflictError("another update holds the stack consumer: me", stack="consumer", holder="me")
    ran = run("repair", "consumer")
    assert ran.exit_code == 4
    assert "repair consumer --yes" in ran.stderr
    assert Recorded.called == ("repair", ("consumer",), {"force": False})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["up", "--timeout", "0"], "--timeout"),
        (["up", "--check", "--check-seconds", "-1"], "--check-seconds"),
        (["up", "--check-seconds", "5"], "--check-seconds needs --check"),
        (["up", "--no-registry", "--no-consumers"], "--no-registry and --no-consumers exclude each other"),
        (["up", "--no-registry", "--registry", "r"], "--no-registry and --registry exclude each other"),
        (["up", "--no-consumers", "--consumer", "c"], "--no-consumers and --consumer exclude each other"),
    ],
)
def test_contradicting_options_are_refused(arguments: list[str], said: str) -> None:
    Recorded.called = ("nothing", (), {})
    ran = run(*arguments)
    assert ran.exit_code == 2
    assert said in ran.stderr
    assert Recorded.called[0] == "nothing"


@pytest.mark.parametrize("name", [command.name for command in command_line.app.registered_commands])
def test_help_is_for_people_and_fits_a_terminal(name: str) -> None:
    for shown in (run(name, "--help").stdout, run("--help").stdout):
        assert not re.search(r"<\w+\[|\[list|None|[^\]]\.\.\.$", shown, re.MULTILINE)
        assert max(map(len, shown.splitlines())) <= 80
        assert re.findall(r"^  -{1,2}\w.*  [a-z].*", shown, re.MULTILINE) == []  # a sentence for each option
    assert re.search(rf"^  {name} ", run("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("known", "command"), [("sync", "watch"), ("logs", "logs"), ("local invoke", "invoke"), ("delete", "destroy")]
)
def test_the_help_names_the_sam_counterpart_of_a_command(known: str, command: str) -> None:
    assert re.search(rf"^  {command} .*\b(sam|,) .*{known}\b", run("--help").stdout, re.MULTILINE)


def test_destroy_asks_for_confirmation() -> None:
    assert run("destroy").exit_code != 0
    assert run("destroy", "--yes").exit_code == 0
    assert Recorded.called == ("destroy", (), {})


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked is answered from standard input."""
    monkeypatch.setattr(command_line, "_has_terminal", lambda: True)


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize(("answer", "code", "called"), [("y\n", 0, "up"), ("n\n", 130, "preview"), ("", 1, "preview")])
def test_on_a_terminal_an_update_shows_what_it_would_do_and_asks(answer: str, code: int, called: str) -> None:
    Recorded.answer = {"consumer": result(step("update"), operation="preview")}
    ran = CliRunner().invoke(command_line.app, ["up"], input=answer)
    assert (ran.exit_code, Recorded.called[0]) == (code, called)
    assert "1 to update" in ran.stderr
    assert "Update these stacks? [y/N]" in ran.stderr
    assert ran.stderr.endswith("deployment: nothing was changed\n") is (code == 130)


@pytest.mark.usefixtures("terminal")
def test_an_update_with_yes_or_without_changes_asks_for_no_confirmation() -> None:
    Recorded.answer = {"consumer": result(step("same"))}
    ran = run("up")
    assert (ran.exit_code, Recorded.called[0]) == (0, "up")
    assert "Update these stacks?" not in ran.stderr
    Recorded.answer = {"consumer": result(step("update"))}
    ran = run("up", "--yes")
    assert (ran.exit_code, Recorded.called[0]) == (0, "up")
    assert "Update these stacks?" not in ran.stderr


def test_without_a_terminal_an_update_asks_for_no_confirmation() -> None:
    ran = run("up")
    assert (ran.exit_code, Recorded.called[0]) == (0, "up")
    assert "Update these stacks?" not in ran.output


def test_a_dry_run_is_a_preview() -> None:
    assert run("up", "--dry-run", "--refresh").exit_code == 0
    assert Recorded.called == ("preview", (), {"refresh": True})


@pytest.mark.filterwarnings("ignore:'deployment.__main__' found in sys.modules")
def test_a_command_skips_the_collection_at_exit(monkeypatch: pytest.MonkeyPatch) -> None:
    registered: list[object] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(sys, "argv", ["deployment", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_module("deployment", run_name="__main__")
    assert gc.freeze in registered


@pytest.mark.parametrize("as_json", [False, True])
def test_every_save_is_deployed_and_an_error_does_not_end_it(monkeypatch: pytest.MonkeyPatch, as_json: bool) -> None:
    asked: list[tuple[object, object]] = []

    def saves(folder: Path, stacks: list[str], builds: object) -> Iterator[Save]:
        for stack, files in (("registry", ()), ("consumer", ("app/app.py",)), ("consumer", ("app/app.py", "app/x"))):
            yield Save(files=files, stacks=frozenset({stack, "consumer"}), time=time.time() - 2)
            asked.append((Recorded.called[1:], builds))
            Recorded.answer = BuildError("no", stack="consumer") if len(asked) == 1 else {"consumer": good}

    good = dataclasses.replace(result(step("update")), checked="200 in 0.6 s")
    Recorded.answer = {"consumer": good}
    monkeypatch.setattr(command_line, "saves", saves)
    ran = run("watch", *(["--json"] if as_json else []))
    assert ran.exit_code == 0, ran.output
    assert [arguments for (arguments, _), _ in asked] == [(["registry", "consumer"],), (["consumer"],), (["consumer"],)]
    # Before each save.
    assert Recorded.prepared == [["consumer"]] * 4
    if as_json:
        lines = [json.loads(line) for line in ran.stdout.splitlines()]
        assert [line["saved"] for line in lines] == [[], ["app/app.py"], ["app/app.py", "app/x"]]
        assert lines[1]["stacks"]["consumer"]["error"] == "BuildError"
        assert 2 <= lines[2]["seconds"] < 100
    else:
        assert "consumer: no\n" in ran.stderr
        assert re.search(r"app/app.py: \d\d?\.\d s from save to error\n", ran.stdout)
        assert re.search(r"app/app.py, app/x: \d\d?\.\d s from save to answer\n", ran.stdout)


def test_a_save_ends_the_check_of_the_one_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Save(files=("app/x",), stacks=frozenset({"consumer"}), time=time.time(), is_outdated=lambda: True)
    monkeypatch.setattr(command_line, "saves", lambda *given: (save for save in [first]))
    assert "from save to next save\n" in run("watch").stdout
    assert Recorded.called[2]["stop"] is first.is_outdated


def test_a_cancelled_update_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    once = Save(files=(), stacks=frozenset({"consumer"}), time=time.time())
    monkeypatch.setattr(command_line, "saves", lambda *given: (save for save in [once, once]))
    Recorded.answer = errors.Cancelled("consumer was cancelled", stack="consumer")
    assert run("watch").exit_code == 130


@pytest.fixture
def ignoring() -> Iterator[None]:
    """A process that ignores SIGINT, as the shell of a script starts it in the background."""
    signals = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in signals]
    yield
    assert [signal.getsignal(number) for number in signals] == [signal.SIG_IGN] * 2
    for number, handler in zip(signals, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("ignoring")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["watch", "logs"])
def test_a_signal_ends_a_command_that_waits_also_in_the_background(
    monkeypatch: pytest.MonkeyPatch, command: str, number: signal.Signals
) -> None:
    def waiting(*given: object, **options: object) -> Iterator[Any]:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)  # as a user does who presses Ctrl-C twice
        yield pytest.fail("It was not interrupted.")

    monkeypatch.setattr(command_line, "saves", waiting)
    monkeypatch.setattr(aws, "logs", waiting)
    assert run(command).exit_code == 0


def test_ctrl_c_at_the_end_of_an_update_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    def sync(*given: object, **options: object) -> Any:
        signal.raise_signal(signal.SIGINT)
        return Recorded.answer

    once = Save(files=(), stacks=frozenset({"consumer"}), time=time.time())
    monkeypatch.setattr(command_line, "saves", lambda *given: (save for save in [once, once]))
    monkeypatch.setattr(Recorded, "sync", sync, raising=False)
    ran = run("watch")
    assert (ran.exit_code, ran.stderr.count("Interrupted"), ran.stderr.count("Watching")) == (0, 1, 0)


def test_history_shows_time_and_operation_and_user_and_image() -> None:
    update = Update(
        began="2026-01-01T00:00:00.000Z", operation="update", result="succeeded", changes={"update": 1, "same": 9},
        who="me@here, commit 1a2b3c4", image=f"sha256:{'a' * 64}",
    )  # fmt: skip
    Recorded.answer = [update, dataclasses.replace(update, who="", image="", changes={"same": 9})]
    assert run("history", "consumer").stdout.splitlines() == [
        "2026-01-01T00:00:00  update   succeeded  sha256:aaaaaaaaaaaa  me@here, commit 1a2b3c4",
        "  1 update",
        "2026-01-01T00:00:00  update   succeeded",
        "  no changes",
    ]
    known = json.loads(run("history", "consumer", "--json").stdout)["stacks"]["consumer"]
    assert known[0]["image"] == update.image


CALLED = aws.Function(stack="consumer", arn="arn:aws:lambda:eu-west-1:222222222222:function:f", log_group="g")


def test_logs_are_those_of_the_named_consumers_since_the_time_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def logs(functions: Any, seconds: float, *, follow: bool) -> Iterator[aws.Line]:
        given.extend([functions, seconds, follow])
        yield aws.Line(stack="consumer", time=datetime(2026, 1, 1, 12, tzinfo=UTC), text="hello")
        raise KeyboardInterrupt

    Recorded.answer = CALLED
    monkeypatch.setattr(aws, "logs", logs)
    ran = run("logs", "--since", "2h", "--follow", "--consumer", "consumer", "--consumer", "production")
    assert ran.exit_code == 0
    assert re.fullmatch(r"\d\d:\d\d:\d\d  consumer    hello\n", ran.stdout)
    assert given == [[CALLED, CALLED], 7200, True]
    assert Recorded.made["consumers"] == ["consumer", "production"]
    assert json.loads(run("logs", "--json").stdout)["text"] == "hello"
    assert run("logs", "--since", "soon").exit_code == 2
    units = {"90s": 90, "3m": 180, "1.5h": 5400, "2d": 172_800}
    for since, seconds in units.items():
        run("logs", "--since", since)
        assert given[-2] == seconds


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [([], b"{}"), (["--event", "-"], b'{"a": 1}'), (["--event", "event.json"], b'{"b": "\xc3\xa4"}\n')],
    ids=["none", "standard input", "file"],
)
def test_a_function_is_invoked_with_its_answer_on_stdout_and_its_log_on_stderr(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], expected: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("event.json").write_bytes(b'{"b": "\xc3\xa4"}\n')
    given: list[Any] = []
    answer = aws.Answer(body='{"statusCode": 200}', failed=False, log=("hello",))
    monkeypatch.setattr(aws, "invoke", lambda *arguments: given.append(arguments) or answer)
    Recorded.answer = CALLED
    ran = CliRunner().invoke(command_line.app, ["invoke", "consumer", *arguments], input='{"a": 1}')
    assert (ran.exit_code, ran.stdout, ran.stderr) == (0, '{"statusCode": 200}\n', "hello\n")
    assert given == [(CALLED, expected)]
    answer = dataclasses.replace(answer, failed=True)
    assert run("invoke", "consumer").exit_code == 1
    for wrong in ("nowhere.json", "text.json"):
        Path("text.json").write_text("hello")
        ran = run("invoke", "consumer", "--event", wrong)
        assert (ran.exit_code, len(given)) == (2, 2)
        assert f"{wrong} is no file with JSON" in ran.stderr


def test_a_comment_is_written_even_if_a_preview_fails(tmp_path: Path) -> None:
    error = BuildError("no Docker", stack="consumer")
    error.outcomes = {"consumer": error}
    Recorded.answer = error
    with chdir(tmp_path):
        ran = run("preview", "--comment", "comment.md")
        assert ran.exit_code == 5
        assert "no Docker" in Path("comment.md").read_text()
    ran = run("preview", "--comment", "-")
    assert ran.stdout.startswith("<!-- deployment preview -->\n")
    assert ran.stdout.count("no Docker") == 1


@pytest.mark.parametrize(
    ("operation", "expected"),
    [("preview", "1 to update, 1 unchanged"), ("up", "1 updated, 1 unchanged"), ("drift", "1 changed, 1 unchanged")],
)
def test_a_summary_is_in_the_words_of_the_operation(operation: str, expected: str) -> None:
    assert summary(result(step("update"), step("same", "other"), operation=operation)) == expected


def test_away_from_a_terminal_each_change_and_each_warning_is_a_line_and_passing_ones_are_none() -> None:
    console = Console(force_terminal=False, width=200, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    shown = view(console)
    assert isinstance(shown, PlainView)
    warning = errors.Diagnostic(stack="consumer", severity="warning", text="mind the gap")
    with shown:
        for event in (
            step("create", state="started"),
            Progress(stack="consumer", text="#7"),
            step("create"),
            step("same"),
            warning,
            warning,
        ):
            shown.tell(event)
    assert console.export_text().splitlines() == [
        "consumer     created   Lambda function  function",
        "consumer     warning   mind the gap",
    ]


def test_on_a_terminal_each_stack_has_a_line_that_says_what_it_is_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deployment.view.time.monotonic", lambda: 0.0)
    console = Console(force_terminal=True, width=120, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    shown = view(console)
    assert isinstance(shown, LiveView)
    with shown:
        shown.tell(step("same", "role"))
        shown.tell(step("create", state="started"))
        shown.tell(step("same", stack="production"))
    console.export_text()
    console.print(shown._table())
    first, second = console.export_text().splitlines()
    assert first.split() == ["consumer", "0", "s", "creating", "Lambda", "function", "function", "1", "unchanged"]
    assert second.startswith("production")


@pytest.mark.parametrize("terminal", [True, False])
def test_events_of_all_threads_are_printed_by_one_thread(terminal: bool) -> None:
    """`rich` imports as it prints; threads that do so at once have seen its modules half loaded."""
    printing = set[int]()

    class File(io.StringIO):
        def write(self, text: str) -> int:
            printing.add(threading.get_ident())
            return super().write(text)

    console = Console(force_terminal=terminal, file=File())
    with view(console) as shown, ThreadPoolExecutor(8) as pool:
        for number in range(40):
            pool.submit(shown.tell, step("create", f"function-{number}"))
            pool.submit(shown.tell, errors.Diagnostic(stack="consumer", severity="warning", text=f":gear: {number}"))
        shown.say("Interrupted")
    assert len(printing) == 1
    assert threading.get_ident() not in printing


@pytest.mark.parametrize("name", [command.name for command in command_line.app.registered_commands])
def test_every_command_has_help_with_an_example(name: str) -> None:
    assert f"python -m deployment {name}" in run(name, "--help").stdout


def test_exit_codes_are_in_the_help_and_in_the_documentation() -> None:
    shown = run("--help").stdout
    for code, meaning in command_line.EXIT_CODES.items():
        assert f"{code:<4} {meaning}" in re.sub("\n {7,}", " ", shown)
        assert f"| {code} | {meaning} |" in PAGES


def test_help_names_defaults_in_one_way() -> None:
    shown = run("up", "--help").stdout
    assert "[default: consumer]" in shown
    assert "(" not in "".join(re.findall(r"\[default: [^]]*", shown))


def test_a_time_of_zero_is_refused_with_what_is_allowed() -> None:
    assert "0 is given; allowed are seconds above 0" in re.sub(r"\s+", " ", run("up", "--timeout", "0").stderr)


def test_without_a_command_the_help_is_shown() -> None:
    assert run("--help").stdout.strip() in run().output


def test_a_shell_completes_commands_options_and_stacks() -> None:
    script = f"""
        PATH={Path(sys.executable).parent}:$PATH
        {run("completion", "bash").stdout}
        COMP_WORDS=(deployment up --ch); COMP_CWORD=2
        _deployment_completion
        echo ${{COMPREPLY[@]}}
    """
    ran = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert ran.stdout == "--check --check-seconds\n"
    # In the same way as the script, without a start of Python for each.
    for words, expected in (("hist", "history"), ("repair c", "consumer")):
        asked = {"COMP_WORDS": f"deployment {words}", "COMP_CWORD": str(len(words.split()))}
        environment = {"_DEPLOYMENT_COMPLETE": "complete_bash", **asked}
        completed = CliRunner().invoke(command_line.app, [], prog_name="deployment", env=environment)
        assert completed.stdout == f"{expected}\n"
    assert "Shell sh not supported." in run("completion", "sh").output


def test_other_shells_have_a_script_that_calls_the_module() -> None:
    for shell, function in (("zsh", 'deployment() { python -m deployment "$@"; }'), ("fish", "function deployment;")):
        ran = run("completion", shell)
        assert ran.stdout.startswith(function)
        assert f"complete_{shell} " in ran.stdout
        assert ran.stdout.count("python -m deployment") == {"zsh": 2, "fish": 3}[shell]
    assert run("completion", "sh").exit_code == 1


def documented_arguments() -> list[str]:
    """The arguments of each deployment command on a page."""
    prefix = "python -m deployment "
    return sorted({command.text.removeprefix(prefix) for command in commands() if command.text.startswith(prefix)})


@pytest.mark.parametrize("command", documented_arguments())
def test_every_documented_command_is_one(command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # `--comment` writes a file
    monkeypatch.setattr(command_line, "merge_base", lambda folder, base: "")
    answers = {"status": {}, "history": [], "promote": result(), "rollback": result(), "repair": result()}
    name, *arguments = shlex.split(command)
    monkeypatch.setattr(aws, "logs", lambda *functions, **options: [])
    monkeypatch.setattr(command_line, "saves", lambda *given: (save for save in ()))
    monkeypatch.setattr(aws, "invoke", lambda *arguments: aws.Answer(body="{}", failed=False, log=()))
    Recorded.answer = answers.get(name, {"consumer": result()})
    # It asks on a terminal.
    arguments += ["--help"] if name == "init" else []
    assert run(name, *arguments).exit_code == 0


def test_the_documented_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    page = Path("docs/deployment.md").read_text()
    [block] = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    urn = "urn:pulumi:production::p::pulumi:pulumi:Stack::production"
    outputs = {"endpointUrl": "https://one"}
    changed = Step(stack="production", urn=urn, operation="update", state="done", new=outputs)
    Recorded.answer = {"production": result(changed, step("update"), stack="production")}
    monkeypatch.setattr("deployment.Deployment", Recorded)
    exec(compile(block, "documentation", "exec"), {})  # noqa: S102  # what a reader would run
    assert Recorded.called == ("up", (), {"check": Check()})
    assert capsys.readouterr().out == "{'update': 1} https://one\n"
    Recorded.made["on_event"](step("create"))
    assert capsys.readouterr().out == f"consumer create {FUNCTION} function\n"
