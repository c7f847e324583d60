"""Events, results, errors and the check of `deployment/`, without an engine."""

import asyncio
import json
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pulumi.automation import CommandError, CommandResult, EngineEvent, PulumiCommand, Stack
from pulumi.automation.errors import create_command_error

from components.errors import RegistryUnusable
from components.image import manifest
from deployment import (
    BLINDED,
    UNKNOWN,
    Backend,
    Check,
    Deployment,
    Diagnostic,
    Options,
    Progress,
    StackResult,
    Step,
    Violation,
    errors,
)
from deployment.command import InterruptibleCommand
from deployment.deployment import _in_accounts, _steps, _under_way
from deployment.events import SECRET_SIGN, SIGN, UNKNOWN_SIGN, translated
from deployment.workspace import Workspace
from tests.unit.reach import examples, reached, reaches

FUNCTION = "aws:lambda/function:Function"
STAGE = "aws:apigateway/stage:Stage"
STACK = "pulumi:pulumi:Stack"
IMAGE, DOCKER, AWS = "docker:index/image:Image", "pulumi:providers:docker", "pulumi:providers:aws"


def urn(kind: str = FUNCTION, name: str = "function") -> str:
    return f"urn:pulumi:consumer::cross-account-ecr::cross-account-ecr:index:ImageFunction${kind}::{name}"


def engine_event(**event: Any) -> EngineEvent:
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, **event})


def failed(stderr: str = "") -> CommandError:
    return create_command_error(CommandResult(stdout="", stderr=stderr, code=255))


def error_at(kind: str, text: str) -> Diagnostic:
    return Diagnostic(stack="consumer", urn=urn(kind) if kind else "", severity="error", text=text)


def test_a_step_has_placeholders_for_secret_and_unknown_inputs() -> None:
    secret = {SIGN: SECRET_SIGN, "ciphertext": "[secret]"}
    state = {"type": FUNCTION, "urn": urn(), "id": "", "parent": "", "provider": ""}
    metadata = {
        "op": "update",
        "urn": urn(),
        "type": FUNCTION,
        "provider": "",
        "old": {**state, "inputs": {"memorySize": 128}, "retainOnDelete": True},
        "new": {**state, "inputs": {"list": [secret], "imageUri": UNKNOWN_SIGN}},
        "detailedDiff": {"imageUri": {"diffKind": "update", "inputDiff": True}},
        "keys": ["name"],
    }
    step = translated("consumer", engine_event(resourcePreEvent={"metadata": metadata, "planning": True}))
    assert isinstance(step, Step)
    assert (step.type, step.name, step.operation, step.state) == (FUNCTION, "function", "update", "planned")
    assert (step.old, step.new) == ({"memorySize": 128}, {"list": [BLINDED], "imageUri": UNKNOWN})
    assert (step.changed, step.forcing, step.retained) == (("imageUri",), ("name",), True)


def test_what_providers_are_working_on_is_neither_components_nor_what_is_done() -> None:
    def event(kind: str, operation: str = "create", custom: bool = True) -> dict[str, Any]:
        state = {"type": kind, "urn": urn(kind), "id": "", "parent": "", "provider": "", "custom": custom, "inputs": {}}
        return {"metadata": {"op": operation, "urn": urn(kind), "type": kind, "provider": "", "new": state}}

    begun = [
        event(STACK, custom=False),
        event("cross-account-ecr:index:X", custom=False),
        event(IMAGE),
        event(FUNCTION),
    ]
    seen = [translated("consumer", engine_event(resourcePreEvent=item)) for item in [*begun, event("aws:a:b", "same")]]
    seen.append(translated("consumer", engine_event(resOutputsEvent=event(FUNCTION))))
    assert _under_way([item for item in seen if item]) == {IMAGE}


def test_progress_and_diagnostics_and_violations_are_separate_events() -> None:
    line = {"message": "<{%reset%}>#7 RUN x\n", "color": "raw", "severity": "info", "urn": urn()}
    passing = translated("consumer", engine_event(diagnosticEvent={**line, "ephemeral": True}))
    lasting = translated("consumer", engine_event(diagnosticEvent={**line, "severity": "info#err"}))
    policy = {"message": "no", "color": "", "policyName": "digest", "enforcementLevel": "mandatory"}
    violation = translated("consumer", engine_event(policyEvent={**policy, "resourceUrn": urn()}))
    assert passing == Progress(stack="consumer", urn=urn(), text="#7 RUN x")
    assert lasting == Diagnostic(stack="consumer", urn=urn(), severity="info", text="#7 RUN x")
    assert violation == Violation(stack="consumer", urn=urn(), severity="error", text="digest: no", policy="digest")


