"""`ImageFunction`: a Lambda function that runs a container image, with its role, its logs and its endpoint."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import pulumi
import pulumi_aws as aws
from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, field_validator

from components import iam
from components.alarms import Alarms, create_alarms
from components.called import Called
from components.endpoint import Endpoint, NoEndpoint, check_endpoint, create_endpoint
from components.image.source import PLATFORMS, BuiltImage, ExistingImage, push, require_digest
from components.limits import (
    ENVIRONMENT_BYTES,
    MEMORY_MB,
    STORAGE_MB,
    TIMEOUT_SECONDS,
    KmsKeyArn,
    PolicyArn,
    Retention,
    SecretArn,
    Switch,
    TargetArn,
    regional_arn,
    within,
)
from components.model import Late, Model, Share, Whole, allowed, rule
from components.triggers import (
    AnyTrigger,
    Asynchronous,
    QueueTrigger,
    configure_asynchronous,
    create_triggers,
    known,
    require_distinct,
)

# Lambda sets these variables itself, and refuses them in the configuration.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
RESERVED_VARIABLES = frozenset({
    "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
})  # fmt: skip
VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
# https://docs.aws.amazon.com/lambda/latest/api/API_TagResource.html
TAG = re.compile(r"(?!aws:)[\w .:/=+@-]{1,128}")

ALIAS = "live"
OWN_SIDS = (
    "Logs", "Secrets", "Parameters", "DeadLetters", "Network", "Traces", "FileSystem", "OnSuccess", "OnFailure",
    "OnFailureBucket", "TriggerQueues", "TriggerKeys",
)  # fmt: skip


def _variable(name: str) -> str:
    if name in RESERVED_VARIABLES:
        raise rule("is set by Lambda itself; use another name")
    if not VARIABLE.fullmatch(name):
        raise rule("is not a name of letters, digits and _ with a letter first. Example: STAGE")
    return name


def _tag(name: str) -> str:
    if not TAG.fullmatch(name):
        raise rule(
            "is not a name of up to 128 letters, digits, spaces and . : / = + @ _ - that does not begin with aws:. "
            "Example: team"
        )
    return name


VariableName = Annotated[str, AfterValidator(_variable)]
TagName = Annotated[str, AfterValidator(_tag)]
TagValue = Annotated[
    str,
    allowed(
        "a text of up to 256 letters, digits, spaces and . : / = + @ _ -",
        "orders",
        max_length=256,
        pattern=r"^[\w .:/=+@-]*$",
    ),
]


class Vpc(Model):
    """The network of a function.

    Lambda deletes the function's network interfaces up to 20 minutes after the function, with the function's role. So
    destroy the function first (`pulumi destroy --target URN --target-dependents`), and the rest when the network
    interfaces are deleted.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
    """

    subnets: Annotated[
        Sequence[Annotated[str, Field(pattern="^subnet-[0-9a-z]+$")]],
        allowed("a list of subnet IDs", ["subnet-0a1b2c3d"], min_length=1, max_length=16),
    ]
    """IDs of its subnets."""
    security_groups: Annotated[
        Sequence[Annotated[str, Field(pattern="^sg-[0-9a-zA-Z]+$")]],
        allowed("a list of security group IDs", ["sg-0a1b2c3d"], min_length=1, max_length=5),
    ]
    """IDs of its security groups."""


class FileSystem(Model):
    """An EFS file system that a function mounts, such as for models that no image has room for.

    The network of the function must reach its mount targets on port 2049. They must exist before the function.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-filesystem.html
    """

    access_point: Annotated[
        str,
        regional_arn(
            "the ARN of an EFS access point",
            "elasticfilesystem",
            "access-point/fsap-[0-9a-f]+",
            "access-point/fsap-0123456789abcdef0",
        ),
    ]
    """Access point to mount."""
    path: Annotated[
        str,
        allowed("a path right below /mnt/", "/mnt/models", pattern="^/mnt/[a-zA-Z0-9_.-]+$", max_length=160),
    ]
    """Path of the file system in the function."""
    read_only: Switch = False
    """Whether the file system is read-only."""


class Release(Model):
    """Published versions behind the alias `live`."""

    provisioned_concurrency: Annotated[Whole, allowed("a whole number of instances, 0 or more", 1, ge=0)] = 0
    """Number of instances of the new version that are kept warm."""
    previous_share: Annotated[Share, allowed("a number from 0 to below 1", 0.9, ge=0, lt=1)] = 0.0
    """Share of the calls that the version with the previous image keeps, until this is 0 again. Lambda allows it only
    without provisioned concurrency. https://docs.aws.amazon.com/lambda/latest/dg/configuring-alias-routing.html"""
    test_event: Annotated[Mapping[str, Any] | None, allowed("an event", {"httpMethod": "GET"})] = None
    """Event that a new version must process before the alias moves to it. If the version fails, the update fails, and
    callers keep the previous version. The response is stored in the state."""

    @field_validator("previous_share")
    @classmethod
    def _without_provisioned(cls, share: float, info: ValidationInfo) -> float:
        if share and info.data.get("provisioned_concurrency"):
            raise rule(
                "must not be set together with `provisioned_concurrency`: Lambda refuses weights on an alias that has "
                "provisioned concurrency. Set one of them to 0"
            )
        return share


