"""Configuration as typed, validated values. Nothing else reads `pulumi.Config`.

Every value is checked before a resource is made, and all errors are shown at once.
"""

import json
from collections.abc import Mapping, Set
from typing import Annotated, Any, Literal

import pulumi
from pulumi.runtime.config import is_config_secret
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from components.errors import InvalidConfiguration
from components.limits import CONTEXT_LIMIT_MB, CONTEXT_MB, MEMORY_MB, RETENTION_DAYS, STORAGE_MB, TIMEOUT_SECONDS

RETENTION_WITH_NONE = (0, *RETENTION_DAYS)

# A field's description is its rule: an error shows it behind "must be".
AccountId = Annotated[
    str,
    Field(pattern=r"^[0-9]{12}$", description="an AWS account ID, 12 digits in quotes", examples=['"222222222222"']),
]
Region = Annotated[
    str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$", description="an AWS Region", examples=["us-east-1"])
]
Profile = Annotated[str, Field(description="the name of an AWS profile", examples=["registry"])]
# https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_CreateRepository.html
RepositoryName = Annotated[
    str,
    Field(
        min_length=2,
        max_length=256,
        pattern=r"^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$",
        description="2 to 256 lower-case letters and digits, with single . _ - / between them",
        examples=["cross-account-function"],
    ),
]
# https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html
FunctionName = Annotated[
    str,
    Field(
        pattern=r"^[a-zA-Z0-9_-]{1,64}$",
        description="1 to 64 letters, digits, - and _",
        examples=["cross-account-function"],
    ),
]
# https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-known-issues.html
Path = Annotated[
    str,
    Field(
        pattern=r"^[a-zA-Z0-9._-]+(/[a-zA-Z0-9._-]+)*$",
        description="a path without a slash at either end, of letters, digits and . _ - between slashes",
        examples=["hello"],
    ),
]
# https://docs.aws.amazon.com/apigateway/latest/api/API_CreateStage.html
StageName = Annotated[
    str, Field(pattern=r"^[a-zA-Z0-9_-]{1,128}$", description="1 to 128 letters, digits, - and _", examples=["Prod"])
]
Digest = Annotated[
    str | None,
    Field(
        pattern=r"^sha256:[0-9a-f]{64}$",
        description="sha256: and 64 hex digits, in quotes",
        examples=['"sha256:' + "0" * 64 + '"'],
    ),
]
Tag = Annotated[
    str | None,
    Field(
        pattern=r"^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$",
        description="1 to 128 letters, digits and . _ -, none of . and - first",
        examples=["v1"],
    ),
]


def _number(value: Any) -> Any:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("number_type", "no number")
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Share = Annotated[float, BeforeValidator(_number)]
# The tables are the types.
Retention = Annotated[Literal[RETENTION_DAYS], BeforeValidator(_number)]  # type: ignore[valid-type]
RetentionOrNone = Annotated[Literal[RETENTION_WITH_NONE], BeforeValidator(_number)]  # type: ignore[valid-type]


def Within(bounds: range, unit: str, *, default: int) -> Any:  # noqa: N802  # a kind of Field
    """An option that is a whole number within bounds."""
    rule = f"a whole number of {unit} from {bounds[0]} to {bounds[-1]}"
    return Field(default=default, ge=bounds[0], le=bounds[-1], description=rule, examples=[str(default)])


def Switch(*, default: bool) -> Any:  # noqa: N802  # a kind of Field
    """An option that is on or off."""
    return Field(default=default, description="true or false", examples=[str(default).lower()])


