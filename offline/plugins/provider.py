"""A resource provider in plain Python: values instead of protobuf, exceptions instead of statuses.

`Provider` contains what all providers share: unknown values in a preview, diff of inputs, clean errors. A stand-in
overrides the rest. The protocol: https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto
"""

import json
import types
from collections.abc import Mapping
from typing import Any, ClassVar

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from proto import (
    ResourceProviderServicer,
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from offline.plugins.server import engine_address, serve

Values = dict[str, Any]

# The engine's marks for values that are unknown before the update, one for each type
# (https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/sig/sig.go).
UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWNS = {
    UNKNOWN,
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
}


class Refused(Exception):
    """The request is wrong or the operation failed. The user sees only the text."""


class HalfDone(Exception):
    """A create or update failed after the resource was created. The state keeps it, marked with `initErrors`.

    Args:
        identity: the resource's ID.
        properties: the properties to write to the state, even if they are not current.
        reason: why the operation failed.
    """

    def __init__(self, identity: str, properties: Values, reason: str) -> None:
        super().__init__(reason)
        self.identity = identity
        self.properties = properties


# The mark of a secret, from the same file.
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}


def secret(value: Any) -> Values:
    """Mark a value as a secret."""
    return {**SECRET, "value": value}


def is_unknown(value: Any) -> bool:
    """Whether a value is unknown or contains unknown values."""
    if isinstance(value, dict):
        return any(map(is_unknown, value.values()))
    if isinstance(value, list):
        return any(map(is_unknown, value))
    return isinstance(value, str) and value in UNKNOWNS


def same(old: Any, new: Any) -> bool:
    """Whether two property values are equivalent. JSON documents are compared by content."""
    if old == new:
        return True
    if isinstance(old, str) and isinstance(new, str) and old[:1] in "{[" and new[:1] in "{[":
        try:
            return bool(json.loads(old) == json.loads(new))
        except ValueError:
            return False
    return False