def test_a_provider_that_the_program_configures_otherwise_has_not_drifted() -> None:
    providers = ["pulumi:providers:aws", "pulumi:providers:pulumi", DOCKER]
    steps = [
        Step(stack="consumer", urn=urn(kind), operation="update", state="planned") for kind in (*providers, FUNCTION)
    ]
    assert [step.type for step in _in_accounts(steps)] == [FUNCTION]


def test_a_result_has_each_resource_once_a_replacement_as_a_whole() -> None:
    def step(operation: str, kind: str = FUNCTION, state: Any = "done", **values: Any) -> Step:
        return Step(stack="consumer", urn=urn(kind), operation=operation, state=state, **values)

    seen = [
        step("create-replacement"),
        step("replace"),
        step("delete-replaced"),
        step("refresh", "aws:iam/role:Role", "planned"),
        step("update", "aws:iam/role:Role", "planned"),
        step("same", "aws:iam/role:Role", "planned"),
        step("import", "aws:ecr/repository:Repository"),
        step("create", "aws:a:b", "started"),
        step("same", STACK, old={"a": 1}, new={"a": 2}),
    ]
    result = StackResult(stack="consumer", operation="up", steps=_steps(seen), seconds=1, log=Path("log"))
    assert result.changes == {"replace": 1, "update": 1, "import": 1}
    assert (result.outputs_before, result.outputs) == ({"a": 1}, {"a": 2})


@pytest.mark.parametrize(
    ("said", "of_publishers"),
    [
        ("invocation of aws:index/getCallerIdentity:getCallerIdentity returned an error: {}", False),
        ("invocation of aws:ecr/getImages:getImages returned an error: {}", True),
    ],
)
def test_publishers_are_named_only_where_the_registrys_credentials_are_wrong(said: str, of_publishers: bool) -> None:
    text = said.format("AWS account ID not allowed: 333333333333")
    error = errors.translated("consumer", failed(), [error_at(STACK, text)])
    assert isinstance(error, errors.CredentialsError)
    assert ("publishers" in error.hint) == of_publishers


def test_a_session_that_expires_in_an_update_leaves_what_was_done() -> None:
    error = errors.translated("consumer", failed(), [error_at(FUNCTION, "ExpiredTokenException: it has expired")])
    assert isinstance(error, errors.CredentialsError)
    assert "pulumi up --refresh" in error.hint


ROLE = "arn:aws:iam::111111111111:role/pusher"
REPOSITORY = "aws:ecr/repository:Repository"
NOT_ASSUMED = f"Cannot assume IAM Role. IAM Role ({ROLE}) cannot be assumed. Error:"