class Section(BaseModel):
    """A part of the configuration: fixed once read, and refusing what it does not know. Its keys are in camel case."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True, alias_generator=to_camel)


class Rule(Section):
    """A lifecycle rule: exactly one of `keep` and `days`, for the images that it selects."""

    description: str = Field(default="", description="what the rule is for", examples=["release candidates"])
    """What it is for."""
    keep: Whole | None = Field(default=None, ge=1, description="a whole number of images, 1 or more", examples=["50"])
    """How many of the newest images stay."""
    days: Whole | None = Field(default=None, ge=1, description="a whole number of days, 1 or more", examples=["90"])
    """Age in days at which an image goes."""
    tag_prefixes: list[str] = Field(default=[], description="a list of beginnings of tags", examples=["[content-]"])
    """Only images with a tag that begins so."""
    tag_patterns: list[str] = Field(default=[], description="a list of tags with up to 4 *", examples=['["rc-*"]'])
    """Only images with such a tag."""
    untagged: bool = Switch(default=False)
    """Only images without a tag. A function may run one."""


class Repository(Section):
    """The ECR repository."""

    name: RepositoryName
    """Its name."""
    scan_on_push: bool = Switch(default=True)
    """Whether every pushed image is scanned for known vulnerabilities."""
    kms_key: str = Field(
        default="",
        pattern=r"^(arn:aws[a-z-]*:kms:.+)?$",
        description="the ARN of a KMS key",
        examples=["arn:aws:kms:us-east-1:111111111111:key/1234abcd-12ab-34cd-56ef-1234567890ab"],
    )
    """KMS key that encrypts the images; empty: AES-256. Another one later means another repository."""
    mutable_tags: list[Annotated[str, Field(pattern=r"^[a-zA-Z0-9._*-]{1,128}$")]] = Field(
        default=[], max_length=5, description="a list of up to 5 patterns of tags", examples=['["dev-*"]']
    )
    """Tags that may move; all others are immutable."""
    organization: str = Field(
        default="",
        pattern=r"^(o-[a-z0-9]{10,32})?$",
        description="the ID of an AWS organization",
        examples=["o-abcdef1234"],
    )
    """Organization that callers and functions must belong to. AWS advises to enumerate accounts."""
    publishers: list[str] = Field(
        default=[], description="a list of principal ARNs", examples=['["arn:aws:iam::222222222222:role/publisher"]']
    )
    """Principals of other accounts that may push. They must exist."""
    statements: list[dict[str, Any]] = Field(
        default=[], description="a list of policy statements with a Sid each", examples=["[{Sid: Auditors, …}]"]
    )
    """Further statements of the repository's policy."""
    lifecycle: list[Rule] | None = Field(
        default=None, description="a list of rules; [] for none", examples=["[{keep: 100}]"]
    )
    """Rules that delete images. Default none: no rule can tell which images functions run."""
    replicas: list[Region] = Field(default=[], description="a list of Regions", examples=["[eu-west-1]"])
    """Further Regions that have the images."""
    keep: bool = Switch(default=True)
    """Whether it is protected, and left in place when it leaves the program."""
    force_delete: bool = Switch(default=False)
    """Whether destroy may delete it while it holds images, with `keep: false`; has to be applied before it counts."""


class Consumer(Section):
    """An account whose Lambda functions may use the images."""

    account: AccountId
    """Its ID."""
    regions: list[Region] = Field(default=[], description="a list of Regions", examples=["[us-east-1]"])
    """Regions of its functions; by default all that the repository is in."""
    functions: str = Field(
        default="*",
        pattern=r"^[a-zA-Z0-9_*?-]{1,64}$",
        description="1 to 64 letters, digits, - and _, with the wildcards * and ?",
        examples=['"orders-*"'],
    )
    """Names of its functions."""
    roles: list[str] = Field(
        default=[], description="a list of role ARNs", examples=['["arn:aws:iam::222222222222:role/deployer"]']
    )
    """The only roles that may deploy such functions. They must exist; by default the account decides."""


class RegistryReference(Section):
    """How a consumer finds the registry."""

    stack: str = Field(min_length=1, description="the name of the registry's stack", examples=["registry"])
    """A bare name, or `organization/project/stack`."""
    profile: Profile = ""
    """AWS profile of the registry's account, for the push; empty means the default credential chain."""


IMAGE_SOURCES = ("context", "digest", "tag", "promote")


