"""Configuration as typed, checked values. Nothing else reads `pulumi.Config`.

The options are declared in the models of `components/`; here they become the settings of the two stacks. All wrong
values are reported at once, before a resource is created.
"""

import json
from collections.abc import Mapping, Set
from typing import Annotated, Any, ClassVar, Literal

import pulumi
from pulumi.runtime.config import is_config_secret
from pydantic import PrivateAttr, ValidationError
from pydantic.alias_generators import to_camel

from components.errors import InvalidArgument, InvalidConfiguration
from components.function import Endpoint, Function
from components.image.options import Image
from components.limits import AccountId, Region
from components.model import Model, allowed, models_of, problems
from components.repository import Consumers, CrossAccountRepositoryArgs, Repository
from components.rest_api import RestApi

Profile = Annotated[str, allowed("the name of an AWS profile", "registry")]


class RegistryReference(Model):
    """How a consumer finds the registry."""

    stack: Annotated[str, allowed("the name of the registry's stack", "registry", min_length=1)]
    """Name of the registry's stack, or `organization/project/stack`."""
    profile: Profile = ""
    """AWS profile of the registry's account, for the push. Default: the default credential chain."""


class StackSettings(Model):
    """Options of both stacks."""

    RENAMED: ClassVar = {"role": "stackType"}

    account: AccountId
    """Account of the stack's resources. Credentials of any other account are refused."""
    region: Region
    """Region of the stack's resources. Lambda takes images from its own Region only."""
    profile: Profile = ""
    """AWS profile of the account. Default: the default credential chain."""


class RegistrySettings(StackSettings):
    """The stack that owns the repository."""

    stack_type: Annotated[Literal["registry"], allowed("registry or consumer", "registry")]
    """What the stack is: the registry, or a consumer of its images."""
    repository: Repository
    """The ECR repository."""
    consumers: Consumers = ()
    """Accounts whose Lambda functions may use its images."""

    def component(self) -> CrossAccountRepositoryArgs:
        """Arguments of the component.

        Raises:
            InvalidArgument: the policy is too long.
        """
        options = {**self.repository.options(), "consumers": self.consumers}
        return CrossAccountRepositoryArgs(account=self.account, region=self.region, **options)


class ConsumerSettings(StackSettings):
    """A stack that runs an image."""

    stack_type: Annotated[Literal["consumer"], allowed("registry or consumer", "consumer")]
    """What the stack is: the registry, or a consumer of its images."""
    registry: RegistryReference
    """The registry's stack and the AWS profile for the push."""
    image: Image
    """The image to run: built and pushed, or one that is in the repository."""
    function: Function = Function()
    """The Lambda function."""
    api: Endpoint = RestApi()
    """What the function is called through."""

    _is_secret: bool = PrivateAttr(default=False)

    @property
    def has_secret_environment(self) -> bool:
        """Whether a value of `function` was set with `--secret`. Pulumi does not tell a program which one."""
        return self._is_secret


STACKS: dict[str, type[RegistrySettings] | type[ConsumerSettings]] = {
    "registry": RegistrySettings,
    "consumer": ConsumerSettings,
}
FIELDS = {to_camel(name): field for model in STACKS.values() for name, field in model.model_fields.items()}
STRUCTURED = [key for key, field in FIELDS.items() if models_of(field)]
KEYS = ["stackType", *(key for key in FIELDS if key != "stackType")]
# Where a value that is set with `--secret` stays one: nothing else of `function` needs to be.
SECRET_KEYS = ("function",)


def load(config: pulumi.Config) -> RegistrySettings | ConsumerSettings:
    """Read and check the stack's configuration.

    Raises:
        InvalidConfiguration: naming every wrong key with its value, if it cannot be a secret, the rule and an example.
    """
    texts = {key: text for key in KEYS if (text := config.get(key))}
    # Misspelt keys are not asked for by name. The CLI hands all of them to the program's environment.
    namespace = f"{config.name}:"
    others = (key for key in pulumi.runtime.get_config_env() if key.startswith(namespace))
    texts |= {key: "" for name in others if (key := name.removeprefix(namespace)) not in KEYS}
    secret = {key for key in texts if is_config_secret(f"{namespace}{key}")}
    return parse(texts, config.name, secret)


def parse(
    texts: Mapping[str, str], project: str, secret: Set[str] = frozenset()
) -> RegistrySettings | ConsumerSettings:
    """Check configuration values as Pulumi keeps them: a text each, of structured values the JSON.

    Args:
        texts: by key, without the namespace.
        project: the namespace, for errors.
        secret: the keys of which something was set with `--secret`. No error repeats their values.

    Raises:
        InvalidConfiguration: see `load`.
    """
    kind = texts.get("stackType", "")
    if kind not in STACKS:
        shown = "the value given" if "stackType" in secret else repr(kind)
        renamed = " It was called role before." if "role" in texts else ""
        raise InvalidConfiguration(
            f"{project}:stackType: {shown} is not allowed; it must be {' or '.join(STACKS)}.{renamed} "
            f"Example: {project}:stackType: consumer"
        )
    model = STACKS[kind]
    known = {to_camel(name): field for name, field in model.model_fields.items()}
    found = [
        f"{project}:{key}: is set with --secret, but can be read in names, outputs or the image: only values of "
        "function.environment are kept secret. Set it without --secret, or leave it out."
        for key in sorted(secret - set(SECRET_KEYS))
        if key in known
    ]
    values: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            value = _structured(text) if key in STRUCTURED else text
        except (ValueError, RecursionError):
            shown = "the value given" if key in (*secret, "function", "image") else repr(text)
            found.append(f"{project}:{key}: {shown} is not a structured value. Write it in the stack file, as YAML.")
            continue
        # Pulumi.yaml gives a structured key that a stack leaves out an empty default.
        if value in ({}, []):
            continue
        if key in known:
            values[key] = value
        elif new := model.RENAMED.get(key):
            found.append(f"{project}:{key}: is called {new} now. Rename it.")
        else:
            found.append(f"{project}:{key}: is not read by a {kind} stack, which has {', '.join(known)}. Remove it.")
    settings = None
    try:
        settings = model.model_validate(values, by_alias=True, by_name=False)
        if isinstance(settings, RegistrySettings):
            settings.component()
    except ValidationError as error:
        for one in problems(model, error):
            found.append(
                one.word(f"{project}:", to_camel, secret=bool(set(map(to_camel, map(str, one.path[:1]))) & secret))
            )
    except InvalidArgument as error:
        found.append(str(error).replace("CrossAccountRepositoryArgs.", f"{project}:"))
    if found or settings is None:
        count = "1 error" if len(found) == 1 else f"{len(found)} errors"
        message = "\n  ".join([f"The configuration of this {kind} stack has {count}; nothing was changed.", *found])
        raise InvalidConfiguration(message.encode(errors="backslashreplace").decode())
    if isinstance(settings, ConsumerSettings):
        settings._is_secret = "function" in secret
    return settings


def _structured(text: str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none, or has characters that are no text.
    """
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False).encode()
    return value