@pytest.mark.parametrize(
    ("kind", "text", "expected", "fix"),
    [
        (STACK, "memory: 1 is not allowed", errors.ConfigurationError, "nothing was created"),
        ("", "memory: 1 is not allowed", errors.ConfigurationError, "nothing was created"),
        (
            "",
            "an unhandled error occurred: Program exited with code: 2",
            errors.DeploymentError,
            "pulumi preview -s consumer",
        ),
        (IMAGE, "error reading build output: exit code: 3", errors.BuildError, "deploy again"),
        (IMAGE, "error getting credentials - docker-credential-x not found", errors.BuildError, "deploy again"),
        (IMAGE, "denied: Your authorization token has expired.", errors.BuildError, "deploy again"),
        (IMAGE, "EOF", errors.BuildError, "deploy again"),
        (DOCKER, "failed to connect to any docker daemon", errors.BuildError, "--no-build"),
        (DOCKER, "no credentials", errors.BuildError, "--no-build"),
        (AWS, "AWS account ID not allowed: 222222222222", errors.CredentialsError, "of account 222222222222"),
        (
            AWS,
            f"{NOT_ASSUMED} User: arn:me is not authorized to perform: sts:AssumeRole on resource: {ROLE}",
            errors.CredentialsError,
            f"sts:AssumeRole on {ROLE}: the policy of arn:me, and the role's trust policy",
        ),
        (
            AWS,
            f"{NOT_ASSUMED} Not authorized to perform sts:AssumeRoleWithWebIdentity",
            errors.CredentialsError,
            "subject and audience",
        ),
        (
            AWS,
            f"{NOT_ASSUMED} failed to retrieve jwt from provide source, open token",
            errors.CredentialsError,
            "webIdentityTokenFile",
        ),
        (
            AWS,
            f"{NOT_ASSUMED} api error ExpiredToken: The security token is expired",
            errors.CredentialsError,
            "AWS_SESSION_TOKEN",
        ),
        (AWS, "No valid credential sources found.", errors.CredentialsError, "get-caller-identity"),
        (FUNCTION, "The role defined for the function cannot be assumed by Lambda.", errors.ProviderError, "--refresh"),
        (AWS, "failed to get shared config profile, other", errors.CredentialsError, "configure sso --profile other"),
        (AWS, 'The AWS profile "other" was not found', errors.CredentialsError, "configure sso --profile other"),
        (AWS, "The AWS login session for x has expired", errors.CredentialsError, "aws sso login"),
        (AWS, "no EC2 IMDS role found", errors.CredentialsError, "get-caller-identity"),
        (STACK, "invocation failed: no EC2 IMDS role found", errors.CredentialsError, "get-caller-identity"),
        (FUNCTION, "ExpiredTokenException: the token has expired", errors.CredentialsError, "aws sso login"),
        (FUNCTION, "The security token included is invalid", errors.CredentialsError, "get-caller-identity"),
        (FUNCTION, "InvalidParameterValueException", errors.ProviderError, "pulumi up --refresh"),
        (FUNCTION, "no credentials in the secret", errors.ProviderError, "pulumi up --refresh"),
        (REPOSITORY, "it cannot be deleted because it is protected", errors.ProviderError, "forceDelete: true"),
        (REPOSITORY, "not empty, consider using force_delete", errors.ProviderError, "protect: false"),
        (
            STAGE,
            "BadRequestException: CloudWatch Logs role ARN must be set in account settings to enable logging",
            errors.ProviderError,
            "loggingRole: true",
        ),
        (
            DOCKER,
            "no resource plugin 'pulumi-resource-docker' found in the workspace at version v5.2.0 or on your $PATH",
            errors.DeploymentError,
            "pulumi plugin install resource docker v5.2.0,",
        ),
    ],
)
def test_an_error_is_classified_by_its_resource_and_then_by_its_message(
    kind: str, text: str, expected: type[errors.DeploymentError], fix: str
) -> None:
    of_the_stack, first = error_at(STACK, "update failed"), error_at(kind, f"Preview failed: {text}")
    lines = [first, of_the_stack] if kind in ("", STACK) else [of_the_stack, first]
    error = errors.translated("consumer", failed(), lines)
    assert type(error) is expected
    assert (str(error), error.stack, error.urn) == (text, "consumer", first.urn)
    assert fix in error.hint


def test_a_build_error_has_the_failed_step_and_its_last_lines() -> None:
    """The real provider's error has no output; the lines come before it, each step under its digest."""
    step = "digest: sha256:2\n[3/4] RUN make"
    passing = ["digest: sha256:1\n[2/4] RUN pip", "of pip", f"digest: sha256:1\n[2/4] RUN pip\n{step}"]
    passing += [*(f"line {number}" for number in range(30)), f"{step}\nerror: executor failed running: exit code: 2"]
    elsewhere = Progress(stack="consumer", urn=urn(IMAGE, "another"), text="another build")
    lines = [Progress(stack="consumer", urn=urn(IMAGE), text=text) for text in passing]
    error = errors.translated("consumer", failed(), [*lines, elsewhere, error_at(IMAGE, "error reading build output")])
    said = str(error).splitlines()
    assert said[:3] == ["error reading build output", "The failed step: [3/4] RUN make", "  line 10"]
    assert said[-1] == "  line 29"


def test_all_policy_violations_are_in_one_error() -> None:
    lines = [
        Violation(stack="consumer", urn=urn(), severity="error", text=text, policy="a") for text in ("a: no", "b: no")
    ]
    error = errors.translated("consumer", failed(), lines)
    assert type(error) is errors.PolicyViolated
    assert str(error) == "a: no\nb: no"


def test_a_conflict_names_the_holder() -> None:
    text = (
        "error: the stack is currently locked by 1 lock(s). Either wait for the other process(es) to end or delete "
        "the lock file with `pulumi cancel`.\n  s3://state/x.json: created by me@host (pid 7) at 2026-01-01T00:00:00Z"
    )
    error = errors.translated("consumer", failed(text), [])
    assert isinstance(error, errors.ConflictError)
    assert error.holder == "me@host, process 7, since 2026-01-01T00:00:00Z"
    assert "python -m deployment repair consumer" in error.hint