class Image(Section):
    """What the function runs: exactly one of `context`, `digest`, `tag` and `promote`."""

    context: str | None = Field(
        default=None, min_length=1, description="a folder, relative to Pulumi.yaml", examples=["app"]
    )
    """Folder to build. Its `.dockerignore` counts."""
    dockerfile: str = Field(default="", description="a file, relative to Pulumi.yaml", examples=["app/Dockerfile"])
    """Dockerfile; by default the context's."""
    args: dict[str, str | None] = Field(
        default={},
        repr=False,
        description="build arguments; null takes the value from the environment",
        examples=["{VERSION: 1}"],
    )
    """Build arguments. They can be read in the image: no secrets."""
    cache_from: list[str] = Field(
        default=[], description="a list of image names with their registry", examples=["[registry/app:cache]"]
    )
    """Images whose layers the builder may use."""
    network: str = Field(default="", description="host, none or default", examples=["host"])
    """Network of the build's steps."""
    target: str = Field(default="", description="a stage of the Dockerfile", examples=["release"])
    """Stage to build; by default the last."""
    allow_secrets: list[str] = Field(
        default=[], description="a list of patterns as of a .dockerignore", examples=['["certificates/*.pem"]']
    )
    """Files that look like secrets and are sent to the builder all the same; any other such file is refused."""
    context_limit: Whole = Within(CONTEXT_MB, "MB", default=CONTEXT_LIMIT_MB)
    """MB that the files of the context may have together."""
    digest: Digest = None
    """Run this image of the repository: nothing is built, no Docker is needed."""
    tag: Tag = None
    """The same by tag; Lambda gets the digest that it names now."""
    promote: str | None = Field(
        default=None, min_length=1, description="the name of a consumer stack", examples=["consumer-test"]
    )
    """Run the image that another consumer stack runs, unbuilt."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "Image":
        given = [name for name in IMAGE_SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"must be exactly one of context, digest, tag and promote; given: {', '.join(given) or 'none'}"
            )
        of_a_build = {"dockerfile", "args", "cache_from", "network", "target", "allow_secrets", "context_limit"}
        if self.context is None and (unused := sorted(of_a_build & self.model_fields_set)):
            raise ValueError(f"must not have {', '.join(map(to_camel, unused))} without a context: nothing is built")
        return self


class Vpc(Section):
    """A network that the function is attached to."""

    subnets: list[str] = Field(min_length=1, description="a list of subnet IDs", examples=["[subnet-0a1b2c3d]"])
    """IDs of its subnets."""
    security_groups: list[str] = Field(
        min_length=1, description="a list of security group IDs", examples=["[sg-0a1b2c3d]"]
    )
    """IDs of its security groups."""


class Alarms(Section):
    """CloudWatch alarms of the function."""

    errors: Whole = Field(default=1, ge=1, description="a whole number of failed calls a minute", examples=["1"])
    """Failed calls a minute that raise an alarm."""
    throttles: Whole = Field(default=1, ge=1, description="a whole number of refused calls a minute", examples=["1"])
    """Refused calls a minute that raise an alarm."""
    duration: Share = Field(default=0.9, gt=0, le=1, description="a number above 0, up to 1", examples=["0.9"])
    """Part of the timeout that a call may take before an alarm is raised."""
    topic: str = Field(
        default="", description="the ARN of an SNS topic", examples=["arn:aws:sns:us-east-1:222222222222:alarms"]
    )
    """SNS topic that is told; empty: one is made."""


class Release(Section):
    """Published versions behind the alias `live`."""

    provisioned_concurrency: Whole = Field(default=0, ge=0, description="a whole number of instances", examples=["1"])
    """Instances that are kept warm."""
    previous_share: Share = Field(default=0, ge=0, lt=1, description="a number from 0 to below 1", examples=["0.9"])
    """Share of the calls that the version of the previous image keeps, until this is 0 again."""
    test_event: dict[str, Any] | None = Field(default=None, description="an event", examples=["{httpMethod: GET}"])
    """Event that a new version has to answer before the alias moves to it."""


class Function(Section):
    """The Lambda function."""

    name: FunctionName = "cross-account-function"
    """Its name."""
    description: str = Field(default="", max_length=256, description="up to 256 characters", examples=["Says hello"])
    """What it is for."""
    memory: Whole = Within(MEMORY_MB, "MB", default=128)
    """MB of memory; processor time grows with it."""
    timeout: Whole = Within(TIMEOUT_SECONDS, "seconds", default=3)
    """Seconds that one call may take."""
    architecture: Literal["x86_64", "arm64"] = Field(
        default="x86_64", description="x86_64 or arm64", examples=["x86_64"]
    )
    """The image is built for it."""
    storage: Whole = Within(STORAGE_MB, "MB", default=512)
    """MB of `/tmp`."""
    environment: dict[str, str] = Field(
        default={}, repr=False, description="variables with a text each", examples=["{STAGE: test}"]
    )
    """Environment variables. They can be read by whoever can read the function. Values that are set with `--secret` are
    encrypted in the state and hidden in previews."""
    secrets: dict[str, str] = Field(
        default={},
        repr=False,
        description="variables with the ARN of a secret or a parameter",
        examples=["{DATABASE: arn:aws:secretsmanager:us-east-1:222222222222:secret:database}"],
    )
    """Variables whose value is an ARN of Secrets Manager or SSM, which the function may read."""
    entry_point: list[str] = Field(default=[], description="a list of words", examples=["[/entry.sh]"])
    """Replaces the image's ENTRYPOINT."""
    command: list[str] = Field(default=[], description="a list of words", examples=["[app.other]"])
    """Replaces the image's CMD, the handler."""
    working_directory: str = Field(default="", description="an absolute path", examples=["/var/task"])
    """Replaces the image's WORKDIR."""
    reserved_concurrency: Whole | None = Field(
        default=None, ge=0, description="a whole number of calls, 0 or more", examples=["10"]
    )
    """How many calls may run at a time."""
    vpc: Vpc | None = None
    """Network that it is attached to."""
    tracing: bool = Switch(default=False)
    """Whether calls are traced with X-Ray."""
    log_retention: Retention = Field(
        default=30, description=f"one of {', '.join(map(str, RETENTION_DAYS))} days", examples=["30"]
    )
    """Days after which log lines are deleted."""
    json_logs: bool = Switch(default=False)
    """Whether every log line is a JSON object."""
    log_kms_key: str = Field(default="", description="the ARN of a KMS key", examples=["arn:aws:kms:…:key/…"])
    """KMS key that encrypts the log."""
    dead_letter: str = Field(
        default="",
        description="the ARN of an SQS queue or SNS topic",
        examples=["arn:aws:sqs:us-east-1:222222222222:failed"],
    )
    """Where events of failed asynchronous calls go."""
    permissions_boundary: str = Field(
        default="", description="the ARN of a policy", examples=["arn:aws:iam::222222222222:policy/boundary"]
    )
    """Policy that bounds the execution role."""
    statements: list[dict[str, Any]] = Field(
        default=[], description="a list of policy statements", examples=["[{Effect: Allow, …}]"]
    )
    """Further statements of the execution role's policy."""
    tags: dict[str, str] = Field(default={}, description="tags", examples=["{team: orders}"])
    """Tags of the function, its role and its log group."""
    release: Release | None = None
    """Publish a version with each change and call the alias `live`."""
    alarms: Alarms | None = None
    """CloudWatch alarms; `{}` for the usual ones."""


