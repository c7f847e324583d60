"""Loads the configuration as typed, validated settings. No other module reads `pulumi.Config`.

The models in `components/` declare the options; this module combines them into the settings of the two stacks. All
invalid values are reported at once, before a resource is created.
"""

import json
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import pulumi
from pulumi.runtime.config import is_config_secret
from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel

from components.endpoint import Endpoint
from components.errors import InvalidArgument, InvalidConfiguration
from components.function import Function
from components.image.options import Image
from components.limits import AccountId, Region, RoleArn
from components.model import Model, allowed, models_of, problems, rule
from components.repository import Consumers, CrossAccountRepositoryArgs, Repository
from components.rest_api import RestApi

Profile = Annotated[str, allowed("the name of an AWS profile", "registry")]
SessionName = Annotated[
    str, allowed("2 to 64 letters, digits and _+=,.@-", "deployment", pattern=r"^[a-zA-Z0-9_+=,.@-]{2,64}$")
]
MINUTES = range(15, 12 * 60 + 1)
CHAINED_MINUTES = 60


def _minutes(duration: str) -> int:
    hours, _, minutes = duration.rpartition("h")
    return int(hours or 0) * 60 + int(minutes.rstrip("m") or 0)


def _bounded(duration: str) -> str:
    if _minutes(duration) not in MINUTES:
        raise rule("must be from 15m to 12h")
    return duration


Duration = Annotated[
    str,
    AfterValidator(_bounded),
    allowed("hours and minutes from 15m to 12h", "1h", pattern=r"^([0-9]{1,2}h)?([0-9]{1,3}m)?$"),
]


class Role(Model):
    """A role that the AWS provider assumes."""

    role_arn: RoleArn
    """Role to assume. Its trust policy names who assumes it."""
    session_name: SessionName | None = None
    """Name of the session in CloudTrail. Default: a generated one."""
    duration: Duration | None = None
    """Duration of a session; when it ends, the provider starts another one. Default: 15m. The maximum is the role's
    own, and 1h if another role's session assumes it.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_manage-assume.html"""


class AssumeRole(Role):
    """A role that is assumed with other credentials."""

    external_id: Annotated[
        str | None,
        allowed("2 to 1224 letters, digits and _+=,.@:/-", "team-1", pattern=r"^[a-zA-Z0-9_+=,.@:/-]{2,1224}$"),
    ] = None
    """External ID that the role's trust policy requires (`sts:ExternalId`). It is not a secret.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_common-scenarios_third-party.html"""