class Function(Model):
    """A Lambda function."""

    name: Annotated[
        str, allowed("1 to 64 letters, digits, - and _", "cross-account-function", pattern=r"^[a-zA-Z0-9_-]{1,64}$")
    ] = "cross-account-function"
    """Name of the function. https://docs.aws.amazon.com/lambda/latest/api/API_CreateFunction.html"""
    description: Annotated[str, allowed("up to 256 characters", "Says hello", max_length=256)] = ""
    """Description of the function."""
    memory: Annotated[Whole, within(MEMORY_MB, "MB")] = 128
    """Memory in MB. The processor time increases with it."""
    timeout: Annotated[Whole, within(TIMEOUT_SECONDS, "seconds")] = 3
    """Maximum duration of a call in seconds."""
    architecture: Annotated[Literal["x86_64", "arm64"], allowed("x86_64 or arm64", "x86_64")] = "x86_64"
    """Instruction set of the function and its image."""
    storage: Annotated[Whole, within(STORAGE_MB, "MB")] = 512
    """Size of `/tmp` in MB."""
    environment: Annotated[
        Mapping[VariableName, Late], allowed("variables with a text each", {"STAGE": "test"}, repr=False)
    ] = {}
    """Environment variables, at most 4 KB in total. Everyone who may read the function can read them. Values that are
    set with `--secret` are encrypted in the state and hidden in previews."""
    secrets: Annotated[
        Mapping[VariableName, SecretArn],
        allowed(
            "variables with the ARN of a Secrets Manager secret or an SSM parameter each",
            {"DATABASE": "arn:aws:secretsmanager:us-east-1:222222222222:secret:database"},
            repr=False,
        ),
    ] = {}
    """Variables with the ARN of a secret in Secrets Manager or a parameter in SSM. The function may read it, and
    fetches it itself."""
    entry_point: Annotated[Sequence[str], allowed("a list of words", ["/entry.sh"])] = ()
    """Replaces the image's ENTRYPOINT."""
    command: Annotated[Sequence[str], allowed("a list of words", ["app.other"])] = ()
    """Replaces the image's CMD, the handler."""
    working_directory: Annotated[
        str | None, allowed("an absolute path", "/var/task", pattern="^/", max_length=1000)
    ] = None
    """Replaces the image's WORKDIR."""
    reserved_concurrency: Annotated[Whole | None, allowed("a whole number of calls, 0 or more", 10, ge=0)] = None
    """Number of concurrent calls that is reserved from the account's pool; 0 stops the function. Default: none."""
    vpc: Vpc | None = None
    """Network of the function. Default: none."""
    file_system: FileSystem | None = None
    """EFS file system that the function mounts; requires `vpc`. Default: none."""
    tracing: Switch = False
    """Whether calls are traced with X-Ray."""
    log_retention: Retention = 30
    """Days after which log lines are deleted."""
    json_logs: Switch = False
    """Whether every log line is a JSON object."""
    log_kms_key: KmsKeyArn | None = None
    """KMS key that encrypts the log. Default: the key of CloudWatch Logs."""
    dead_letter: TargetArn | None = None
    """Queue or topic that receives the events of failed asynchronous calls."""
    asynchronous: Asynchronous | None = None
    """Retries and destinations of asynchronous calls. Default: Lambda's own, two retries within six hours."""
    triggers: Annotated[
        Sequence[AnyTrigger],
        AfterValidator(require_distinct),
        allowed(
            "a list of triggers",
            [{"type": "queue", "name": "orders", "queue": "arn:aws:sqs:us-east-1:222222222222:orders"}],
        ),
    ] = ()
    """Events that call the function. The order does not matter."""
    permissions_boundary: PolicyArn | None = None
    """Permissions boundary of the execution role."""
    statements: Annotated[
        Sequence[Mapping[str, Any]],
        allowed(
            "a list of policy statements",
            [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}],
        ),
    ] = ()
    """Further statements of the execution role's policy."""
    tags: Annotated[Mapping[TagName, TagValue], allowed("tags with a text each", {"team": "orders"})] = {}
    """Tags of the function, its role and its log group."""
    release: Release | None = None
    """Publish a version with each change, and let callers use the alias `live`. Default: callers use the newest
    code."""
    alarms: Alarms | None = None
    """CloudWatch alarms; `{}` for the default ones."""

    @field_validator("environment", "secrets")
    @classmethod
    def _variables(cls, variables: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        others: Mapping[str, Any] = info.data.get("environment", {}) if info.field_name == "secrets" else {}
        if twice := sorted(set(variables) & set(others)):
            raise rule("is a variable of `environment` as well; set it once", twice[0])
        # Lambda measures the JSON text of all variables.
        known = {name: value for name, value in {**others, **variables}.items() if isinstance(value, str)}
        size = len(json.dumps(known, separators=(",", ":"), ensure_ascii=False).encode())
        if size > ENVIRONMENT_BYTES:
            raise rule(
                f"has {size} bytes; Lambda allows {ENVIRONMENT_BYTES} for all variables. Put the rest into the image, "
                "or into a parameter that the function reads"
            )
        return variables

    @field_validator("file_system")
    @classmethod
    def _in_network(cls, system: FileSystem | None, info: ValidationInfo) -> FileSystem | None:
        if system and "vpc" in info.data and info.data["vpc"] is None:
            raise rule("requires `vpc`, because the function reaches a file system through its network")
        return system

    @property
    def queues(self) -> list[QueueTrigger]:
        """The triggers that are queues."""
        return [trigger for trigger in self.triggers if isinstance(trigger, QueueTrigger)]

    @field_validator("statements")
    @classmethod
    def _grants(cls, statements: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        sids = [statement["Sid"] for statement in statements if "Sid" in statement]
        for index, statement in enumerate(statements):
            kinds = [{"Effect"}, {"Action", "NotAction"}, {"Resource", "NotResource"}]
            if not all(kind & set(statement) for kind in kinds) or statement["Effect"] not in ("Allow", "Deny"):
                raise rule("must have Effect (Allow or Deny), Action and Resource", index)
            if "Sid" in statement and (statement["Sid"] in OWN_SIDS or sids.count(statement["Sid"]) > 1):
                raise rule("must have no Sid, or one that no other statement has", index)
        return statements


def _image_type(given: Any) -> str:
    """The kind of an image argument."""
    is_existing = isinstance(given, ExistingImage) or (isinstance(given, Mapping) and "uri" in given)
    return "ExistingImage" if is_existing else "BuiltImage"


class ImageFunctionArgs(Function):
    """Arguments of `ImageFunction`."""

    image: Annotated[
        Annotated[BuiltImage, Tag("BuiltImage")] | Annotated[ExistingImage, Tag("ExistingImage")],
        Discriminator(_image_type),
    ]
    """Image that the function runs: an existing image, or one to build and push."""
    endpoint: Endpoint = Field(default_factory=NoEndpoint)
    """The endpoint of the function. Default: none."""
    secret_environment: Switch = False
    """Whether the values of `environment` are encrypted in the state and hidden in previews."""
    previous_version: Annotated[str | None, allowed("a version of the function", "3", pattern="^[0-9]+$")] = None
    """Version that keeps the release's previous share of the calls. Default: the new version gets all of them."""

    @field_validator("image")
    @classmethod
    def _same_architecture(cls, image: BuiltImage | ExistingImage, info: ValidationInfo) -> BuiltImage | ExistingImage:
        platform = PLATFORMS.get(info.data.get("architecture", ""))
        if isinstance(image, BuiltImage) and platform and image.build.platform != platform:
            raise rule(
                f"is {image.build.platform}, but `architecture` is {info.data['architecture']}; it must be {platform}",
                "build",
                "platform",
            )
        return image

    def variables(self) -> dict[str, pulumi.Input[str]]:
        """All environment variables: values and references of secrets."""
        hide = pulumi.Output.secret if self.secret_environment else lambda value: value
        return {**{name: hide(value) for name, value in self.environment.items()}, **self.secrets}

    def known(self) -> "pulumi.Output[ImageFunctionArgs]":
        """The same arguments, when the ARNs of triggers and destinations are known."""
        asynchronous = known(self.asynchronous) if self.asynchronous else None
        late = pulumi.Output.all(triggers=pulumi.Output.all(*map(known, self.triggers)), asynchronous=asynchronous)
        return late.apply(lambda values: self.model_copy(update=values))

    def role_policy(self, log_group_arn: str) -> iam.Document:
        """The policy of the execution role: write to its log group, and use the resources in the arguments."""
        arns = sorted(set(self.secrets.values()))
        secrets = [arn for arn in arns if ":secretsmanager:" in arn]
        parameters = [arn for arn in arns if ":ssm:" in arn]
        queues = sorted(str(trigger.queue) for trigger in self.queues)
        keys = sorted({str(trigger.kms_key) for trigger in self.queues if trigger.kms_key})
        asynchronous = self.asynchronous or Asynchronous()
        statements = [
            iam.writes_logs(log_group_arn),
            secrets and iam.reads_secrets(secrets),
            parameters and iam.reads_parameters(parameters),
            *(iam.sends_results("DeadLetters", self.dead_letter) if self.dead_letter else ()),
            self.vpc and iam.joins_network(),
            self.tracing and iam.sends_traces(),
            self.file_system
            and iam.mounts_file_system(self.file_system.access_point, read_only=self.file_system.read_only),
            queues and iam.polls_queues(queues),
            keys and iam.decrypts_queues(keys),
            *(iam.sends_results("OnSuccess", str(asynchronous.on_success)) if asynchronous.on_success else ()),
            *(iam.sends_results("OnFailure", str(asynchronous.on_failure)) if asynchronous.on_failure else ()),
            *map(dict, self.statements),
        ]
        return iam.document(*(statement for statement in statements if isinstance(statement, dict)))


class ImageFunction(pulumi.ComponentResource):
    """A Lambda function that runs a container image by digest.

    Its execution role may write to its log group and use the resources in its arguments. Lambda pulls the image, not
    the role. https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
    """

    image_uri: pulumi.Output[str]
    """The image it runs, `REPOSITORY@sha256:…`."""
    image_digest: pulumi.Output[str]
    """The image's digest, `sha256:…`."""
    function_name: pulumi.Output[str]
    """Name of the function."""
    function_arn: pulumi.Output[str]
    """ARN of the function."""
    version: pulumi.Output[str]
    """The latest published version; `$LATEST` if there is none."""
    alias_arn: pulumi.Output[str | None]
    """ARN of the alias `live`; None without a `Release`."""
    endpoint_url: pulumi.Output[str | None]
    """URL of the endpoint; None without an endpoint."""
    api_key: pulumi.Output[str | None]
    """The key for routes with `api_key`, a secret; None without such a route."""
    domain_target: pulumi.Output[str | None]
    """Name that the DNS record of the API's domain refers to; None without a domain."""
    alarm_topic_arn: pulumi.Output[str | None]
    """ARN of the topic that receives alarms; None without alarms."""
    log_group_name: pulumi.Output[str]
    """Name of its log group."""
    trigger_policies: pulumi.Output[Mapping[str, str] | None]
    """By ARN of a queue or topic, the policy whose statements its owner adds, as JSON; None if there are none."""

    def __init__(self, name: str, args: ImageFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cross-account-ecr:index:ImageFunction", name, None, opts)
        checks = check_endpoint(name, args.endpoint, pulumi.ResourceOptions(parent=self))
        self._prefix, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self, depends_on=checks)
        if isinstance(args.image, BuiltImage):
            pushed = push(f"{name}-image", args.image, self._child)
            self.image_uri = pushed.repo_digest.apply(require_digest)
            # Build first, because it can fail. Nothing else is created before.
            self._child = pulumi.ResourceOptions(parent=self, depends_on=[pushed])
        else:
            self.image_uri = pulumi.Output.from_input(args.image.uri).apply(require_digest)

        # Otherwise Lambda creates the group at the first call, without a retention.
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=f"/aws/lambda/{args.name}",
            retention_in_days=args.log_retention,
            kms_key_id=args.log_kms_key,
            tags=args.tags or None,
            opts=self._child,
        )
        role = aws.iam.Role(
            f"{name}-role",
            assume_role_policy=json.dumps(iam.trust_policy("lambda")),
            permissions_boundary=args.permissions_boundary,
            tags=args.tags or None,
            opts=self._child,
        )
        role_policy = aws.iam.RolePolicy(
            f"{name}-role-policy",
            role=role.name,
            policy=pulumi.Output.all(log_group.arn, args.known()).apply(
                lambda given: json.dumps(given[1].role_policy(given[0]))
            ),
            opts=self._child,
        )
        function = self._function(role, [log_group, role_policy])
        alias = self._alias(args.release, function) if args.release else None
        none: pulumi.Output[str | None] = pulumi.Output.from_input(None)
        self.image_digest = self.image_uri.apply(lambda uri: uri.partition("@")[2])
        self.function_name = function.name
        self.function_arn = function.arn
        self.version = function.version
        self.alias_arn = alias.arn if alias else none
        called = Called(
            prefix=name,
            name=args.name,
            function=function,
            alias=alias,
            role=role,
            rights=role_policy,
            boundary=args.permissions_boundary,
            tags=args.tags,
            opts=self._child,
        )
        endpoint = create_endpoint(args.endpoint, called)
        self.endpoint_url, self.api_key, self.domain_target = endpoint.url, endpoint.api_key, endpoint.domain_target
        queues = {one.name: one.queue for one in args.queues}
        self.alarm_topic_arn = (
            create_alarms(args.alarms, called, timeout=args.timeout, queues=queues) if args.alarms else none
        )
        if args.asynchronous:
            configure_asynchronous(args.asynchronous, called)
        self.trigger_policies = create_triggers(args.triggers, called)
        self.log_group_name = log_group.name
        self.register_outputs({output: getattr(self, output) for output in ImageFunction.__annotations__})

    def _function(self, role: "aws.iam.Role", before: list[pulumi.Resource]) -> "aws.lambda_.Function":
        args, vpc = self._args, self._args.vpc
        overrides: aws.lambda_.FunctionImageConfigArgsDict = {}
        if args.entry_point:
            overrides["entry_points"] = list(args.entry_point)
        if args.command:
            overrides["commands"] = list(args.command)
        if args.working_directory:
            overrides["working_directory"] = args.working_directory
        return aws.lambda_.Function(
            self._prefix,
            name=args.name,
            description=args.description or None,
            package_type="Image",
            image_uri=self.image_uri,
            image_config=overrides or None,
            architectures=[args.architecture],
            memory_size=args.memory,
            timeout=args.timeout,
            # If these are left out, the provider keeps the old values, so they are always set.
            ephemeral_storage={"size": args.storage},
            environment={"variables": args.variables()} if args.variables() else None,
            reserved_concurrent_executions=args.reserved_concurrency,
            vpc_config={"subnet_ids": vpc.subnets, "security_group_ids": vpc.security_groups} if vpc else None,
            file_system_config=(
                {"arn": args.file_system.access_point, "local_mount_path": args.file_system.path}
                if args.file_system
                else None
            ),
            tracing_config={"mode": "Active" if args.tracing else "PassThrough"},
            logging_config={"log_format": "JSON" if args.json_logs else "Text"},
            dead_letter_config={"target_arn": args.dead_letter} if args.dead_letter else None,
            publish=True if args.release else None,
            role=role.arn,
            tags=args.tags or None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )

    def _alias(self, release: Release, function: "aws.lambda_.Function") -> "aws.lambda_.Alias":
        tests = []
        if release.test_event is not None:
            test = aws.lambda_.Invocation(
                f"{self._prefix}-test",
                function_name=function.name,
                qualifier=function.version,
                input=json.dumps(release.test_event),
                opts=self._child,
            )
            tests.append(test)
        previous = self._args.previous_version
        weights = {previous: release.previous_share} if previous and release.previous_share else {}
        alias = aws.lambda_.Alias(
            f"{self._prefix}-{ALIAS}",
            name=ALIAS,
            function_name=function.name,
            function_version=function.version,
            routing_config={"additional_version_weights": weights} if weights else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=tests),
        )
        if release.provisioned_concurrency:
            aws.lambda_.ProvisionedConcurrencyConfig(
                f"{self._prefix}-provisioned",
                function_name=function.name,
                qualifier=alias.name,
                provisioned_concurrent_executions=release.provisioned_concurrency,
                opts=self._child,
            )
        return alias