class Route(Section):
    """A path and a method of the API."""

    path: Path = "hello"
    """Path without a leading slash."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "ANY"] = Field(
        default="GET", description="GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS or ANY", examples=["GET"]
    )
    """HTTP method."""
    public: bool = Switch(default=False)
    """Whether anyone may call it; otherwise callers sign with AWS credentials."""
    api_key: bool = Switch(default=False)
    """Whether a call needs the API's key."""
    required: list[Annotated[str, Field(pattern=r"^(querystring|header)\.[a-zA-Z0-9._$-]+$")]] = Field(
        default=[], description="a list of querystring.NAME and header.NAME", examples=["[querystring.name]"]
    )
    """Query parameters and headers without which a call is answered with 400."""


class Throttle(Section):
    """How many calls the API takes."""

    rate: Whole = Field(ge=1, description="a whole number of calls a second, 1 or more", examples=["100"])
    """Calls a second."""
    burst: Whole = Field(ge=1, description="a whole number of calls at once, 1 or more", examples=["50"])
    """Calls at once."""


API_OPTIONS = {
    "rest": {
        "path", "method", "public", "api_key", "required", "stage", "routes", "throttle", "access_log_retention",
        "execution_logs", "tracing", "cors_origin",
    },
    "url": {"public", "cors_origin"},
    "none": set[str](),
}  # fmt: skip


