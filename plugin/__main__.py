"""The components as a Pulumi package, for programs in every language: `pulumi package add REPOSITORY/plugin`.

The SDK's component host infers the schema from the annotations and hands on plain dictionaries.
https://www.pulumi.com/docs/iac/concepts/components/#pulumi-plugin
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.errors import InputPropertyError
from pulumi.provider import ConstructResult, main
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.server import ComponentInitError

# A plugin is run by the path of its folder, and the components are beside it.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from components import function, repository
from components.alarms import Alarms
from components.errors import InvalidArgument
from components.function import FunctionUrl, Logs, Release, Vpc
from components.iam import Consumer
from components.image.build import ImageBuild
from components.image.source import BuiltImage, ExistingImage, RegistryLogin
from components.lifecycle import LifecycleRule
from components.rest_api import RestApi, Route, Throttle
from plugin import inputs

NAME = "cross-account-ecr"
PARTS = {"vpc": Vpc, "logs": Logs, "release": Release, "alarms": Alarms}


class CrossAccountRepository(repository.CrossAccountRepository):
    """A private ECR repository with the two policy statements that cross-account Lambda needs."""

    def __init__(
        self, name: str, args: inputs.CrossAccountRepositoryArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        given: dict[str, Any] = {**args}
        if "consumers" in given:
            given["consumers"] = [Consumer(**consumer) for consumer in given["consumers"]]
        if "lifecycle" in given:
            given["lifecycle"] = [LifecycleRule(**rule) for rule in given["lifecycle"]]
        super().__init__(name, repository.CrossAccountRepositoryArgs(**given), opts)


class ImageFunction(function.ImageFunction):
    """A Lambda function that runs a container image by digest, with its role, its logs and its endpoint."""

    def __init__(self, name: str, args: inputs.ImageFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given: dict[str, Any] = {**args, "image": _image(dict(args["image"]))}
        if "endpoint" in given:
            given["endpoint"] = _endpoint(dict(given["endpoint"]))
        given |= {part: kind(**given[part]) for part, kind in PARTS.items() if part in given}
        super().__init__(name, function.ImageFunctionArgs(**given), opts)


class Package(ComponentProvider):
    """The host, but for wrong arguments: they are an error of the user's, shown without a traceback."""

    def construct(
        self, name: str, resource_type: str, inputs: pulumi.Inputs, options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        """Make a component.

        Raises:
            InputPropertyError: an argument is wrong.
        """
        try:
            return super().construct(name, resource_type, _whole(inputs), options)
        except ComponentInitError as error:
            if isinstance(error.inner, pulumi.RunError):
                raise InputPropertyError("args", str(error.inner)) from None
            raise


def _whole(value: Any) -> Any:
    """Whole numbers as int: the engine sends every number as a float, and a policy document shows the difference."""
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _image(given: dict[str, Any]) -> BuiltImage | ExistingImage:
    if set(given) == {"uri"}:
        return ExistingImage(**given)
    if not {"build", "repository_url", "login"} <= set(given) or "uri" in given:
        raise InvalidArgument(
            f"ImageFunction image: {', '.join(sorted(given)) or 'nothing'} given; allowed is either `uri`, or `build`, "
            "`repositoryUrl` and `login`. Example: image: {uri: REPOSITORY@sha256:…}"
        )
    build = {**given["build"], "cache_from": tuple(given["build"].get("cache_from", ()))}
    return BuiltImage(**{**given, "build": ImageBuild(**build), "login": RegistryLogin(**given["login"])})


def _endpoint(given: dict[str, Any]) -> RestApi | FunctionUrl:
    if "routes" not in given:
        return FunctionUrl(**given)
    given["routes"] = [Route(**route) for route in given["routes"]]
    if "throttle" in given:
        given["throttle"] = Throttle(**given["throttle"])
    return RestApi(**given)


if __name__ == "__main__":
    main(Package([CrossAccountRepository, ImageFunction], NAME), sys.argv[1:])
