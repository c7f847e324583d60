"""What a stack registers with the engine, options included: stack files in, resources and outputs out."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Set
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import grpc
import pulumi
import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from ministack.core.iam_evaluator import EvalContext, evaluate, evaluate_resource_policy, parse_policy_document
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import resource_pb2, source_pb2

from settings import ConsumerSettings, RegistrySettings, load
from stacks import consumer, registry
from tests.unit.recorder import PROJECT, Recorder, consumer_settings

PERMISSION = "aws:lambda/permission:Permission"
# How the SDK marks a secret on the wire: sdk/python/lib/pulumi/runtime/rpc.py.
SIGNATURE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"


@dataclass(frozen=True)
class Resource:
    """A resource as it was registered. Other resources are given by their logical names.

    Attributes:
        secret: paths of the inputs that are secret, such as `registry.password`.
    """

    type: str
    name: str
    parent: str
    inputs: dict[str, Any]
    secret: frozenset[str]
    provider: str
    protect: bool
    retain_on_delete: bool
    deleted_with: str
    delete_before_replace: bool
    replace_with: frozenset[str]
    depends_on: frozenset[str]


class UnknownStack(grpc.RpcError):  # type: ignore[misc]  # grpc has no types of its own
    """What the engine answers for the outputs of a stack that does not exist."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return f'invocation of pulumi:pulumi:readStackOutputs returned an error: unknown stack "{self}"'


class Monitor(MockMonitor):
    """A monitor that keeps each registration, and what components say their outputs are."""

    def __init__(self, recorder: Recorder, unknown: Set[str] = frozenset()) -> None:
        super().__init__(recorder)
        self.recorder = recorder
        self.unknown = unknown
        self.registered: list[Resource] = []
        self.component_outputs: dict[str, dict[str, Any]] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  # the protocol's name
        if request.type != "pulumi:pulumi:Stack":
            secret: set[str] = set()
            inputs = _plain(MessageToDict(request.object), "", secret)
            resource = Resource(
                type=request.type,
                name=request.name,
                parent=_name(request.parent),
                inputs=inputs,
                secret=frozenset(secret),
                provider=_name(request.provider.rpartition("::")[0]),
                protect=request.protect,
                retain_on_delete=request.retainOnDelete,
                deleted_with=_name(request.deletedWith),
                delete_before_replace=request.deleteBeforeReplace,
                replace_with=frozenset(map(_name, request.replace_with)),
                depends_on=frozenset(map(_name, request.dependencies)),
            )
            self.registered.append(resource)
        if request.type in self.unknown:
            urn = self.make_urn(request.parent, request.type, request.name)
            return resource_pb2.RegisterResourceResponse(urn=urn, object=request.object)
        return super().RegisterResource(request)

    def Invoke(self, request: Any) -> Any:  # noqa: N802
        if request.tok == "pulumi:pulumi:readStackOutputs" and request.args["name"] not in self.recorder.stacks:
            raise UnknownStack(request.args["name"])
        return super().Invoke(request)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self.component_outputs[_name(request.urn)] = _plain(MessageToDict(request.outputs), "", set())
        return super().RegisterResourceOutputs(request)


@dataclass
class Deployed:
    """A stack that was run.

    Attributes:
        resources: in the order of their registration.
        outputs: those that are known.
        secret: names of the outputs that are secret.
        unknown: names of the outputs that a preview does not know.
        component_outputs: of each component, by its name.
    """

    resources: list[Resource]
    outputs: dict[str, Any] = field(default_factory=dict)
    secret: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    component_outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def of(self, kind: str) -> list[Resource]:
        """All resources of a type."""
        return [resource for resource in self.resources if resource.type == kind]

    def one(self, kind: str, **inputs: Any) -> Resource:
        """The only resource of a type with these inputs."""
        (only,) = [one for one in self.of(kind) if inputs.items() <= one.inputs.items()]
        return only

    def named(self, name: str) -> Resource:
        """The only resource of a name."""
        (only,) = [resource for resource in self.resources if resource.name == name]
        return only


@cache
def committed(stack: str) -> dict[str, Any]:
    """The configuration in the committed file of a stack."""
    file = Path(__file__).parents[2] / f"Pulumi.{stack}.yaml"
    return dict(yaml.safe_load(file.read_text())["config"])


def stack_file(stack: str, **changed: Any) -> dict[str, Any]:
    """The committed file of a stack without the namespace; a key that is given replaces the file's, None removes it."""
    values = {key.removeprefix(f"{PROJECT}:"): value for key, value in deepcopy(committed(stack)).items()} | changed
    return {key: value for key, value in values.items() if value is not None}


def read(
    values: Mapping[str, Any],
    *,
    secret: Set[str] = frozenset(),
    others: Mapping[str, Any] | None = None,
) -> RegistrySettings | ConsumerSettings:
    """Load what a stack file says, handed over as the CLI hands it to the program; with keys of other namespaces."""
    named = {f"{PROJECT}:{key}": value for key, value in values.items()} | dict(others or {})
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in named.items()}
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PULUMI_CONFIG", json.dumps(texts))
        pulumi.runtime.set_all_config(texts, [f"{PROJECT}:{key}" for key in secret])
        try:
            return load(pulumi.Config(PROJECT))
        finally:
            pulumi.runtime.set_all_config({}, [])