class Api(Route):
    """What the function is called through; of a REST API also its first route."""

    type: Literal["rest", "url", "none"] = Field(default="rest", description="rest, url or none", examples=["rest"])
    """A REST API, a function URL, or nothing."""
    stage: StageName = "Prod"
    """Name of the REST API's stage."""
    routes: list[Route] = Field(default=[], description="a list of routes", examples=["[{path: bye, public: true}]"])
    """Further routes of the REST API."""
    throttle: Throttle | None = None
    """How many calls the REST API takes; by default what the account does."""
    access_log_retention: RetentionOrNone = Field(
        default=0, description="0 for no access log, or days as of logRetention", examples=["30"]
    )
    """Days that the REST API's access log is kept; 0: there is none."""
    execution_logs: bool = Switch(default=False)
    """Whether errors of the REST API itself are logged."""
    tracing: bool = Switch(default=False)
    """Whether the REST API traces calls with X-Ray."""
    cors_origin: str = Field(
        default="",
        pattern=r"^(\*|https?://[^\s/'*]+)?$",
        description="an origin without a path, or *",
        examples=["https://example.com"],
    )
    """Origin whose pages may call it."""

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Api":
        if others := sorted(self.model_fields_set - API_OPTIONS[self.type] - {"type"}):
            raise ValueError(
                f"must not have {', '.join(map(to_camel, others))} with type {self.type}, which has "
                f"{', '.join(sorted(map(to_camel, API_OPTIONS[self.type]))) or 'no options'}"
            )
        called = [(route.method, route.path) for route in (self, *self.routes)]
        if twice := sorted({f"{method} {path}" for method, path in called if called.count((method, path)) > 1}):
            raise ValueError(f"must have each method and path once; more than once: {', '.join(twice)}")
        return self


class StackSettings(Section):
    """What both stacks have."""

    account: AccountId
    """The account it is made in; credentials of any other are refused."""
    region: Region
    """Region that it is made in. Lambda takes images from its own Region only."""
    profile: Profile = ""
    """AWS profile; empty means the default credential chain."""


class RegistrySettings(StackSettings):
    """The stack that owns the repository."""

    role: Literal["registry"]
    """What the stack is."""
    repository: Repository
    consumers: list[Consumer] = Field(
        default=[], description="a list of one account or more", examples=['[{account: "222222222222"}]']
    )

    @field_validator("consumers")
    @classmethod
    def _foreign_and_once(cls, consumers: list[Consumer], info: ValidationInfo) -> list[Consumer]:
        accounts = [consumer.account for consumer in consumers]
        if (own := info.data.get("account")) in accounts:
            raise ValueError(f"must not name the registry's own account {own}: its functions need no grant")
        if twice := sorted({account for account in accounts if accounts.count(account) > 1}):
            raise ValueError(f"must name each account once; more than once: {', '.join(twice)}")
        return consumers

    @model_validator(mode="after")
    def _granted(self) -> "RegistrySettings":
        if not self.consumers and not self.repository.organization:
            raise ValueError(
                'consumers must be a list of one account or more. Example: consumers: [{account: "222222222222"}]'
            )
        return self


