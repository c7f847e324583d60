"""The components as a Pulumi package for programs in all languages: `pulumi package add REPOSITORY/plugin`.

https://www.pulumi.com/docs/iac/extending-pulumi/build-a-component/
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pulumi
from pulumi.errors import InputPropertyError
from pulumi.provider import ConstructResult, Provider, main
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

# The engine runs a plugin in its own folder, where the parent folder is not on the path (tests/engine/test_package.py).
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from components.function import ImageFunction, ImageFunctionArgs
from components.model import Model, problems
from components.repository import CrossAccountRepository, CrossAccountRepositoryArgs
from plugin.schema import outputs, schema

NAME, VERSION = "cross-account-ecr", "0.0.0"
COMPONENTS: dict[type[pulumi.ComponentResource], type[Model]] = {
    CrossAccountRepository: CrossAccountRepositoryArgs,
    ImageFunction: ImageFunctionArgs,
}


class Package(Provider):
    """Creates the components for programs in other languages."""

    def __init__(self) -> None:
        super().__init__(VERSION, json.dumps(schema(NAME, VERSION, COMPONENTS)))

    def construct(
        self, name: str, resource_type: str, inputs: pulumi.Inputs, options: pulumi.ResourceOptions | None = None
    ) -> ConstructResult:
        """Create a component.

        Raises:
            InputPropertyError: an argument is not allowed.
        """
        component = next(kind for kind in COMPONENTS if kind.__name__ == resource_type.rpartition(":")[2])
        model = COMPONENTS[component]
        try:
            args = model.model_validate(_whole(inputs), by_alias=True, by_name=False)
            created: Any = component(name, args, options)  # type: ignore[arg-type]  # each has its own arguments
        except ValidationError as error:
            found = "\n".join(one.word(f"{component.__name__}.", to_camel) for one in problems(model, error))
            raise InputPropertyError("args", found) from None
        except pulumi.RunError as error:
            raise InputPropertyError("args", str(error)) from None
        return ConstructResult(
            created.urn, {to_camel(output): getattr(created, output) for output in outputs(component)}
        )


def _whole(value: Any) -> Any:
    """Convert whole numbers to int. The engine sends every number as a float, which would be visible in policies."""
    if isinstance(value, Mapping):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


if __name__ == "__main__":
    main(Package(), sys.argv[1:])