class Provider(ResourceProviderServicer):
    """The part that all providers share. Override the lower-case methods."""

    version: ClassVar[str]

    def configure(self, config: Values) -> None:
        """Configure the provider with the inputs of its resource."""

    def invoke(self, token: str, arguments: Values) -> Values:
        """Call a function such as `aws:ecr/getImages:getImages`."""
        raise Refused(f"the local stand-in does not know the function {token}")

    def check(self, kind: str, name: str, olds: Values, news: Values, seed: bytes) -> Values:
        """Validate inputs, and add defaults and generated names."""
        raise NotImplementedError

    def replaces(self, kind: str) -> frozenset[str]:
        """The inputs that force a replacement."""
        raise NotImplementedError

    def ignored_in_diff(self, kind: str, name: str, old: Any, new: Any) -> bool:
        """Whether the real provider ignores this change of an input."""
        return False

    def compared(self, state: Values, olds: Values) -> Values:
        """The old inputs to compare with the new ones."""
        return olds

    def ignored_changes(self, asked: Any) -> Any:
        """The inputs in `ignoreChanges` that a diff ignores."""
        return asked

    def computed(self, kind: str) -> frozenset[str]:
        """The outputs that are not inputs. They are unknown in the preview of a create."""
        raise NotImplementedError

    def changed_outputs(self, kind: str, changed: set[str], news: Values) -> frozenset[str]:
        """The outputs that are unknown in the preview of an update of these inputs."""
        return frozenset()

    def create(self, kind: str, urn: str, inputs: Values) -> tuple[str, Values]:
        """Create the resource. Returns its ID and all its properties."""
        raise NotImplementedError

    def read(self, kind: str, identity: str, state: Values) -> tuple[str, Values] | None:
        """Read the ID and all current properties. Returns None if the resource is gone. An import has no state yet."""
        raise NotImplementedError

    def update(self, kind: str, urn: str, identity: str, olds: Values, news: Values, changed: set[str]) -> Values:
        """Update the changed inputs in place: none, if only `initErrors` are cleared. Returns all properties."""
        raise NotImplementedError

    def delete(self, kind: str, identity: str, state: Values) -> None:
        """Delete the resource. It is not an error if it is gone already."""
        raise NotImplementedError

    def end(self) -> None:
        """End the child processes, because this process ends."""

    def input_names(self, kind: str) -> frozenset[str]:
        """The names of all inputs."""
        raise NotImplementedError

    # ---- the protocol --------------------------------------------------------------------------------------------

    def log(self, urn: str, message: str, *, severity: str = "INFO", passing: bool = False) -> None:
        """Log a line for a resource. The next line replaces an ephemeral one."""
        request = engine_pb2.LogRequest(
            severity=engine_pb2.LogSeverity.Value(severity), message=message, urn=urn, ephemeral=passing
        )
        self._engine.Log(request)

    def Handshake(self, request: Any, context: Any) -> Any:
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(request.engine_address))
        return provider_pb2.ProviderHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=self.version)

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        olds, news = _values(request.old_inputs), _values(request.news)
        changed = sorted(key for key in olds | news if olds.get(key) != news.get(key) and key != "version")
        kinds = provider_pb2.DiffResponse
        return provider_pb2.DiffResponse(changes=kinds.DIFF_SOME if changed else kinds.DIFF_NONE, diffs=changed)

    def Configure(self, request: Any, context: Any) -> Any:
        with CleanErrors(context):
            self.configure(_decoded(_values(request.args)))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=False, acceptResources=False, acceptOutputs=False, supportsPreview=True
        )

    def Invoke(self, request: Any, context: Any) -> Any:
        with CleanErrors(context):
            answer = self.invoke(request.tok, _values(request.args))
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").CopyFrom(_struct(answer))
        return response

    def Check(self, request: Any, context: Any) -> Any:
        news = {key: value for key, value in _values(request.news).items() if value is not None}
        try:
            with CleanErrors(context):
                inputs = self.check(
                    _kind(request.urn), _name(request.urn), _values(request.olds), news, request.randomSeed
                )
        except WrongInputs as wrong:
            failures = [provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in wrong.problems]
            return provider_pb2.CheckResponse(failures=failures)
        return provider_pb2.CheckResponse(inputs=_struct(inputs))

    def Diff(self, request: Any, context: Any) -> Any:
        kind = _kind(request.urn)
        olds, news = _values(request.old_inputs), _values(request.news)
        changed = self._changed(kind, _values(request.olds), olds, news, request.ignoreChanges)
        replaces = self.replaces(kind)
        property_diff, response = provider_pb2.PropertyDiff, provider_pb2.DiffResponse
        detailed = {
            key: property_diff(
                kind=property_diff.UPDATE_REPLACE if key in replaces else property_diff.UPDATE, inputDiff=True
            )
            for key in changed
        }
        return response(
            changes=response.DIFF_SOME if changed else response.DIFF_NONE,
            replaces=sorted(changed & replaces),
            diffs=sorted(changed),
            detailedDiff=detailed,
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: Any) -> Any:
        kind, inputs = _kind(request.urn), _values(request.properties)
        if request.preview:
            unknown = dict.fromkeys(self.computed(kind), UNKNOWN)
            return provider_pb2.CreateResponse(properties=_struct({**unknown, **inputs}))
        with CleanErrors(context):
            identity, properties = self.create(kind, request.urn, inputs)
        return provider_pb2.CreateResponse(id=identity, properties=_struct(properties))

    def Read(self, request: Any, context: Any) -> Any:
        kind = _kind(request.urn)
        state, inputs = _values(request.properties), _values(request.inputs)
        with CleanErrors(context):
            found = self.read(kind, request.id, state)
        if found is None:
            return provider_pb2.ReadResponse()
        identity, live = found
        # An import has no inputs yet, so all properties that can be inputs are used.
        names = inputs or {
            key: value for key, value in live.items() if key in self.input_names(kind) and value not in (None, [], {})
        }
        read_inputs = {
            key: inputs[key] if key in inputs and self._is_still(kind, key, inputs[key], live) else live.get(key)
            for key in names
        }
        return provider_pb2.ReadResponse(id=identity, properties=_struct(live), inputs=_struct(read_inputs))

    def Update(self, request: Any, context: Any) -> Any:
        kind, olds, news = _kind(request.urn), _values(request.olds), _values(request.news)
        changed = self._changed(kind, olds, _values(request.old_inputs), news, request.ignoreChanges)
        if request.preview:
            unknown = dict.fromkeys(self.changed_outputs(kind, changed, news), UNKNOWN)
            return provider_pb2.UpdateResponse(properties=_struct({**olds, **news, **unknown}))
        with CleanErrors(context):
            properties = self.update(kind, request.urn, request.id, olds, news, changed)
        return provider_pb2.UpdateResponse(properties=_struct(properties))

    def Delete(self, request: Any, context: Any) -> Any:
        with CleanErrors(context):
            self.delete(_kind(request.urn), request.id, _values(request.properties))
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        # As in both real providers, operations in progress continue.
        return empty_pb2.Empty()

    def _is_still(self, kind: str, name: str, value: Any, live: Values) -> bool:
        """Whether an input equals the value that was read, or a diff ignores the difference."""
        found = live.get(name, value)
        return same(value, found) or self.ignored_in_diff(kind, name, found, value)

    def _changed(self, kind: str, state: Values, olds: Values, news: Values, ignored: Any) -> set[str]:
        olds, ignored = self.compared(state, olds), self.ignored_changes(ignored)
        return {
            key
            for key in olds | news
            if key not in ignored
            and not same(olds.get(key), news.get(key))
            and not self.ignored_in_diff(kind, key, olds.get(key), news.get(key))
        }


class WrongInputs(Exception):
    """`check` refused inputs: pairs of property path and reason."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(str(problems))
        self.problems = problems


class CleanErrors:
    """Convert an exception to a gRPC status, so that the engine shows its text without a traceback."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        if isinstance(error, HalfDone):
            self._context.set_trailing_metadata([("grpc-status-details-bin", _init_failed(error).SerializeToString())])
        if isinstance(error, Exception) and not isinstance(error, WrongInputs):
            self._context.abort(grpc.StatusCode.UNKNOWN, told(error))


def serve_provider(provider: Provider) -> None:
    """Serve a provider to the engine that started this process."""
    provider._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine_address()))
    serve(lambda server: provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server), provider.end)


def told(error: Exception) -> str:
    """The text of an exception that the user sees."""
    return str(error) if isinstance(error, Refused | HalfDone) else f"{type(error).__name__}: {error}"


def _init_failed(half: HalfDone) -> status_pb2.Status:
    """The error that tells the engine that the resource exists (`ErrorResourceInitFailed` in provider.proto)."""
    detail = provider_pb2.ErrorResourceInitFailed(
        id=half.identity, properties=_struct(half.properties), reasons=[str(half)]
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(half))
    status.details.add().Pack(detail)
    return status


def _kind(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _values(struct: struct_pb2.Struct) -> Values:
    """Convert to plain values. Whole numbers become `int`, which protobuf does not have."""
    return dict(_whole(json_format.MessageToDict(struct)))


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    result = struct_pb2.Struct()
    result.update(dict(values))
    return result


def _decoded(config: Values) -> Values:
    """Decode a provider input. The engine sends those that are not strings as JSON."""
    structured = {key for key, value in config.items() if str(value)[:1] in ("{", "[") or value in ("true", "false")}
    return {key: json.loads(value) if key in structured else value for key, value in config.items()}