class ConsumerSettings(StackSettings):
    """A stack that runs an image."""

    role: Literal["consumer"]
    """What the stack is."""
    registry: RegistryReference
    image: Image
    function: Function = Function()
    api: Api = Api()

    _is_secret: bool = PrivateAttr(default=False)

    @property
    def has_secret_environment(self) -> bool:
        """Whether a value of `function` was set with `--secret`. Pulumi does not tell a program which one."""
        return self._is_secret


ROLES: dict[str, type[RegistrySettings] | type[ConsumerSettings]] = {
    "registry": RegistrySettings,
    "consumer": ConsumerSettings,
}
STRUCTURED = ("repository", "consumers", "registry", "image", "function", "api")
KEYS = ("role", "account", "region", "profile", *STRUCTURED)
# Where a value that is set with `--secret` stays one: nothing else of `function` needs to be.
SECRET_KEYS = ("function",)


def load(config: pulumi.Config, environment: Mapping[str, str]) -> RegistrySettings | ConsumerSettings:
    """Read and check the stack's configuration.

    Args:
        config: of this project.
        environment: where build arguments without a value come from.

    Raises:
        InvalidConfiguration: naming every wrong key with its value, if it cannot be a secret, the rule and an example.
    """
    texts = {key: text for key in KEYS if (text := config.get(key))}
    # Misspelt keys are not asked for by name. The CLI hands all of them to the program's environment.
    namespace = f"{config.name}:"
    others = (key for key in pulumi.runtime.get_config_env() if key.startswith(namespace))
    texts |= {key: "" for name in others if (key := name.removeprefix(namespace)) not in KEYS}
    secret = {key for key in texts if is_config_secret(f"{namespace}{key}")}
    return parse(texts, config.name, environment, secret)


def parse(
    texts: Mapping[str, str], project: str, environment: Mapping[str, str], secret: Set[str] = frozenset()
) -> RegistrySettings | ConsumerSettings:
    """Check configuration values as Pulumi keeps them: a text each, of structured values the JSON.

    Args:
        texts: by key, without the namespace.
        project: the namespace, for errors.
        environment: see `load`.
        secret: the keys of which something was set with `--secret`. No error repeats their values.

    Raises:
        InvalidConfiguration: see `load`.
    """
    role = texts.get("role", "")
    if role not in ROLES:
        shown = "the value given" if "role" in secret else repr(role)
        raise InvalidConfiguration(
            f"{project}:role: {shown} is not allowed; it must be {' or '.join(ROLES)}. "
            f"Example: {project}:role: consumer"
        )
    model = ROLES[role]
    hidden = secret | {key for key, field in _fields(model).items() if _is_hidden(field)}
    problems = [
        f"{project}:{key}: is set with --secret, but can be read in names, outputs or the image: only values of "
        "function.environment are kept secret. Set it without --secret, or leave it out."
        for key in sorted(secret - set(SECRET_KEYS))
        if key in model.model_fields
    ]
    values: dict[str, Any] = {}
    for key, text in texts.items():
        try:
            values[key] = _structured(text) if key in STRUCTURED else text
        except (ValueError, RecursionError):
            shown = "the value given" if key in hidden else repr(text)
            problems.append(f"{project}:{key}: {shown} is not a structured value. Write it in the stack file, as YAML.")
    # Pulumi.yaml gives a structured key that a stack leaves out an empty default.
    values = {key: value for key, value in values.items() if value not in ({}, [])}
    problems += [
        f"{project}:{key}: is not read by a {role} stack, which has {', '.join(model.model_fields)}. Remove it."
        for key in values
        if key not in model.model_fields
    ]
    try:
        settings = model.model_validate({key: value for key, value in values.items() if key in model.model_fields})
    except ValidationError as error:
        problems += [_describe(project, model, problem, secret) for problem in error.errors()]
    if problems:
        count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
        message = "\n  ".join([f"The configuration of this {role} stack has {count}; nothing was changed.", *problems])
        raise InvalidConfiguration(message.encode(errors="backslashreplace").decode())
    settled = _with_environment(settings, environment)
    if isinstance(settled, ConsumerSettings):
        settled._is_secret = "function" in secret
    return settled