def run_program(
    recorder: Recorder,
    program: Callable[[], Awaitable[pulumi.Inputs]],
    *,
    unknown: Set[str] | None = None,
) -> Deployed:
    """Run a program against the recorder.

    Args:
        recorder: answers for the providers.
        program: gives the stack's outputs.
        unknown: types of resources that are not created yet, in a preview. None: it is an update.
    """
    # What an earlier test left unfinished belongs to a loop that is closed.
    pulumi.runtime.settings.SETTINGS.rpc_manager.clear()
    pulumi.runtime.settings.SETTINGS.outputs.clear()
    monitor = Monitor(recorder, unknown or frozenset())
    deployed = Deployed(resources=monitor.registered, component_outputs=monitor.component_outputs)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_in_executor = partial(_at_once, loop)  # type: ignore[method-assign]
    # What else failed or was left pending is not told: the first error is raised.
    loop.set_exception_handler(lambda loop, context: None)
    pulumi.runtime.set_mocks(
        recorder,
        project=PROJECT,
        stack="consumer",
        organization="organization",
        preview=unknown is not None,
        monitor=monitor,
    )

    async def main() -> None:
        for name, value in (await program()).items():
            output = pulumi.Output.from_input(value)
            if not await output.is_known():
                deployed.unknown.add(name)
                continue
            deployed.outputs[name] = await output.future()
            if await output.is_secret():
                deployed.secret.add(name)

    try:
        with pytest.MonkeyPatch.context() as patched:
            # Stack traces of resources take a third of the time of a run, and no test reads them.
            patched.setattr("pulumi.runtime.resource._get_stack_trace", source_pb2.StackTrace)
            patched.setattr("pulumi.log.debug", lambda *_, **__: None)
            loop.run_until_complete(pulumi.runtime.stack.run_pulumi_func(main))
    finally:
        loop.close()
        asyncio.set_event_loop(None)
    return deployed


def _at_once(loop: asyncio.AbstractEventLoop, _: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function, where the SDK would wait for a thread that does it. The mocks answer at once."""
    future = loop.create_future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:
        future.set_exception(error)
    return future


def deploy(
    recorder: Recorder,
    stack: str,
    *,
    secret: Set[str] = frozenset(),
    environment: Mapping[str, str] | None = None,
    unknown: Set[str] | None = None,
    **changed: Any,
) -> Deployed:
    """Deploy a committed stack file with changes, against the recorder."""
    settings = read(stack_file(stack, **changed), secret=secret)
    if isinstance(settings, RegistrySettings):
        return run_program(recorder, lambda: registry.deploy(settings), unknown=unknown)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (environment or {}).items():
            patched.setenv(name, value)
        return run_program(recorder, lambda: consumer.deploy(settings), unknown=unknown)


def deploy_consumer(
    run: Callable[[Callable[[], Awaitable[pulumi.Inputs]]], dict[str, Any]], **changed: Any
) -> dict[str, Any]:
    """The outputs of a consumer stack that builds `app`, with changes."""
    return run(lambda: consumer.deploy(consumer_settings(**changed)))


# ---- policy documents, asked of MiniStack's evaluator


def may(policy: Any, action: str, resource: str, keys: Mapping[str, str] | None = None) -> bool:
    """Whether a policy of a principal, as JSON or a document, allows an action, in a context of condition keys."""
    context = _request("arn:aws:iam::222222222222:role/it", action, resource, keys or {})
    return bool(evaluate(context, [parse_policy_document(policy)]).decision == "Allow")


def lets(
    policy: Any,
    action: str,
    resource: str = "*",
    *,
    caller: str = "",
    service: str | None = None,
    keys: Mapping[str, str] | None = None,
) -> bool:
    """Whether a policy of a resource lets a principal or a service do something, in a context of condition keys."""
    context = _request(caller or "arn:aws:none::none:service", action, resource, keys or {})
    return bool(evaluate_resource_policy(policy, context, service=service).decision == "Allow")


def _request(caller: str, action: str, resource: str, keys: Mapping[str, str]) -> EvalContext:
    context = {key.lower(): value for key, value in keys.items()}
    return EvalContext(
        principal_arn=caller,
        principal_type="AssumedRole",
        principal_account=caller.split(":")[4],
        action=action,
        resource_arn=resource,
        region="us-east-1",
        service_context=context,
        principal_keys=context,
    )


def grants(deployed: Deployed) -> dict[str, Any]:
    """The function's resource policy that Lambda keeps of the permissions.

    https://docs.aws.amazon.com/lambda/latest/api/API_AddPermission.html
    """
    return {"Version": "2012-10-17", "Statement": [_grant(one) for one in deployed.of(PERMISSION)]}


def _grant(permission: Resource) -> dict[str, Any]:
    inputs = permission.inputs
    principal = inputs["principal"]
    conditions = {
        ("ArnLike", "aws:SourceArn"): inputs.get("sourceArn"),
        ("StringEquals", "lambda:FunctionUrlAuthType"): inputs.get("functionUrlAuthType"),
        ("Bool", "lambda:InvokedViaFunctionUrl"): "true" if inputs.get("invokedViaFunctionUrl") else None,
    }
    return {
        "Sid": permission.name,
        "Effect": "Allow",
        "Action": inputs["action"],
        "Principal": "*" if principal == "*" else {"Service": principal},
        "Condition": {kind: {key: value} for (kind, key), value in conditions.items() if value is not None},
    }


def _name(urn: str) -> str:
    """The logical name in a URN."""
    return "" if "::pulumi:pulumi:Stack::" in urn else urn.rpartition("::")[2]


def _plain(value: Any, path: str, secret: set[str]) -> Any:
    """A value as a provider sees it; where secrets are is added to a set."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            secret.add(path)
            return _plain(value["value"], path, secret)
        return {key: _plain(inner, f"{path}.{key}".lstrip("."), secret) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner, f"{path}[{index}]", secret) for index, inner in enumerate(value)]
    return value