def test_a_failure_without_a_diagnostic_has_the_last_error_of_the_cli() -> None:
    assert str(errors.translated("consumer", failed("warning: x\nerror: no such bucket\n"), [])) == "no such bucket"
    assert "without an error message" in str(errors.translated("consumer", failed("warning: x"), []))


@pytest.mark.parametrize(
    ("said", "expected", "hint"),
    [
        ("unable to open state directory: no such file", errors.ConfigurationError, "--backend file://"),
        ("unable to open bucket: failed to get shared config profile, x", errors.CredentialsError, "&profile="),
        ('read ".pulumi/meta.yaml": no EC2 IMDS role found', errors.CredentialsError, "&profile="),
        ("PULUMI_ACCESS_TOKEN must be set for login", errors.CredentialsError, "pulumi login"),
    ],
)
def test_the_error_for_a_missing_or_forbidden_backend_says_how_to_name_one(
    said: str, expected: type[errors.DeploymentError], hint: str
) -> None:
    error = errors.translated("consumer", failed(f"error: {said}\n"), [])
    assert (type(error), str(error)) == (expected, said)
    assert hint in error.hint


def test_a_refused_pull_names_drift_as_a_cause_and_the_command_that_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the text of the program itself."""
    monkeypatch.setattr(manifest, "WAIT_SECONDS", ())
    refused = SimpleNamespace(url="x", get=lambda path: (403, b""))
    with pytest.raises(RegistryUnusable) as raised:
        asyncio.run(manifest._pull(cast("manifest.RepositoryReader", refused), "manifests/v1"))
    error = errors.translated("consumer", failed(), [error_at("", str(raised.value))])
    assert type(error) is errors.ConfigurationError
    assert "python -m deployment drift" in error.hint
    assert "python -m deployment up --refresh" in error.hint


def test_a_stack_file_that_pulumi_cannot_read_is_refused_as_configuration() -> None:
    said = "getting stack configuration: invalid YAML file: yaml: line 1: did not find expected ',' or ']'"
    error = errors.translated("consumer", failed(f"error: {said}\n"), [])
    assert type(error) is errors.ConfigurationError
    assert str(error) == said
    assert "Pulumi.consumer.yaml" in error.hint


def test_each_kind_of_error_ends_the_command_line_with_a_code_of_its_own() -> None:
    kinds = errors.DeploymentError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert errors.ProviderError.exit_code == errors.DeploymentError.exit_code == 1


class Command(PulumiCommand):
    """The CLI, of which only the arguments are noted."""

    def __init__(self) -> None:
        self.command, self.version = "pulumi", None
        self.ran: list[list[str]] = []

    def run(self, args: list[str], *rest: Any, **options: Any) -> CommandResult:
        self.ran.append(args)
        return CommandResult(stdout="", stderr="", code=0)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    text = (
        "name: p\nruntime: {name: python, options: {virtualenv: .venv}}\nconfig: {account: {default: 012345678989}}\n"
    )
    (tmp_path / "Pulumi.yaml").write_text(text)
    return tmp_path


def files(stack: Stack) -> tuple[str, bytes]:
    folder = Path(stack.workspace.work_dir)
    return (folder / "Pulumi.yaml").read_text(), (folder / f"Pulumi.{stack.name}.yaml").read_bytes()


def test_the_cli_reads_the_users_stack_file_byte_for_byte(project: Path) -> None:
    text = "# \u00fc\r\nconfig: {p:a: 012345678989, p:b: 12e9, p:c: '12e9', p:d: yes,\t p:e: 0o17}".encode()
    (project / "Pulumi.one.yaml").write_bytes(text)
    workspace, command = Workspace(project, Backend(), {}), Command()
    kept, copy = files(workspace.stack("one", command, None, {}))
    assert copy == text
    assert "default: 012345678989" in kept
    settings = yaml.safe_load(kept)
    assert settings["main"] == str(project)
    assert settings["runtime"]["options"]["virtualenv"] == str(project / ".venv")
    assert [args[0] for args in command.ran] == ["stack"]


def test_what_a_run_changes_is_set_by_the_cli(project: Path) -> None:
    (project / "Pulumi.one.yaml").write_text("config: {}\n")
    workspace, command = Workspace(project, Backend(), {}), Command()
    changes = {"image": {"digest": "sha256:1"}, "function.release.previousShare": 0.9}
    assert files(workspace.stack("one", command, None, changes))[1] == b"config: {}\n"
    image, share = [args for args in command.ran if args[0] == "config"]
    assert image[:3] == ["config", "set-all", "--json"]
    assert json.loads(json.loads(image[3])["p:image"]["value"]) == {"digest": "sha256:1"}
    assert share[1:] == [
        "set", "--plaintext", "--type", "float", "--path", "p:function.release.previousShare", "0.9", "--stack", "one",
    ]  # fmt: skip


def test_a_stack_without_a_file_is_refused(project: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match="there is no Pulumi.two.yaml"):
        Workspace(project, Backend(), {}).stack("two", Command(), None, {})


UPDATE = {"kind": "update", "startTime": "2026-01-01T00:00:00.000Z", "message": "", "environment": {}, "config": {}}
CLI = f"""\
#!/bin/bash
echo "$*" >> "$CALLS"
case "$*" in
  *version*) echo v3.274.1 ;;
  *"stack export"*) echo "$STATE" ;;
  *"stack output"*) echo {{}} ;;
  *"show confirmations"*) echo "$PULUMI_SKIP_CONFIRMATIONS" ;;
  *"stack history"*) echo '{json.dumps([{**UPDATE, "result": "succeeded"}])}' ;;
  *" up "*) [ "$ENDS" ] || {{ trap '' INT; while :; do sleep 0.1; done; }} ;;
