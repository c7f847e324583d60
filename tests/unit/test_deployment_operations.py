"""What `Deployment` asks of the CLI, in which order, with which options and configuration, and what it makes of it."""

import getpass
import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pulumi.automation import CommandResult, PulumiCommand, _stack
from pulumi.automation.errors import create_command_error
from typer.testing import CliRunner

from components.errors import ImageUnusable
from deployment import (
    Backend,
    Cancelled,
    Check,
    CheckFailed,
    Checking,
    ConfigurationError,
    ConflictError,
    Deployment,
    DeploymentError,
    Diagnostic,
    Ended,
    Event,
    Options,
    ProviderError,
    TimedOut,
)
from deployment.__main__ import app
from deployment.command import InterruptibleCommand
from stacks import consumer
from tests.unit.conftest import Run
from tests.unit.fake_cli import HISTORY, SECRET, STACK_TYPE, Call, Failure, FakeCli, State, urn, wait
from tests.unit.recorder import Recorder, consumer_settings
from tests.unit.registered import deploy_consumer, run_program

RELEASE = {"function": {"memory": 128, "release": {"errorAlarm": True}}, "api": {"path": "hello", "public": True}}
PUBLIC = {"api": {"path": "hello", "public": True}}
Deploy = Callable[..., Deployment]
Tell = Callable[[str, float], None]
Stop = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Verdict(Check):
    """A check that fails for some images.

    Attributes:
        cli: where the images run.
        bad: their digests.
        asked: the digests that were checked, with the share of the calls that the previous one kept.
    """

    cli: FakeCli
    bad: Sequence[str] = ()
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def problem(self, url: str, stop: Stop = lambda: False, tell: Tell = lambda answer, left: None) -> str:
        stack = url.rpartition("/")[2]
        digest = self.cli.stacks[stack].outputs["imageDigest"]
        self.asked.append((digest, previous_share(self.cli.of("up", stack)[-1])))
        problem = "500 no." if digest in self.bad else ""
        tell(problem or "200", 60)
        return problem


def previous_share(call: Call) -> Any:
    return (call.config.get("function", {}).get("release") or {}).get("previousShare")


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> FakeCli:
    fake = FakeCli()

    def run(command: InterruptibleCommand, *arguments: Any, **named: Any) -> CommandResult:
        if command.interrupted.is_set():
            raise create_command_error(CommandResult(stdout="", stderr="interrupted", code=-2))
        return fake.run(command, *arguments, **named)

    monkeypatch.setattr(PulumiCommand, "__init__", lambda command: None)
    # From a version that writes its events to a file.
    monkeypatch.setattr(PulumiCommand, "version", "3.200.0", raising=False)
    monkeypatch.setattr(PulumiCommand, "run", fake.run)
    monkeypatch.setattr(InterruptibleCommand, "run", run)
    # The SDK looks for new events every 0.1 s, which here is most of the time of an operation.
    follow = _stack._watch_logs
    monkeypatch.setattr(
        _stack,
        "_watch_logs",
        lambda log, on_event, stop: follow(log, on_event, SimpleNamespace(wait=lambda _: stop.wait(0.001))),
    )
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text("name: p\nruntime: python\n")
    for stack in ("registry", "consumer", "second"):
        (tmp_path / f"Pulumi.{stack}.yaml").write_text("config:\n  p:api: {path: hello, public: true}\n")
    return tmp_path


@pytest.fixture
def deploy(cli: FakeCli, folder: Path) -> Iterator[Deploy]:
    """A deployment of a registry and of consumers with the same settings."""
    made: list[Deployment] = []

    def start(
        consumers: Sequence[str] = ("consumer",), settings: Mapping[str, Any] = PUBLIC, **more: Any
    ) -> Deployment:
        every = dict.fromkeys(("registry", *consumers), settings)
        made.append(Deployment(folder, consumers=consumers, settings=every, **more))
        return made[-1]

    yield start
    for deployment in made:
        deployment.close()


def running(cli: FakeCli, digest: str, *stacks: str, **outputs: Any) -> None:
    """Stacks that run an image."""
    for stack in stacks:
        cli.stacks[stack] = State(outputs={"imageDigest": digest, **outputs})


# ---- order