class AssumeRoleWithWebIdentity(Role):
    """A role that is assumed with the token of an OIDC provider."""

    web_identity_token_file: Annotated[
        str, allowed("the path of a file", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token", min_length=1)
    ]
    """File with the token."""


class Credentials(Model):
    """The credentials for an account, with the option names of `aws.Provider`.

    https://www.pulumi.com/registry/packages/aws/api-docs/provider/
    """

    profile: Profile = ""
    """AWS profile. Default: the default credential chain, such as `AWS_ACCESS_KEY_ID` or `AWS_PROFILE`."""
    assume_roles: Annotated[
        Sequence[AssumeRole],
        allowed("a list of roles", [{"roleArn": "arn:aws:iam::222222222222:role/deployer"}]),
    ] = ()
    """Roles to assume: the first with the profile or the default credential chain, each other one with the role before
    it. The last one must be a role in the account."""
    assume_role_with_web_identity: AssumeRoleWithWebIdentity | None = None
    """Role to assume with a token of an OIDC provider, in place of a profile."""

    @field_validator("assume_roles")
    @classmethod
    def _chained(cls, roles: Sequence[AssumeRole]) -> Sequence[AssumeRole]:
        for index, role in enumerate(roles):
            if index and role.duration and _minutes(role.duration) > CHAINED_MINUTES:
                raise rule("must be at most 1h: a role's session assumes it", index, "duration")
        return roles

    @field_validator("assume_role_with_web_identity")
    @classmethod
    def _one_source(
        cls, role: AssumeRoleWithWebIdentity | None, info: ValidationInfo
    ) -> AssumeRoleWithWebIdentity | None:
        if role and info.data.get("profile"):
            raise rule("cannot be combined with `profile`. Remove one of them")
        return role


class RegistryReference(Credentials):
    """The registry's stack, and the credentials that push to its repository."""

    stack: Annotated[str, allowed("the name of the registry's stack", "registry", min_length=1)]
    """Name of the registry's stack, or `organization/project/stack`."""

    @property
    def has_credentials(self) -> bool:
        """Whether it names credentials, in place of the stack's own."""
        return bool(self.profile or self.assume_roles or self.assume_role_with_web_identity)


class Account(Model):
    """The account and Region of a stack's resources."""

    account: AccountId
    """Account of the stack's resources. Credentials of any other account are refused."""
    region: Region
    """Region of the stack's resources. Lambda uses images from its own Region only."""


class StackSettings(Credentials, Account):
    """Options of both stacks."""

    RENAMED: ClassVar = {"role": "stackType"}

    @field_validator("assume_roles", "assume_role_with_web_identity")
    @classmethod
    def _of_the_account(cls, value: Any, info: ValidationInfo) -> Any:
        if "assume_roles" not in info.data and info.field_name != "assume_roles":
            return value  # `assume_roles` is invalid itself, and its last role may be one of the account
        roles = info.data.get("assume_roles") or value
        last = roles[-1] if isinstance(roles, Sequence) and roles else value
        if last and (account := info.data.get("account")) and f"::{account}:" not in last.role_arn:
            raise rule(f"ends with {last.role_arn}; the last role must be a role in account {account}")
        return value


class RegistrySettings(StackSettings):
    """The stack that owns the repository."""

    stack_type: Annotated[Literal["registry"], allowed("registry or consumer", "registry")]
    """What the stack is: the registry, or a consumer of its images."""
    repository: Repository
    """The ECR repository."""
    consumers: Consumers = ()
    """Accounts whose Lambda functions may use its images."""

    @cached_property
    def args(self) -> CrossAccountRepositoryArgs:
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
    """The registry's stack and the credentials for the push."""
    image: Image
    """The image to run: built and pushed, or one that is in the repository."""
    function: Function = Field(default_factory=Function)
    """The Lambda function."""
    api: Endpoint = Field(default_factory=RestApi)
    """The endpoint of the function."""

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
# Keys that keep a value secret that is set with `--secret`.
SECRET_KEYS = ("function",)


def load(config: pulumi.Config) -> RegistrySettings | ConsumerSettings:
    """Read and check the stack's configuration.

    Raises:
        InvalidConfiguration: names each invalid key with its value (unless it may be secret), the rule and an example.
    """
    texts = {key: text for key in KEYS if (text := config.get(key))}
    # `config.get` finds only keys that it is asked for. Misspelled keys are in the environment of the program.
    namespace = f"{config.name}:"
    others = (key for key in pulumi.runtime.get_config_env() if key.startswith(namespace))
    texts |= {key: "" for name in others if (key := name.removeprefix(namespace)) not in KEYS}
    secret = {key for key in texts if is_config_secret(f"{namespace}{key}")}
    return parse(texts, config.name, secret)


def parse(
    texts: Mapping[str, str], project: str, secret: Set[str] = frozenset()
) -> RegistrySettings | ConsumerSettings:
    """Validate configuration values as Pulumi stores them: text, or JSON for structured values.

    Args:
        texts: the values by key, without the namespace.
        project: the namespace, which errors show.
        secret: the keys with a value that was set with `--secret`. No error shows their values.

    Raises:
        InvalidConfiguration: see `load`.
    """
    model = STACKS[_stack_type(texts, project, secret)]
    found = [_shown(project, key) for key in sorted(secret - set(SECRET_KEYS)) if key in _keys(model)]
    values = dict(_values(texts, project, model, secret, found))
    settings = None
    try:
        settings = model.model_validate(values, by_alias=True, by_name=False)
        if isinstance(settings, RegistrySettings):
            _ = settings.args  # checks the length of the policies
    except ValidationError as error:
        for one in problems(model, error):
            is_secret = any(to_camel(str(key)) in secret for key in one.path[:1])
            found.append(one.word(f"{project}:", to_camel, secret=is_secret))
    except InvalidArgument as error:
        found.append(str(error).replace("CrossAccountRepositoryArgs.", f"{project}:"))
    # Of a structured value Pulumi tells only that something in it is secret.
    if isinstance(settings, ConsumerSettings) and "function" in secret and not settings.function.environment:
        found.append(_shown(project, "function"))
    if found or settings is None:
        count = "1 error" if len(found) == 1 else f"{len(found)} errors"
        kind = texts["stackType"]
        message = "\n  ".join([f"The configuration of this {kind} stack has {count}:", *found])
        raise InvalidConfiguration(message.encode(errors="backslashreplace").decode())
    if isinstance(settings, ConsumerSettings):
        settings._is_secret = "function" in secret
    return settings


def _stack_type(texts: Mapping[str, str], project: str, secret: Set[str]) -> str:
    kind = texts.get("stackType", "")
    if kind in STACKS:
        return kind
    shown = "the value given" if "stackType" in secret else repr(kind)
    renamed = " It was named role before." if "role" in texts else ""
    raise InvalidConfiguration(
        f"{project}:stackType: {shown} is not allowed; it must be {' or '.join(STACKS)}.{renamed} "
        f"Example: {project}:stackType: consumer"
    )


def _keys(model: type[Model]) -> list[str]:
    return [to_camel(name) for name in model.model_fields]


def _values(
    texts: Mapping[str, str], project: str, model: type[StackSettings], secret: Set[str], found: list[str]
) -> Iterator[tuple[str, Any]]:
    """The keys of a stack with their values. What is wrong with a key or its text is added to `found`."""
    known = _keys(model)
    for key, text in texts.items():
        try:
            value = _structured(text) if key in STRUCTURED else text
        except (ValueError, RecursionError):
            shown = "the value given" if key in (*secret, "function", "image") else repr(text)
            found.append(f"{project}:{key}: {shown} is not a structured value. Write it in the stack file, as YAML.")
            continue
        # Pulumi.yaml has an empty default for each structured key that a stack file leaves out.
        if value in ({}, []):
            continue
        if key in known:
            yield key, value
        elif new := model.RENAMED.get(key):
            found.append(f"{project}:{key}: is now named {new}. Rename it.")
        else:
            found.append(
                f"{project}:{key}: is not an option of a {texts['stackType']} stack; its options are "
                f"{', '.join(known)}. Remove it."
            )


def _shown(project: str, key: str) -> str:
    return (
        f"{project}:{key}: is set with --secret, but its value can be read in names, outputs or the image. Only "
        "values of function.environment are kept secret. Set it without --secret, or remove it."
    )


def _structured(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: it is not JSON, or has characters that cannot be encoded.
    """
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False).encode()
    return value