esac
"""


@pytest.fixture
def calls(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A CLI that notes what it is called with; its `up` ends if `ENDS` is set. Gives the calls so far."""
    (project / "Pulumi.consumer.yaml").write_text("config: {}\n")
    (tmp_path / "pulumi").write_text(CLI)
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("STATE", json.dumps({"version": 3, "deployment": {}}))
    return lambda: [line.removeprefix("--non-interactive ") for line in (tmp_path / "calls").read_text().splitlines()]


def test_a_cli_that_does_not_end_is_killed_and_its_lock_removed(
    project: Path, calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CALL_SECONDS", "ENGINE_SECONDS"):
        monkeypatch.setattr(f"deployment.deployment.{name}", 0.05)
    with (
        Deployment(project, registry=None, options=Options(timeout=1)) as deployment,
        pytest.raises(errors.TimedOut, match=r"longer than 1 s"),
    ):
        deployment.up()
    assert [call.split()[0] for call in calls()][-3:] == ["up", "cancel", "stack"]


def test_without_the_cli_the_error_says_where_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(errors.ConfigurationError, match="no usable `pulumi` on PATH") as refused:
        InterruptibleCommand()
    assert (refused.value.stack, "download-install" in refused.value.hint) == ("", True)


def test_a_users_confirmation_of_everything_does_not_reach_the_cli(
    calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_SKIP_CONFIRMATIONS", "true")
    command = InterruptibleCommand()
    assert command.run(["show", "confirmations"], ".", {}).stdout == "false"


@pytest.mark.parametrize(
    ("state", "check", "refreshed"),
    [
        ({}, None, False),
        ({"resources": [{"urn": "u", "type": FUNCTION, "initErrors": ["refused"]}]}, None, True),
        ({"resources": [{"urn": "u", "type": FUNCTION}]}, Check(), True),
    ],
    ids=["in order", "failed update", "checked"],
)
def test_a_state_that_may_be_wrong_is_refreshed(
    project: Path,
    calls: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    state: dict[str, Any],
    check: Check | None,
    refreshed: bool,
) -> None:
    monkeypatch.setenv("STATE", json.dumps({"version": 3, "deployment": state}))
    monkeypatch.setenv("ENDS", "yes")
    settings = {"consumer": {"api": {"public": True}}}
    with Deployment(project, registry=None, settings=settings) as deployment:
        deployment.up(check=check)
    [up] = [call for call in calls() if call.startswith("up ")]
    assert ("--refresh" in up) == refreshed


def test_images_that_were_being_created_are_taken_out_of_the_state(
    project: Path, calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pushed image is found by its tag. What else was being created may exist, which AWS alone can tell."""
    pending = [{"type": "creating", "resource": {"urn": "u", "type": kind}} for kind in (IMAGE, FUNCTION)]
    state = {"version": 3, "deployment": {"pending_operations": pending}}
    monkeypatch.setenv("STATE", json.dumps(state))
    monkeypatch.setenv("ENDS", "yes")
    with Deployment(project, registry=None) as deployment:
        deployment.up()
        [written] = [Path(call.split()[3]) for call in calls() if call.startswith("stack import")]
        assert json.loads(written.read_text()) == {"version": 3, "deployment": {"pending_operations": pending[1:]}}


PLAIN = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()


@reaches("nothing", "switch", "number", "text", "list", least=1)
@examples(2)
@given(PLAIN | st.recursive(PLAIN, st.lists, max_leaves=5))
def test_given_settings_take_the_place_of_a_files_configuration_and_of_nothing_else(value: Any) -> None:
    kinds = {"nothing": type(None), "switch": bool, "number": int, "text": str, "list": list}
    reached(**{kind: type(value) is each for kind, each in kinds.items()})
    with tempfile.TemporaryDirectory() as name:
        project = Path(name)
        (project / "Pulumi.yaml").write_text("name: p\nruntime: python\n")
        (project / "Pulumi.one.yaml").write_text("encryptionsalt: 012:x\nconfig: {p:other: 1}\n")
        config = {"value": value, "function": {"release": {}}, "aws:x": "y"}
        workspace = Workspace(project, Backend(), {})
        stack = workspace.stack("one", Command(), config, {"function.release.previousShare": 0.5})
        written = yaml.safe_load(files(stack)[1])
    assert written["encryptionsalt"] == "012:x"
    full = {"p:value": value, "p:function": {"release": {"previousShare": 0.5}}, "aws:x": "y"}
    assert written["config"] == full


@pytest.mark.parametrize("content", [None, "a: [", ""])
def test_a_folder_without_a_project_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "Pulumi.yaml").write_text(content)
    with pytest.raises(errors.ConfigurationError):
        Workspace(tmp_path, Backend(), {})


def test_no_secret_is_in_the_text_of_a_backend_or_a_check() -> None:
    told = f"{Backend(passphrase='hunter2')} {Check(headers={'x-api-key': 'hunter2'})}"
    assert "hunter2" not in told


class Answers(BaseHTTPRequestHandler):
    """Answers with the next status of a list; the last one for ever."""

    statuses: list[int]

    def do_GET(self) -> None:  # named by the library
        """Answer, with the request's key as the body."""
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(self.headers.get("x-api-key", "").encode())

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002  # named by the library
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("statuses", "answers", "problem"),
    [
        ([200], 1, ""),
        ([500, 503, 200], 1, ""),
        ([200, 500, 200], 2, ""),
        ([403], 1, "403 "),
        ([200, 500], 2, "500 "),
    ],
)
def test_a_check_waits_for_good_answers_in_a_row(
    endpoint: str, statuses: list[int], answers: int, problem: str
) -> None:
    Answers.statuses = statuses
    check = Check(seconds=1 if problem else 60, interval=0.01, answers=answers)
    assert check.problem(endpoint) == problem


def test_a_check_ends_with_the_last_answer_that_it_needs(endpoint: str) -> None:
    Answers.statuses = [500, 200, 200, 503]
    assert Check(interval=0.01, answers=2).problem(endpoint) == ""
    assert Answers.statuses == [503]


def test_a_request_that_the_end_of_a_check_cuts_off_does_not_hide_the_answer_before_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0

    def ask(check: Check, url: str, seconds: float) -> tuple[str, bool]:
        nonlocal now
        now += 40
        return ("502 no", False) if now < 60 else ("no answer: timed out", False)

    monkeypatch.setattr(Check, "_ask", ask)
    monkeypatch.setattr("deployment.check.time", SimpleNamespace(monotonic=lambda: now))
    assert Check(seconds=60, interval=0).problem("") == "502 no"


def test_the_last_request_of_a_check_takes_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[float] = []

    def ask(check: Check, url: str, seconds: float) -> tuple[str, bool]:
        limits.append(seconds)
        return "502 no", False

    monkeypatch.setattr(Check, "_ask", ask)
    assert Check(seconds=0.01, interval=0.02).problem("") == "502 no"
    assert limits == [1]


def test_a_caller_decides_what_a_good_answer_is_and_what_is_sent(endpoint: str) -> None:
    Answers.statuses = [418]
    check = Check(accepts=lambda status, body: (status, body) == (418, b"key"), headers={"x-api-key": "key"})
    assert check.problem(endpoint) == ""


def test_a_cancelled_check_ends_without_waiting() -> None:
    assert Check(seconds=600, interval=600).problem("http://127.0.0.1:1/", lambda: True).startswith("no answer")


def test_a_check_is_stopped_while_the_endpoint_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        assert "stopped" in Check(seconds=60).problem(url, lambda: time.monotonic() > began + 0.2)
    assert time.monotonic() < began + 30