def test_the_registry_is_first_in_up_and_last_in_destroy(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy(["consumer", "second"])
    assert list(deployment.up()) == ["registry", "consumer", "second"]
    deployment.destroy()
    operations = cli.operations()
    assert operations[0] == ("up", "registry")
    assert sorted(operations[1:3]) == [("up", "consumer"), ("up", "second")]
    assert sorted(operations[3:5]) == [("destroy", "consumer"), ("destroy", "second")]
    assert operations[5:] == [("destroy", "registry")]


@pytest.mark.parametrize("operation", ["preview", "up", "refresh", "drift"])
def test_every_operation_takes_the_registry_first(deploy: Deploy, cli: FakeCli, operation: str) -> None:
    deployment = deploy()
    deployment.up()
    cli.calls.clear()
    results = getattr(deployment, operation)()
    assert [stack for _, stack in cli.operations()] == ["registry", "consumer"]
    assert {name: (result.stack, result.operation) for name, result in results.items()} == {
        "registry": ("registry", operation), "consumer": ("consumer", operation),
    }  # fmt: skip


def test_consumers_run_side_by_side(deploy: Deploy, cli: FakeCli) -> None:
    both = threading.Barrier(2, timeout=20)
    cli.when = lambda call: both.wait() if call.stack != "registry" else None
    assert set(deploy(["consumer", "second"]).up()) == {"registry", "consumer", "second"}


def test_without_a_registry_only_the_consumers_are_touched(deploy: Deploy, cli: FakeCli) -> None:
    deploy(registry=None).up()
    deploy(consumers=()).up()
    assert cli.operations() == [("up", "consumer"), ("up", "registry")]


def test_no_consumer_is_touched_if_the_registry_fails(deploy: Deploy, cli: FakeCli) -> None:
    def fail(call: Call) -> None:
        raise Failure("AccessDenied")

    cli.when = fail
    with pytest.raises(ProviderError) as raised:
        deploy().up()
    assert raised.value.outcomes == {"registry": raised.value}
    assert cli.operations() == [("up", "registry")]


TAKEN = (
    "tag invalid: The image tag 'content-1' already exists in the 'orders' repository and cannot be overwritten "
    "because the tag is immutable."
)
IMAGE = "docker:index/image:Image"


def test_an_image_that_another_run_pushed_first_is_run_by_a_second_update(deploy: Deploy, cli: FakeCli) -> None:
    def fail_once(call: Call) -> None:
        if len(cli.of("up", "consumer")) == 1 and call.stack == "consumer":
            raise Failure(TAKEN, IMAGE)

    cli.when = fail_once
    told: list[Event] = []
    results = deploy(on_event=told.append).up()
    assert results["consumer"].outputs["imageDigest"] == "sha256:new"
    assert cli.operations() == [("up", "registry"), ("up", "consumer"), ("up", "consumer")]
    text = "Another run pushed the same image. Updating again."
    assert Diagnostic(stack="consumer", severity="info", text=text) in told


@pytest.mark.parametrize(("text", "kind", "updates"), [(TAKEN, IMAGE, 2), ("EOF", IMAGE, 1), (TAKEN, "a:b:C", 1)])
def test_no_other_failure_is_tried_again_and_none_twice(
    deploy: Deploy, cli: FakeCli, text: str, kind: str, updates: int
) -> None:
    def fail(call: Call) -> None:
        if call.stack == "consumer":
            raise Failure(text, kind)

    cli.when = fail
    with pytest.raises(DeploymentError, match=text[:3]):
        deploy().up()
    assert len(cli.of("up", "consumer")) == updates


def test_a_consumer_that_fails_stops_none_beside_it_and_the_error_knows_all_outcomes(
    deploy: Deploy, cli: FakeCli
) -> None:
    def fail(call: Call) -> None:
        if call.stack == "consumer":
            raise Failure("Rate exceeded")

    cli.when = fail
    with pytest.raises(ProviderError, match="Rate exceeded") as raised:
        deploy(["consumer", "second"]).up()
    outcomes = raised.value.outcomes
    assert list(outcomes) == ["registry", "second", "consumer"]
    assert (raised.value.stack, outcomes["consumer"]) == ("consumer", raised.value)
    assert {outcomes[name].stack for name in ("registry", "second")} == {"registry", "second"}
    assert raised.value.urn == urn("consumer", "aws:lambda/function:Function")


def test_destroy_may_remove_the_stacks_as_well(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()
    deployment.up()
    deployment.destroy()
    assert set(cli.stacks) == {"registry", "consumer"}
    deployment.destroy(remove=True)
    assert cli.stacks == {}


# ---- options and configuration


def test_previews_and_updates_pass_the_policy_packs(deploy: Deploy, cli: FakeCli, tmp_path: Path) -> None:
    for pack in ("one", "two"):
        (tmp_path / pack).mkdir()
        (tmp_path / pack / "PulumiPolicy.yaml").touch()
    deployment = deploy(options=Options(policy_packs=[tmp_path / "one", tmp_path / "two"]))
    deployment.preview()
    deployment.up()
    for stack in ("registry", "consumer"):
        for name in ("preview", "up"):
            packs = [pack for call in cli.of(name, stack) for pack in call.option("--policy-pack")]
            assert packs == [str(tmp_path / "one"), str(tmp_path / "two")]


def test_a_drift_and_a_preview_change_nothing(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()
    deployment.up()
    before = json.dumps({name: vars(state) for name, state in cli.stacks.items()})
    cli.built["consumer"] = "sha256:newer"
    deployment.preview()
    deployment.drift()
    assert json.dumps({name: vars(state) for name, state in cli.stacks.items()}) == before
    assert {call.name: "--preview-only" in call.arguments for call in cli.calls[-6:] if call.name == "refresh"} == {
        "refresh": True
    }


def test_a_stack_gets_its_own_configuration_and_nothing_else(deploy: Deploy, cli: FakeCli, folder: Path) -> None:
    with Deployment(folder, settings={"consumer": {"memory": 256, "image": {"context": "other"}}}) as deployment:
        deployment.up()
    assert cli.of("up", "registry")[0].config == {"api": {"path": "hello", "public": True}}
    assert cli.of("up", "consumer")[0].config == {"memory": 256, "image": {"context": "other"}}


def test_the_backend_and_the_environment_reach_every_command(deploy: Deploy, cli: FakeCli) -> None:
    backend = Backend(url="s3://state", passphrase="p", secrets_provider="passphrase")
    deployment = deploy(options=Options(backend=backend, environment={"AWS_REGION": "eu-west-1"}))
    deployment.up()
    deployment.status()
    wanted = {"PULUMI_BACKEND_URL": "s3://state", "PULUMI_CONFIG_PASSPHRASE": "p", "AWS_REGION": "eu-west-1"}
    assert [call for call in cli.calls if not wanted.items() <= call.environment.items()] == []
    made = [call for call in cli.calls if call.name == "stack init"][:2]
    assert [call.option("--secrets-provider") for call in made] == [["passphrase"]] * 2
    assert not any("--select" in call.arguments for call in cli.calls)


def test_a_stack_is_created_once(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()
    deployment.up()
    deployment.up()
    assert [call.stack for call in cli.calls if call.name == "stack init"] == ["registry", "consumer"]


@pytest.mark.parametrize(
    ("given", "expected", "hint"),
    [
        ({"options": Options(timeout=0)}, "timeout 0 is given", "no limit"),
        ({"options": Options(policy_packs=[Path("nowhere")])}, "no policy pack in nowhere", "policy_pack"),
        ({"options": Options(backend=Backend(url="foo://x"))}, "'foo://x' is given; allowed .* s3", "--backend s3://"),
    ],
    ids=["timeout", "policy pack", "backend"],
)
def test_invalid_options_are_refused_with_the_allowed_values(
    deploy: Deploy, given: dict[str, Any], expected: str, hint: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected) as refused:
        deploy(**given)
    assert hint in refused.value.hint


@pytest.mark.parametrize(
    "url", ["file://~", "s3://b", "gs://b", "azblob://c", "postgres://h/d", "https://h", "http://h"]
)
def test_every_backend_of_pulumi_may_hold_the_state(cli: FakeCli, folder: Path, url: str) -> None:
    with Deployment(folder, options=Options(backend=Backend(url=url))):
        pass


@pytest.mark.parametrize("text", ["runtime: python\n", "name: p\n", "- name\n"])
def test_a_project_without_name_or_runtime_is_refused_by_its_file(folder: Path, text: str) -> None:
    (folder / "Pulumi.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match="Pulumi.yaml has no name or no runtime"):
        Deployment(folder)


def test_the_hint_for_a_stack_without_a_file_names_those_that_have_one(cli: FakeCli, folder: Path) -> None:
    with (
        Deployment(folder, consumers=["consumr"]) as deployment,
        pytest.raises(ConfigurationError, match="no Pulumi.consumr.yaml") as refused,
    ):
        deployment.up()
    assert refused.value.hint == "Stacks in this folder: consumer, registry, second."
    assert cli.operations() == []


def test_what_the_cli_prints_is_in_the_log_of_each_result(deploy: Deploy, tmp_path: Path) -> None:
    results = deploy(options=Options(logs=tmp_path)).up()
    assert {result.log.parent for result in results.values()} == {tmp_path}
    assert {name: result.log.name.startswith(f"{name}-up-") for name, result in results.items()} == {
        "registry": True, "consumer": True,
    }  # fmt: skip
    assert all("a line of the CLI" in result.log.read_text() for result in results.values())


def test_a_result_has_outputs_before_and_after_and_its_time(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:old", "consumer")
    result = deploy().up()["consumer"]
    assert (result.outputs_before["imageDigest"], result.outputs["imageDigest"]) == ("sha256:old", "sha256:new")
    assert 0 < result.seconds < 60


# ---- secrets


def test_no_secret_is_in_a_status_a_result_or_an_output_unless_it_is_asked_for(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()
    results = deployment.up()
    cli.calls.clear()
    told = f"{deployment.status()} {deployment.outputs('consumer')} {results} {results['consumer'].outputs}"
    assert SECRET not in told
    assert deployment.outputs("consumer")["apiKey"] == "[secret]"
    assert [call for call in cli.calls if "stack output" in call.name and "--show-secrets" in call.arguments] == []
    assert deployment.outputs("consumer", show_secrets=True)["apiKey"] == SECRET


def test_no_operation_is_asked_to_print_secrets(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()
    for operation in ("up", "preview", "refresh", "drift", "destroy"):
        getattr(deployment, operation)()
    asked = [call for call in cli.calls if (call.name, call.stack) in cli.operations()]
    assert len(asked) == 10
    assert [
        call for call in asked if "--show-secrets" in call.arguments or "--show-secrets=true" in call.arguments
    ] == []


@pytest.mark.parametrize("command", ["up", "status"])
def test_the_json_of_the_command_line_has_no_secret(
    command: str, cli: FakeCli, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    for stack in ("registry", "consumer"):
        cli.stacks[stack] = State(outputs={"imageDigest": "sha256:a", "apiKey": {"secret": SECRET}})
    ran = CliRunner().invoke(app, [command, "--json"])
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["stacks"]["consumer"]["outputs"]["apiKey"] == "[secret]"
    assert SECRET not in ran.output


# ---- status


def test_a_status_tells_what_is_there_without_an_operation(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()
    assert [status.deployed for status in deployment.status().values()] == [False, False]
    deployment.up()
    cli.stacks["consumer"].pending = ["urn:pending"]
    cli.calls.clear()
    status = deployment.status()
    assert list(status) == ["registry", "consumer"]
    assert (status["consumer"].stack, status["consumer"].deployed, status["consumer"].resources) == (
        "consumer",
        True,
        1,
    )
    assert (status["consumer"].pending, status["registry"].pending) == (("urn:pending",), ())
    assert cli.operations() == []


def test_status_and_up_and_destroy_count_the_same_resources(
    deploy: Deploy, cli: FakeCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one state with all kinds of resources: those that are in an account and belong to the stack."""
    function, other = "aws:lambda/function:Function", "aws:iam/role:Role"
    kinds = {
        function: {"custom": True},
        other: {"custom": True},
        "aws:apigateway/account:Account": {"custom": True, "external": True},
        "cross-account-ecr:index:ContainerFunction": {"custom": False},
        "pulumi:providers:aws": {"custom": True},
        "pulumi:pulumi:StackReference": {"custom": True, "external": True},
        IMAGE: {"custom": True},
    }
    operate = FakeCli._operate

    def with_resources(fake: FakeCli, call: Call, log: Path) -> None:
        for kind, about in kinds.items():
            name = {"up": "create", "destroy": "delete"}[call.name]
            operation = "read" if about.get("external") else name
            if call.name == "destroy" and operation == "read":
                continue
            state = {"type": kind, "urn": urn(call.stack, kind), "custom": about["custom"], "id": "", "parent": ""}
            state |= {"provider": "", "inputs": {}, "outputs": {}}
            metadata = {"op": operation, "urn": state["urn"], "type": kind, "provider": "", "old": None, "new": state}
            if call.name == "destroy":
                metadata |= {"old": state, "new": None}
            fake._tell(log, resOutputsEvent={"metadata": metadata, "planning": False})
        operate(fake, call, log)
        if call.name == "up":
            fake.stacks[call.stack].resources = [
                {"type": kind, "urn": urn(call.stack, kind), **about} for kind, about in kinds.items()
            ]

    monkeypatch.setattr(FakeCli, "_operate", with_resources)
    deployment = deploy(registry=None)
    created = deployment.up()["consumer"]
    status = deployment.status()["consumer"]
    destroyed = deployment.destroy()["consumer"]
    assert (created.changes, status.resources, destroyed.changes) == ({"create": 2}, 2, {"delete": 2})


LIVE = "me@elsewhere (pid 7) at 2026-01-01T00:00:00Z"


def test_a_status_says_who_updates_a_stack_since_when_and_no_more_if_nobody_does(deploy: Deploy, cli: FakeCli) -> None:
    cli.stacks["registry"] = State(lock=LIVE, pending=["urn:x"])
    cli.stacks["consumer"] = State(pending=["urn:y"])
    status = deploy().status()
    assert status["registry"].holder == "me@elsewhere, process 7, since 2026-01-01T00:00:00Z"
    assert not status["registry"].holder_ended
    assert (status["consumer"].holder, status["consumer"].pending) == ("", ("urn:y",))
    assert cli.operations() == []


def test_the_status_of_a_stack_in_order_takes_no_lock_that_an_update_may_want(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:a", "registry", "consumer")
    deploy().status()
    assert "stack init" not in {call.name for call in cli.calls}


def test_a_lock_of_an_ended_process_of_this_machine_is_recognized(deploy: Deploy, cli: FakeCli) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    here = socket.gethostname()
    cli.stacks["registry"] = State(lock=f"me@{here} (pid {ended.pid}) at 2026-01-01T00:00:00Z", pending=["urn:x"])
    cli.stacks["consumer"] = State(pending=["urn:y"], lock=f"me@{here} (pid {os.getpid()}) at 2026-01-01T00:00:00Z")
    status = deploy().status()
    assert (status["registry"].holder_ended, status["consumer"].holder_ended) == (True, False)


def test_a_status_knows_the_lock_of_a_run_that_was_killed_before_it_changed_anything(
    deploy: Deploy, cli: FakeCli, tmp_path: Path
) -> None:
    lock = tmp_path / "state" / ".pulumi" / "locks" / "organization" / "p" / "registry" / "x.json"
    lock.parent.mkdir(parents=True)
    lock.touch()
    ended = subprocess.Popen(["true"])
    ended.wait()
    running(cli, "sha256:a", "registry", "consumer")
    cli.stacks["registry"].lock = f"me@{socket.gethostname()} (pid {ended.pid}) at 2026-01-01T00:00:00Z"
    cli.backend = f"file://{tmp_path}/state?no_tmp_dir=true"
    status = deploy().status()
    assert (status["registry"].holder_ended, status["consumer"].holder) == (True, "")


# ---- previews ahead of the registry


def test_consumers_are_previewed_with_what_the_registrys_update_will_have(deploy: Deploy, cli: FakeCli) -> None:
    deploy().preview()
    # The fake gives each stack the outputs of a consumer; secrets are not handed on.
    outputs = {"imageDigest": "sha256:new", "endpointUrl": "http://127.0.0.1:1/registry"}
    [registry], [consumer] = cli.of("preview", "registry"), cli.of("preview", "consumer")
    assert consumer.config["registry"] == {"stack": "registry", "outputs": outputs}
    assert "registry" not in registry.config
    # Nothing is left of it in an update, nor in a preview after it, when there is nothing ahead.
    deploy().up()
    deploy().preview()
    for call in (*cli.of("up", "consumer"), cli.of("preview", "consumer")[-1]):
        assert "registry" not in call.config


# ---- previews without a build


def test_a_preview_without_a_build_takes_the_image_that_runs_and_leaves_the_built_one_alone(
    deploy: Deploy, cli: FakeCli
) -> None:
    running(cli, "sha256:old", "consumer")
    deploy().preview(build=False)
    [registry], [consumer] = cli.of("preview", "registry"), cli.of("preview", "consumer")
    assert consumer.config["image"] == {"digest": "sha256:old"}
    assert consumer.option("--exclude") == ["**docker:index/image:Image::**"]
    assert ("image" in registry.config, registry.option("--exclude")) == (False, [])
    deploy().preview()
    assert "image" not in cli.of("preview", "consumer")[-1].config
    assert cli.of("preview", "consumer")[-1].option("--exclude") == []


def test_a_first_preview_without_a_build_leaves_the_image_unknown(deploy: Deploy, cli: FakeCli) -> None:
    deploy().preview(build=False)
    [consumer] = cli.of("preview", "consumer")
    assert "image" not in consumer.config
    assert consumer.config["build"] is False


@pytest.mark.parametrize("unknown", [set(), {"aws:ecr/repository:Repository"}], ids=["later", "first"])
def test_a_preview_names_a_copied_file_that_the_ignore_file_excludes(
    deploy: Deploy, cli: FakeCli, recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unknown: set[str]
) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for name, text in (("more.py", ""), ("Dockerfile", "FROM scratch\nCOPY more.py /\n"), (".dockerignore", "*.py\n")):
        (app / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    settings = consumer_settings(image={"context": "app"})
    with pytest.raises(ImageUnusable) as program:
        run_program(recorder, lambda: consumer.deploy(settings), unknown=unknown)
    assert "docker:index/image:Image" not in recorder.kinds()

    def fail(call: Call) -> None:
        raise Failure(str(program.value), STACK_TYPE)

    cli.when = fail
    with pytest.raises(ConfigurationError) as refused:
        deploy(registry=None).preview()
    assert "COPY more.py: app/.dockerignore:1 (*.py) excludes more.py" in str(refused.value)


# ---- rollback, promotion, repair


def test_a_rollback_runs_the_image_before_with_all_calls(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:new", "consumer", previousImageDigest="sha256:old")
    result = deploy(settings=RELEASE).rollback("consumer")
    [call] = cli.of("up", "consumer")
    assert call.config["image"] == {"digest": "sha256:old"}
    assert previous_share(call) == 0
    assert call.config["function"]["memory"] == 128
    assert call.config["function"]["release"]["errorAlarm"] is True
    assert result.outputs["imageDigest"] == "sha256:old"
    assert (result.operation, result.image) == ("rollback", ("sha256:new", "sha256:old"))
    assert cli.operations() == [("up", "consumer")]


def test_a_rollback_adds_no_release_where_there_is_none(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:new", "consumer", previousImageDigest="sha256:old")
    deploy().rollback("consumer")
    assert "function" not in cli.of("up", "consumer")[0].config


def test_a_rollback_without_an_image_before_is_refused(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:new", "consumer")
    with pytest.raises(ConfigurationError, match="has run no other image"):
        deploy().rollback("consumer")
    assert cli.operations() == []


A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


def test_a_history_has_who_ran_an_update_and_the_image_that_ran_afterwards(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy(registry=None)
    for image in (A, B, C):
        cli.built["consumer"] = image
        deployment.up()
    cli.stacks["consumer"].history.insert(2, {**HISTORY, "message": "by hand"})
    history = deployment.history("consumer")
    assert [update.image for update in history] == [C, B, A, ""]
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    assert [update.who for update in history] == [who, who, "", who]
    assert (history[0].operation, history[0].result) == ("update", "succeeded")
    # At most as many as docs/deployment.md says.
    assert list(cli.of("stack history", "consumer")[0].option("--page-size")) == ["100"]


def test_a_history_has_the_commit_of_the_program(deploy: Deploy, folder: Path) -> None:
    for command in ("init -q", "-c user.name=it -c user.email=it@localhost commit -q --allow-empty -m one"):
        subprocess.run(["git", "-C", str(folder), *command.split()], check=True)
    shown = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], check=True, stdout=subprocess.PIPE
    )
    deployment = deploy(registry=None)
    deployment.up()
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    assert deployment.history("consumer")[0].who == f"{who}, commit {shown.stdout.decode().strip()}"


@pytest.mark.parametrize("error", [KeyError("uid"), OSError("no name")])
def test_a_user_without_a_name_updates_all_the_same(
    deploy: Deploy, cli: FakeCli, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def getuser() -> str:
        raise error

    monkeypatch.setattr(getpass, "getuser", getuser)
    deployment = deploy(registry=None)
    deployment.up()
    assert deployment.history("consumer")[0].who == f"unknown@{socket.gethostname()}"


@pytest.mark.parametrize("to", [A, "sha256:aaaa", "aaaa"])
def test_a_rollback_goes_to_any_image_of_the_history(deploy: Deploy, cli: FakeCli, to: str) -> None:
    deployment = deploy(registry=None)
    for image in (A, B, C):
        cli.built["consumer"] = image
        deployment.up()
    assert deployment.rollback("consumer", to=to).image == (C, A)


@pytest.mark.parametrize(
    ("to", "expected"), [("dddd", "no image with the digest dddd"), ("", "no other image"), ("sha256:", "several")]
)
def test_a_rollback_to_no_image_or_several_is_refused_with_those_that_are_known(
    deploy: Deploy, cli: FakeCli, to: str, expected: str
) -> None:
    deployment = deploy(registry=None)
    for image in (A, B):
        cli.built["consumer"] = image
        deployment.up()
    cli.stacks["consumer"].outputs.pop("previousImageDigest")
    updates = len(cli.operations())
    with pytest.raises(ConfigurationError, match=expected) as refused:
        deployment.rollback("consumer", to=to)
    assert not to or f"{B}, {A}" in refused.value.hint
    assert len(cli.operations()) == updates


def test_a_rollback_to_an_image_that_was_deleted_is_refused_and_names_the_image(
    deploy: Deploy, cli: FakeCli, run: Run, recorder: Recorder
) -> None:
    """The program looks the image up before Lambda does. Its error is the error of the rollback."""
    deployment = deploy(registry=None)
    for image in (A, B):
        cli.built["consumer"] = image
        deployment.up()
    recorder.manifest = (404, {})
    with pytest.raises(ImageUnusable) as program:
        deploy_consumer(run, image={"digest": A})

    def fail(call: Call) -> None:
        raise Failure(str(program.value), STACK_TYPE)

    cli.when = fail
    with pytest.raises(ConfigurationError) as refused:
        deployment.rollback("consumer")
    assert cli.of("up", "consumer")[-1].config["image"] == {"digest": A}
    assert str(refused.value).startswith(f"There is no image {A} in ")
    assert deployment.outputs("consumer")["imageDigest"] == B


def test_a_promotion_runs_the_image_of_another_stack(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:first", "consumer")
    deploy(["consumer", "second"]).promote("consumer", "second")
    assert cli.operations() == [("up", "second")]
    assert cli.of("up", "second")[0].config["image"] == {"promote": "consumer"}
    assert cli.stacks["second"].outputs["imageDigest"] == "sha256:first"


def test_a_repair_removes_the_lock_and_the_pending_creates(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()
    deployment.up()
    cli.calls.clear()
    assert deployment.repair("consumer").operation == "refresh"
    names = [call.name for call in cli.calls if call.name in ("cancel", "refresh")]
    assert names == ["cancel", "refresh"]
    assert "--clear-pending-creates" in cli.of("refresh", "consumer")[0].arguments
    assert cli.of("refresh", "registry") == []


def test_a_repair_takes_no_lock_of_a_process_that_may_be_at_work_unless_it_is_told_to(
    deploy: Deploy, cli: FakeCli
) -> None:
    cli.stacks["consumer"] = State(lock=LIVE)
    deployment = deploy()
    with pytest.raises(ConflictError, match="me@elsewhere, process 7, since 2026"):
        deployment.repair("consumer")
    assert not {"cancel", "refresh"} & {call.name for call in cli.calls}
    deployment.repair("consumer", force=True)
    assert [call.name for call in cli.calls if call.name in ("cancel", "refresh")] == ["cancel", "refresh"]


@pytest.mark.parametrize("backend", ["https://app.pulumi.com/me", "http://pulumi.example.com/me", "", "file://~"])
def test_a_repair_requires_yes_if_the_backend_does_not_name_the_holder_of_the_lock(
    deploy: Deploy, cli: FakeCli, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    cli.backend, cli.stacks["consumer"] = backend, State(pending=["urn:x"])
    answer = cli._answer

    def refuse(call: Call) -> str:
        if (call.name, call.stack, backend) == ("stack init", "consumer", "file://~"):
            raise create_command_error(CommandResult(stdout="", stderr="error: the state cannot be read", code=255))
        return answer(call)

    monkeypatch.setattr(cli, "_answer", refuse)
    deployment = deploy()
    with pytest.raises(ConflictError, match="may hold the stack consumer"):
        deployment.repair("consumer")
    assert not {"cancel", "refresh"} & {call.name for call in cli.calls}
    status = deployment.status()["consumer"]
    assert (status.holder, status.holder_ended) == ("", False)
    deployment.repair("consumer", force=True)
    assert [call.name for call in cli.calls if call.name in ("cancel", "refresh")] == ["cancel", "refresh"]


def test_a_status_takes_no_lock_without_a_reason(deploy: Deploy, cli: FakeCli) -> None:
    cli.backend = "s3://state"
    deployment = deploy()
    deployment.up()
    cli.calls.clear()
    deployment.status()
    assert "stack init" not in {call.name for call in cli.calls}


def test_a_stack_without_a_file_is_repaired_if_it_exists(cli: FakeCli, folder: Path) -> None:
    running(cli, "sha256:a", "function-hello")
    with Deployment(folder) as deployment:
        assert deployment.repair("function-hello").stack == "function-hello"
        assert cli.operations() == [("refresh", "function-hello")]
        with pytest.raises(ConfigurationError, match=r"there is no Pulumi\.function-helo\.yaml"):
            deployment.repair("function-helo")
    assert "function-helo" not in cli.stacks


# ---- checks and releases


def test_a_new_image_that_passes_its_check_stays(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:old", "consumer")
    check = Verdict(cli=cli)
    result = deploy().up(check=check)["consumer"]
    assert result.outputs["imageDigest"] == "sha256:new"
    assert check.asked == [("sha256:new", None)]
    assert [stack for name, stack in cli.operations() if name == "up"] == ["registry", "consumer"]


def test_a_rollback_after_a_check_starts_the_cli_nine_times(cli: FakeCli, folder: Path) -> None:
    running(cli, "sha256:old", "registry", "consumer")
    with Deployment(folder) as deployment, pytest.raises(CheckFailed):
        deployment.up(check=Verdict(cli=cli, bad=["sha256:new"]))
    names = [call.name for call in cli.calls if call.stack == "consumer"]
    assert names == ["stack export", "config", *("stack export", "up"), *("stack export", "config set-all", "up")]
    assert [call.name for call in cli.calls if call.stack == "registry"] == ["stack export", "up"]


def test_a_check_tells_what_it_asks_and_the_result_says_what_was_answered(deploy: Deploy, cli: FakeCli) -> None:
    told: list[Event] = []
    result = deploy(on_event=told.append).up(check=Verdict(cli=cli))["consumer"]
    [asked] = [event for event in told if isinstance(event, Checking)]
    assert (asked.stack, asked.url, asked.answer, asked.seconds_left) == (
        "consumer", str(result.outputs["endpointUrl"]), "200", 60,
    )  # fmt: skip
    assert re.fullmatch(r"200 in \d+\.\d s", result.checked)
    # Its time stops.
    assert told[-1] == Ended(stack="consumer")


@pytest.mark.parametrize("check", [False, True])
def test_a_refresh_is_asked_for_or_comes_with_a_check(deploy: Deploy, cli: FakeCli, check: bool) -> None:
    deploy().up(check=Verdict(cli=cli) if check else None, refresh=not check)
    refreshed = ["--refresh" in cli.of("up", stack)[0].arguments for stack in ("registry", "consumer")]
    assert refreshed == [not check, True]


def test_an_image_that_fails_its_check_gives_way_to_the_one_before(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:old", "consumer")
    with pytest.raises(CheckFailed, match=r"500 no\. .*runs sha256:old again") as raised:
        deploy().up(check=Verdict(cli=cli, bad=["sha256:new"]))
    assert (raised.value.image, raised.value.rolled_back_to) == ("sha256:new", "sha256:old")
    assert cli.stacks["consumer"].outputs["imageDigest"] == "sha256:old"
    assert [call.config.get("image") for call in cli.of("up", "consumer")] == [None, {"digest": "sha256:old"}]


def test_an_update_that_fails_goes_back_only_with_a_check(deploy: Deploy, cli: FakeCli) -> None:
    def fail(call: Call) -> None:
        if call.name == "up" and call.stack == "consumer" and "image" not in call.config:
            raise Failure("Throttled")

    running(cli, "sha256:old", "consumer")
    cli.when = fail
    with pytest.raises(CheckFailed, match="Throttled.*runs sha256:old again") as raised:
        deploy().up(check=Verdict(cli=cli))
    assert raised.value.rolled_back_to == "sha256:old"
    assert raised.value.urn == urn("consumer", "aws:lambda/function:Function")
    ups = len(cli.of("up", "consumer"))
    with pytest.raises(ProviderError, match="Throttled"):
        deploy().up()
    assert len(cli.of("up", "consumer")) == ups + 1


def test_a_failed_rollback_is_reported_and_claims_no_image(deploy: Deploy, cli: FakeCli) -> None:
    def fail(call: Call) -> None:
        if call.name == "up" and "image" in call.config:
            raise Failure("Still throttled")

    running(cli, "sha256:old", "consumer")
    cli.when = fail
    with pytest.raises(CheckFailed, match="The rollback to sha256:old also failed: .*Still throttled") as raised:
        deploy().up(check=Verdict(cli=cli, bad=["sha256:new"]))
    assert raised.value.rolled_back_to == ""


@pytest.mark.parametrize("before", ["", "sha256:new"])
def test_a_failed_check_of_the_first_image_rolls_nothing_back(deploy: Deploy, cli: FakeCli, before: str) -> None:
    if before:
        running(cli, before, "consumer")
    with pytest.raises(CheckFailed) as raised:
        deploy().up(check=Verdict(cli=cli, bad=["sha256:new"]))
    assert raised.value.rolled_back_to == ""
    assert len(cli.of("up", "consumer")) == 1


def test_a_release_shifts_the_calls_in_shares_each_checked_and_then_all(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:old", "consumer")
    check = Verdict(cli=cli)
    deploy(settings=RELEASE).up(check=check, shares=[0.1, 0.55])
    assert check.asked == [("sha256:new", 0.9), ("sha256:new", 0.45), ("sha256:new", 0)]
    assert [previous_share(call) for call in cli.of("up", "consumer")] == [0.9, 0.45, 0]
    assert all(call.config["function"]["release"]["errorAlarm"] for call in cli.of("up", "consumer"))


def test_a_share_that_fails_its_check_gives_all_calls_back(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:old", "consumer")
    with pytest.raises(CheckFailed) as raised:
        deploy(settings=RELEASE).up(check=Verdict(cli=cli, bad=["sha256:new"]), shares=[0.1, 0.5])
    assert raised.value.rolled_back_to == "sha256:old"
    ups = cli.of("up", "consumer")
    assert [(previous_share(call), call.config.get("image")) for call in ups] == [
        (0.9, None),
        (0, {"digest": "sha256:old"}),
    ]


@pytest.mark.parametrize("before", ["", "sha256:new"])
def test_an_image_that_runs_already_or_is_the_first_gets_all_calls_at_once(
    deploy: Deploy, cli: FakeCli, before: str
) -> None:
    if before:
        running(cli, before, "consumer")
    deploy(settings=RELEASE).up(shares=[0.1])
    assert [previous_share(call) for call in cli.of("up", "consumer")] == [0]


@pytest.mark.parametrize("shares", [[0.0], [1.0], [-0.1], [1.5], [0.5, 0.1], [0.5, 0.5]])
def test_shares_that_do_not_rise_between_0_and_1_are_refused_before_anything_is_done(
    deploy: Deploy, cli: FakeCli, shares: list[float]
) -> None:
    with pytest.raises(ConfigurationError, match=f"shares {', '.join(map(str, shares))} given; .*between 0 and 1"):
        deploy(settings=RELEASE).up(shares=shares)
    assert cli.operations() == []


def test_shares_need_a_release(deploy: Deploy, cli: FakeCli) -> None:
    with pytest.raises(ConfigurationError, match="consumer has no function.release") as refused:
        deploy().up(shares=[0.5])
    assert "Pulumi.consumer.yaml" in refused.value.hint
    assert "p:function: {release: {}}" in refused.value.hint
    assert cli.operations() == []


@pytest.mark.parametrize(
    ("api", "check", "refused"),
    [
        ({}, {}, True),
        ({"public": False}, {}, True),
        ({"type": "function-url"}, {}, True),
        ({"public": True}, {}, False),
        ({"type": "none"}, {}, False),
        ({}, {"headers": {"x-api-key": "k"}}, False),
        ({}, {"accepts": lambda status, body: status == 403}, False),
    ],
)
def test_a_check_that_cannot_pass_is_refused_before_anything_is_done(
    deploy: Deploy, cli: FakeCli, api: dict[str, Any], check: dict[str, Any], refused: bool
) -> None:
    deployment = deploy(settings={"api": api})
    if refused:
        with pytest.raises(ConfigurationError, match="the endpoint of consumer is not public") as refusal:
            deployment.up(check=Verdict(cli=cli, **check))
        assert refusal.value.stack == "consumer"
        assert cli.operations() == []
    else:
        assert set(deployment.up(check=Verdict(cli=cli, **check))) == {"registry", "consumer"}


@pytest.mark.parametrize("public", [True, False])
def test_without_settings_the_stack_file_says_whether_an_endpoint_is_public(
    cli: FakeCli, folder: Path, public: bool
) -> None:
    (folder / "Pulumi.consumer.yaml").write_text(
        f"config:\n  p:api: {{public: {str(public).lower()}}}\n  p:region: x\n"
    )
    cli.stacks["consumer"] = State()
    with Deployment(folder, registry=None, consumers=["consumer"]) as deployment:
        if public:
            assert set(deployment.up(check=Verdict(cli=cli))) == {"consumer"}
        else:
            with pytest.raises(ConfigurationError, match="the endpoint of consumer is not public"):
                deployment.up(check=Verdict(cli=cli))
            assert cli.operations() == []


# ---- limits and cancellation


def test_an_operation_that_takes_too_long_is_interrupted_and_says_its_limit(
    deploy: Deploy, cli: FakeCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = threading.Event()
    folders: list[Any] = []

    def interrupt(command: InterruptibleCommand, folder: str | None = None) -> None:
        folders.append(folder)
        interrupted.set()

    def hang(call: Call) -> None:
        if call.stack == "consumer":
            wait(interrupted)
            raise Failure("interrupted")

    monkeypatch.setattr(InterruptibleCommand, "interrupt", interrupt)
    cli.when = hang
    with pytest.raises(TimedOut, match=r"consumer took longer than 1 s") as raised:
        deploy(options=Options(timeout=1)).up()
    assert raised.value.stack == "consumer"
    assert {Path(folder).name for folder in folders} == {"consumer"}


def test_the_limit_ends_with_the_operation(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted: list[Any] = []
    monkeypatch.setattr(InterruptibleCommand, "interrupt", lambda command, folder=None: interrupted.append(folder))
    before = threading.active_count()
    deploy(options=Options(timeout=3600)).up()
    assert interrupted == []
    # A timer that still runs is a thread.
    assert threading.active_count() <= before


def test_what_is_cancelled_says_so_and_nothing_is_started_any_more(deploy: Deploy, cli: FakeCli) -> None:
    deployment = deploy()

    def cancel(call: Call) -> None:
        deployment.cancel()
        raise Failure("interrupted")

    cli.when = cancel
    with pytest.raises(Cancelled, match="registry was cancelled") as raised:
        deployment.up()
    assert raised.value.exit_code == 130
    operations = cli.operations()
    assert operations == [("up", "registry")]
    with pytest.raises(Cancelled):
        deployment.up()
    assert cli.operations() == operations


def test_a_check_that_is_cancelled_claims_nothing_and_rolls_nothing_back(deploy: Deploy, cli: FakeCli) -> None:
    running(cli, "sha256:old", "consumer")
    deployment = deploy()

    @dataclass(frozen=True, kw_only=True)
    class Cancelling(Check):
        def problem(self, url: str, stop: Stop = lambda: False, tell: Tell = lambda answer, left: None) -> str:
            deployment.cancel()
            assert stop()
            return "no answer"

    with pytest.raises(Cancelled, match="consumer was updated, but its check was cancelled"):
        deployment.up(check=Cancelling())
    assert len(cli.of("up", "consumer")) == 1


def test_a_stopped_check_is_neither_passed_nor_failed(deploy: Deploy, cli: FakeCli) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Failing(Check):
        def problem(self, url: str, stop: Stop = lambda: False, tell: Tell = lambda answer, left: None) -> str:
            tell("502 no", 9)
            assert stop()
            return "502 no"

    result = deploy().sync(["consumer"], check=Failing(), stop=lambda: True)["consumer"]
    assert (result.outputs["imageDigest"], result.checked) == ("sha256:new", "")


# ---- prepared programs


def test_a_prepared_program_runs_the_next_update_and_no_other_one(
    deploy: Deploy, cli: FakeCli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pulumi-language-python-exec").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    deployment = deploy()
    deployment.prepare(["consumer"])
    processes = [program.process for program in deployment._prepared.values()]
    for _ in range(2):
        deployment.sync(["consumer"])
    first, second = (call.option("--client") for call in cli.of("up", "consumer"))
    # Nobody else on the machine can connect.
    assert (re.fullmatch(r"unix:/.*/socket", first[0]) is not None, second) == (True, [])
    deployment.prepare(["registry", "consumer"])
    processes += [program.process for program in deployment._prepared.values()]
    deployment.close()
    assert len(processes) == 3
    assert all(process.poll() is not None for process in processes)


def test_a_program_in_another_language_or_inline_is_not_prepared(deploy: Deploy, folder: Path) -> None:
    (folder / "Pulumi.yaml").write_text("name: p\nruntime: {name: nodejs}\n")
    other, inline = deploy(), deploy(program=lambda: None)
    for deployment in (other, inline):
        deployment.prepare(["consumer"])
        assert deployment._prepared == {}


# ---- events


def test_events_are_told_one_at_a_time_with_their_stack(deploy: Deploy, cli: FakeCli) -> None:
    inside = threading.Semaphore(1)
    told: list[Event] = []

    def take(event: Event) -> None:
        assert inside.acquire(blocking=False)
        told.append(event)
        inside.release()

    deploy(["consumer", "second"], on_event=take).up()
    assert {event.stack for event in told} == {"registry", "consumer", "second"}
    assert sorted(event.stack for event in told if isinstance(event, Ended)) == ["consumer", "registry", "second"]


def test_scratch_files_are_gone_after_the_with_statement(cli: FakeCli, folder: Path) -> None:
    with Deployment(folder, settings={"registry": {}, "consumer": PUBLIC}) as deployment:
        deployment.up()
    assert sorted(path.name for path in folder.iterdir()) == [
        "Pulumi.consumer.yaml", "Pulumi.registry.yaml", "Pulumi.second.yaml", "Pulumi.yaml",
    ]  # fmt: skip
    with pytest.raises((DeploymentError, OSError)):
        deployment.up()


# ---- credentials


OWN, THEIRS = "arn:aws:iam::222222222222:role/own", "arn:aws:iam::111111111111:role/theirs"
ACCOUNTS = {
    "registry": {"account": "111111111111", "profile": "registry", "assumeRoles": [{"roleArn": THEIRS}]},
    "consumer": {
        "account": "222222222222",
        "profile": "consumer",
        "registry": {"stack": "registry", "profile": "registry"},
    },
}


@pytest.mark.parametrize(
    ("roles", "registry", "own", "pushing"),
    [
        ([THEIRS], [{"roleArn": THEIRS}], None, [{"roleArn": THEIRS}]),
        ([OWN], [], [{"roleArn": OWN}], []),
        ([THEIRS, OWN], [{"roleArn": THEIRS}], [{"roleArn": OWN}], [{"roleArn": THEIRS}]),
    ],
)
def test_assumed_roles_replace_the_credentials_of_their_accounts(
    cli: FakeCli, folder: Path, roles: list[str], registry: object, own: object, pushing: object
) -> None:
    options = Options(assume_roles=roles)
    with Deployment(folder, settings=ACCOUNTS, options=options) as deployment:
        deployment.up()
    [first], [second] = cli.of("up", "registry"), cli.of("up", "consumer")
    assert (first.config["profile"], first.config.get("assumeRoles")) == ("", registry)
    assert (second.config["profile"], second.config.get("assumeRoles")) == ("", own)
    assert second.config["registry"] == {"stack": "registry", "assumeRoles": pushing}


def test_a_registry_of_another_folder_is_used_with_the_environments_credentials(cli: FakeCli, folder: Path) -> None:
    settings = {"consumer": {**ACCOUNTS["consumer"], "registry": {"stack": "acme/other/shared", "profile": "registry"}}}
    with Deployment(folder, registry=None, settings=settings, options=Options(assume_roles=[OWN])) as deployment:
        deployment.preview()
    assert cli.of("preview", "consumer")[0].config["registry"] == {"stack": "acme/other/shared"}


@pytest.mark.parametrize(
    ("stack", "pushing"),
    [
        ("registry", {"assumeRoles": [{"roleArn": THEIRS}]}),
        ("organization/p/registry", {"assumeRoles": [{"roleArn": THEIRS}]}),
        ("organization/other/registry", {}),
    ],
)
@pytest.mark.parametrize("from_files", [True, False])
def test_the_registrys_account_is_found_without_its_stack(
    cli: FakeCli, folder: Path, stack: str, pushing: dict[str, Any], from_files: bool
) -> None:
    (folder / "Pulumi.registry.yaml").write_text("config:\n  p:account: 111111111111\n")
    consumer = {**ACCOUNTS["consumer"], "registry": {"stack": stack, "profile": "registry"}}
    settings = {"consumer": consumer, "second": consumer, **({} if from_files else {"registry": ACCOUNTS["registry"]})}
    names, options = ["consumer", "second"], Options(assume_roles=[THEIRS])
    with Deployment(folder, registry=None, consumers=names, settings=settings, options=options) as deployment:
        deployment.preview()
    assert {call.stack for call in cli.calls} == {"consumer", "second"}
    for name in names:
        assert cli.of("preview", name)[0].config["registry"] == {"stack": stack, **pushing}


@pytest.mark.parametrize("roles", [[], [OWN]])
def test_with_assumed_roles_a_refresh_and_a_destroy_run_the_program(
    cli: FakeCli, folder: Path, roles: list[str]
) -> None:
    with Deployment(folder, settings=ACCOUNTS, options=Options(assume_roles=roles)) as deployment:
        deployment.up()
        for act in (deployment.drift, deployment.refresh, deployment.destroy):
            act()
    calls = [call for call in cli.calls if call.name in ("up", "refresh", "destroy")]
    assert len(calls) == 8
    assert {"--run-program=true" in call.arguments or "--run-program" in call.arguments for call in calls} == {
        bool(roles)
    }


@pytest.mark.parametrize("roles", [[], [OWN]])
def test_the_hint_for_a_destroy_whose_program_fails_omits_the_assumed_roles(
    cli: FakeCli, folder: Path, roles: list[str]
) -> None:
    def refuse(call: Call) -> None:
        if call.name == "destroy":
            raise Failure("the registry does not serve this account", STACK_TYPE)

    with Deployment(folder, settings=ACCOUNTS, options=Options(assume_roles=roles)) as deployment:
        deployment.up()
        cli.when = refuse
        with pytest.raises(ConfigurationError) as refused:
            deployment.destroy()
    command = "python -m deployment destroy --no-registry --consumer consumer"
    assert ("without --assume-role" in refused.value.hint and command in refused.value.hint) == bool(roles)


def test_the_hint_for_a_registry_whose_destroy_fails_keeps_its_consumers(cli: FakeCli, folder: Path) -> None:
    def refuse(call: Call) -> None:
        if call.name == "destroy":
            raise Failure("repository.name is not allowed", STACK_TYPE)

    options = Options(assume_roles=[THEIRS])
    with Deployment(folder, consumers=[], settings=ACCOUNTS, options=options) as deployment:
        deployment.up()
        cli.when = refuse
        with pytest.raises(ConfigurationError) as refused:
            deployment.destroy()
    assert "python -m deployment destroy --no-consumers --registry registry" in refused.value.hint


def test_an_option_that_is_no_role_arn_is_refused_before_any_operation(cli: FakeCli, folder: Path) -> None:
    options = Options(assume_roles=["registry-preview"])
    with (
        Deployment(folder, settings=ACCOUNTS, options=options) as deployment,
        pytest.raises(ConfigurationError, match="'registry-preview' is not the ARN of a role"),
    ):
        deployment.up()
    assert cli.operations() == []


def test_two_roles_of_one_account_are_refused_before_anything_is_done(cli: FakeCli, folder: Path) -> None:
    with (
        Deployment(folder, settings=ACCOUNTS, options=Options(assume_roles=[OWN, THEIRS, f"{OWN}-2"])) as deployment,
        pytest.raises(ConfigurationError, match=f"account 222222222222: {OWN}, {OWN}-2$"),
    ):
        deployment.up()
    assert cli.operations() == []


def test_a_role_that_is_named_twice_is_assumed_once(cli: FakeCli, folder: Path) -> None:
    with Deployment(folder, settings=ACCOUNTS, options=Options(assume_roles=[OWN, OWN])) as deployment:
        deployment.up()
    assert cli.of("up", "consumer")[0].config["assumeRoles"] == [{"roleArn": OWN}]


def test_a_function_is_asked_with_the_credentials_of_its_stack(cli: FakeCli, folder: Path) -> None:
    arn, theirs = "arn:aws:lambda:us-east-1:222222222222:function:f", [{"roleArn": OWN, "externalId": "x1"}]
    cli.stacks["consumer"] = State(outputs={"functionArn": arn, "logGroupName": "g"})
    settings = {**ACCOUNTS, "consumer": {**ACCOUNTS["consumer"], "assumeRoles": theirs}}
    with Deployment(folder, settings=settings) as deployment:
        asked = deployment.function("consumer")
    assert (asked.profile, asked.assume_roles) == ("consumer", theirs)
    with Deployment(folder, settings=settings, options=Options(assume_roles=[THEIRS, OWN])) as deployment:
        asked = deployment.function("consumer")
    assert (asked.profile, asked.assume_roles) == ("", [{"roleArn": OWN}])
