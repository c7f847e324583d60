"""The service of the web example: what it knows of a function after failures, and after a restart."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
from fastapi import HTTPException

from deployment import CheckFailed, ConflictError, DeploymentError, StackStatus, Step, Update
from examples.web import app as web

STACK = "function-hello"
CONFIG = {"cross-account-ecr:image": {"objectValue": {"context": "app"}, "value": "{}"}}
CONFIG |= {"cross-account-ecr:function": {"objectValue": {"timeout": 3}, "value": "{}"}}


class FakeDeployment:
    """In place of the deployment: each operation is noted, and fails as the class says."""

    calls: list[str]
    failures: dict[str, list[BaseException]]
    outputs_: dict[str, Any]
    updates: list[Update]
    settings: dict[str, Any]

    def __init__(self, **arguments: Any) -> None:
        self._tell: Callable[[Any], None] = arguments.get("on_event", lambda event: None)
        self._registry = arguments.get("registry", "registry")
        if settings := arguments.get("settings"):
            type(self).settings = settings[STACK]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _note(self, call: str) -> None:
        self.calls.append(call)
        if failures := self.failures.get(call):
            raise failures.pop(0)

    def up(self, **arguments: Any) -> dict[str, Any]:
        urn = f"urn:pulumi:{STACK}::p::aws:lambda/function:Function::function"
        self._tell(Step(stack=STACK, urn=urn, operation="create", state="done"))
        if self.failures.get("up"):
            self._tell(Step(stack=STACK, urn=urn, operation="create-replacement", state="failed"))
        self._note("up registry" if self._registry else "up")
        return {"registry": web.Function(name="registry")}

    def rollback(self, stack: str) -> None:
        self._note(f"rollback {stack}")

    def repair(self, stack: str) -> None:
        self._note(f"repair {stack}")

    def destroy(self, *, remove: bool) -> None:
        self._note(f"destroy remove={remove}")

    def status(self) -> dict[str, StackStatus]:
        if failures := self.failures.get("status"):
            raise failures.pop(0)
        return {STACK: StackStatus(stack=STACK, deployed=True, resources=1, outputs=self.outputs_)}

    def outputs(self, stack: str) -> dict[str, Any]:
        return {"repositoryUrl": "repository"}

    def history(self, stack: str) -> list[Update]:
        return self.updates


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[FakeDeployment]:
    """A deployment and a CLI that know a registry and the function hello, in a folder of their own."""
    stacks = json.dumps([{"name": "organization/p/registry"}, {"name": STACK}])
    (tmp_path / "pulumi").write_text(
        f"#!/bin/sh\ncase $1 in stack) echo '{stacks}';; config) echo '{json.dumps(CONFIG)}';; esac\n"
    )
    (tmp_path / "pulumi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.chdir(tmp_path)
    FakeDeployment.calls, FakeDeployment.failures, FakeDeployment.updates = [], {}, []
    FakeDeployment.outputs_ = {"endpointUrl": "https://example.test", "apiKey": "only in the state"}
    monkeypatch.setattr(web, "Deployment", FakeDeployment)
    monkeypatch.setattr(web.Check, "problem", lambda *arguments: "")
    return FakeDeployment


def served(act: Callable[[web.Service], object] = lambda service: None) -> web.Service:
    """A service that is started, does this to its end, and is stopped."""

    async def serve() -> web.Service:
        service = web.Service()
        await asyncio.to_thread(service.load)
        act(service)
        # Waits for what runs in the background.
        await asyncio.get_running_loop().shutdown_default_executor()
        return service

    return asyncio.run(serve())


def begin(operation: str, memory: int = 128) -> web.Service:
    wanted = web.Settings(memory=memory)
    return served(lambda service: service.begin(service.function("hello"), operation, wanted))


def last(service: web.Service) -> web.Run:
    run = service.functions["hello"].run
    assert run is not None
    return run


def test_what_was_deployed_is_known_after_a_restart(fake: type[FakeDeployment]) -> None:
    begin("deploy", memory=512)
    assert (fake.settings["function"]["name"], fake.settings["function"]["memory"]) == ("hello", 512)
    service = served()
    hello = service.functions["hello"]
    assert (hello.memory, hello.service, hello.deployed is not None) == (512, "answers", True)
    assert (last(service).state, last(service).steps[0][1]) == ("succeeded", "created Lambda function function")


def test_a_failure_is_known_after_a_restart_and_the_service_goes_on(fake: type[FakeDeployment]) -> None:
    begin("deploy", memory=128)
    fake.failures = {"up": [DeploymentError("the endpoint answered 502", stack=STACK, hint="Mend it.")]}
    begin("deploy", memory=512)
    service = served()
    assert (last(service).state, last(service).error, last(service).hint) == (
        "failed", "the endpoint answered 502", "Mend it.",
    )  # fmt: skip
    assert last(service).steps[-1][1] == "failed Lambda function function"
    # It runs as before, and a redeployment does what was asked for last.
    hello = service.functions["hello"]
    assert (hello.service, hello.memory, hello.wanted.memory) == ("answers", 128, 512)


def test_after_a_rollback_the_memory_is_what_was_asked_for(fake: type[FakeDeployment]) -> None:
    failed = CheckFailed("the endpoint answered 502", stack=STACK, rolled_back_to="sha256:1")
    fake.failures = {"up": [failed]}
    assert begin("deploy", memory=512).functions["hello"].memory == 512


def test_an_operation_that_ended_with_the_service_is_not_taken_for_one_that_runs(fake: type[FakeDeployment]) -> None:
    # No thread of the service continues after the test.
    fake.failures = {"up": [SystemExit()]}
    begin("deploy")
    assert last(served()).state == "interrupted"
    begin("deploy")
    assert last(served()).state == "succeeded"


def test_a_damaged_record_is_ignored() -> None:
    web.RECORDS.mkdir(parents=True)
    Path(web.RECORDS, "hello.json").write_text('{"name": "hel')
    assert served().functions["hello"].run is None


def test_without_a_record_the_history_tells_how_it_ended(fake: type[FakeDeployment]) -> None:
    fake.updates = [
        Update(began=f"2026-11-26T0{hour}:00:00.000Z", operation="update", result=result, changes={})
        for hour, result in [(3, "failed"), (2, "succeeded"), (1, "succeeded")]
    ]
    service = served()
    assert (last(service).state, last(service).began.hour) == ("failed", 3)
    # What runs is what was deployed before.
    deployed = service.functions["hello"].deployed
    assert deployed is not None
    assert deployed.hour == 2


def test_what_is_kept_has_no_outputs(fake: type[FakeDeployment]) -> None:
    begin("deploy")
    assert "only in the state" not in Path(".local", "web", "hello.json").read_text()


def test_the_lock_of_a_process_that_has_ended_is_given_up(fake: type[FakeDeployment]) -> None:
    fake.failures = {"up": [ConflictError("locked", stack=STACK, holder="me", ended=True)]}
    assert last(begin("deploy")).state == "succeeded"
    assert fake.calls == ["up", f"repair {STACK}", "up"]


def test_the_lock_of_a_process_at_work_stays(fake: type[FakeDeployment]) -> None:
    fake.failures = {"up": [ConflictError("locked by me", stack=STACK, holder="me")]}
    assert last(begin("deploy")).error == "locked by me"
    assert fake.calls == ["up"]


def test_a_fault_of_the_service_ends_the_operation(fake: type[FakeDeployment]) -> None:
    fake.failures = {f"rollback {STACK}": [OSError("disk full")]}
    service = begin("rollback")
    assert (last(service).state, last(service).error) == ("failed", "disk full")


def test_a_state_that_cannot_be_read_is_said(fake: type[FakeDeployment]) -> None:
    fake.failures = {"status": [DeploymentError("no passphrase", stack=STACK)]}
    # A page that is opened asks whether it answers.
    hello = served(lambda service: service.check(service.function("hello"))).functions["hello"]
    assert (hello.service, hello.problem) == ("fails", "no passphrase")


def test_a_function_whose_endpoint_does_not_answer_well_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web.Check, "problem", lambda *arguments: "502 Internal server error")
    hello = begin("deploy").functions["hello"]
    assert (hello.service, hello.problem) == ("fails", "502 Internal server error")


def test_a_function_is_deleted_with_what_is_kept_of_it(fake: type[FakeDeployment]) -> None:
    service = begin("delete")
    assert (fake.calls, service.functions) == (["destroy remove=True"], {})
    assert not Path(".local", "web", "hello.json").exists()


def test_one_operation_at_a_time() -> None:
    def twice(service: web.Service) -> None:
        service.begin(service.function("hello"), "rollback")
        service.begin(service.function("hello"), "delete")

    with pytest.raises(HTTPException) as refused:
        served(twice)
    assert (refused.value.status_code, refused.value.detail) == (
        409, "hello is busy (rollback). Wait until that has ended.",
    )  # fmt: skip
