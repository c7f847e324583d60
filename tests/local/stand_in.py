"""Drive a stand-in plugin as the engine does, by the messages of the protocol."""

from typing import Any

import grpc
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, status_pb2

from offline.plugins.provider import Provider, Values

IMAGE, FUNCTION = "docker:index/image:Image", "aws:lambda/function:Function"


class Failed(Exception):
    """The status that the engine gets.

    Attributes:
        kept: ID and properties of a resource that is there all the same.
        reasons: its `initErrors`.
    """

    def __init__(self, text: str, metadata: Any) -> None:
        super().__init__(text)
        self.kept: tuple[str, Values] | None = None
        self.reasons: list[str] = []
        for _, value in metadata:
            detail = provider_pb2.ErrorResourceInitFailed()
            status_pb2.Status.FromString(value).details[0].Unpack(detail)
            self.kept = detail.id, json_format.MessageToDict(detail.properties)
            self.reasons = list(detail.reasons)


class Context:
    """The side of a call that a servicer sees."""

    def __init__(self) -> None:
        self._metadata: Any = ()

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._metadata = metadata

    def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Failed(text, self._metadata)


def struct(values: Values) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


def urn(kind: str, name: str = "it") -> str:
    return f"urn:pulumi:consumer::cross-account-ecr::{kind}::{name}"


def configure(provider: Provider, **config: Any) -> None:
    provider.Configure(provider_pb2.ConfigureRequest(args=struct(config)), Context())


def check(provider: Provider, kind: str, name: str = "it", **inputs: Any) -> Values:
    """The inputs as checked, with defaults and generated names."""
    request = provider_pb2.CheckRequest(urn=urn(kind, name), news=struct(inputs), randomSeed=b"seed")
    answer = provider.Check(request, Context())
    assert not answer.failures, answer.failures
    return json_format.MessageToDict(answer.inputs)


def diff(
    provider: Provider,
    kind: str,
    old: Values,
    new: Values,
    *,
    state: Values | None = None,
    ignore: tuple[str, ...] = (),
) -> tuple[set[str], set[str]]:
    """Which inputs differ, and which of them need a new resource."""
    answer = provider.Diff(
        provider_pb2.DiffRequest(
            urn=urn(kind), old_inputs=struct(old), olds=struct(state or old), news=struct(new), ignoreChanges=ignore
        ),
        Context(),
    )
    return set(answer.diffs), set(answer.replaces)


def create(provider: Provider, kind: str, **inputs: Any) -> tuple[str, Values]:
    answer = provider.Create(provider_pb2.CreateRequest(urn=urn(kind), properties=struct(inputs)), Context())
    return answer.id, json_format.MessageToDict(answer.properties)


def update(provider: Provider, kind: str, state: Values, old: Values, new: Values) -> Values:
    answer = provider.Update(
        provider_pb2.UpdateRequest(
            id="it", urn=urn(kind), olds=struct(state), old_inputs=struct(old), news=struct(new)
        ),
        Context(),
    )
    return json_format.MessageToDict(answer.properties)


def delete(provider: Provider, kind: str, **state: Any) -> None:
    provider.Delete(provider_pb2.DeleteRequest(id="it", urn=urn(kind), properties=struct(state)), Context())