def _structured(text: str) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: it is none, or has characters that are no text.
    """
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _describe(project: str, model: type[BaseModel], problem: Any, secret: Set[str]) -> str:
    """One line: which key, which value, what is allowed, an example."""
    kind, value = problem["type"], problem["input"]
    location = tuple(part for part in problem["loc"] if part != "[key]")
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location[1:])
    key = f"{project}:{location[0]}{path}" if location else ""
    if kind == "value_error":
        reason = "the value given is not allowed" if set(location[:1]) & secret else problem["ctx"]["error"]
        return f"{key or project}: {reason}."
    if kind == "extra_forbidden":
        parent = _model_at(model, location[:-1])
        return f"{key}: there is no such option; there are {', '.join(_fields(parent)) if parent else 'none'}."
    declared = _declared(model, location)
    is_hidden = location[0] in secret or any(not field.repr for field in declared) or _is_hidden(declared[-1])
    shown = "the value given" if is_hidden else json.dumps(value, default=str)
    found = "is missing" if kind == "missing" else f"{shown} is not allowed"
    field = declared[-1]
    if not field.description:
        return f"{key}: {found}." if kind == "missing" else f"{key}: {found}; it must be {_kind(field)}."
    example = f" Example: {key}: {field.examples[0]}" if field.examples else ""
    return f"{key}: {found}; it must be {field.description}.{example}"


def _kind(field: FieldInfo) -> str:
    """What a field without a rule of its own is: a section with its options."""
    model = section_of(field)
    return f"a section with {', '.join(_fields(model))}" if model else "of another type"


def _is_hidden(field: FieldInfo) -> bool:
    """Whether a field is a section with a part that no error repeats."""
    model = section_of(field)
    return model is not None and any(not inner.repr for inner in model.model_fields.values())


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """A model's fields under the keys that the stack file has for them."""
    return {to_camel(name): field for name, field in model.model_fields.items()}


def _declared(model: type[BaseModel], location: tuple[str | int, ...]) -> list[FieldInfo]:
    """The declarations of the fields that a path goes through, the innermost last."""
    names = [part for part in location if isinstance(part, str)]
    models = [_model_at(model, tuple(names[:depth])) for depth in range(len(names))]
    found = [_fields(part).get(name) if part else None for part, name in zip(models, names, strict=True)]
    return [field for field in found if field]


def _model_at(model: type[BaseModel], location: tuple[str | int, ...]) -> type[BaseModel] | None:
    """The model that a path leads to."""
    for part in location:
        if isinstance(part, int):
            continue
        field = _fields(model).get(part)
        found = section_of(field) if field else None
        if found is None:
            return None
        model = found
    return model


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """The section that a field holds, alone, optional or in a list; None if it holds a plain value."""
    inner: list[Any] = [field.annotation, *getattr(field.annotation, "__args__", ())]
    inner += [kind for part in inner for kind in getattr(part, "__args__", ())]
    return next((kind for kind in inner if isinstance(kind, type) and issubclass(kind, BaseModel)), None)


def _with_environment(
    settings: RegistrySettings | ConsumerSettings, environment: Mapping[str, str]
) -> RegistrySettings | ConsumerSettings:
    """Settle build arguments without a value as `docker build --build-arg NAME` does: from the environment, or not.

    https://docs.docker.com/reference/cli/docker/buildx/build/#build-arg
    """
    if isinstance(settings, RegistrySettings):
        return settings
    given = {name: environment.get(name) if value is None else value for name, value in settings.image.args.items()}
    args = {name: value for name, value in given.items() if value is not None}
    return settings.model_copy(update={"image": settings.image.model_copy(update={"args": args})})
