"""`ImageFunction`: a Lambda function that runs a container image, with its role, its logs and its endpoint."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pulumi
import pulumi_aws as aws

from components.alarms import Alarms, make_alarms
from components.errors import InvalidArgument
from components.iam import execution_policy, lambda_trust_policy
from components.image.source import PLATFORMS, BuiltImage, ExistingImage, push, require_digest
from components.limits import ENVIRONMENT_BYTES, MEMORY_MB, STORAGE_MB, TIMEOUT_SECONDS, require_retention
from components.rest_api import FunctionApi, RestApi

Architecture = Literal["x86_64", "arm64"]

# What Lambda sets itself and refuses to have set.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime
RESERVED_VARIABLES = frozenset(
    {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    }
)
VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
# The role is granted what these name: one thing each, without a wildcard.
SECRET_ARN = re.compile(
    r"arn:aws[a-z-]*:(secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:|ssm:[a-z0-9-]+:[0-9]{12}:parameter/)"
    r"[a-zA-Z0-9/_+=.@-]+"
)
TARGET_ARN = re.compile(r"arn:aws[a-z-]*:(sqs|sns):[a-z0-9-]+:[0-9]{12}:[a-zA-Z0-9_.-]+")
# https://docs.aws.amazon.com/lambda/latest/api/API_TagResource.html
TAG = re.compile(r"(?!aws:)[\w .:/=+@-]{1,128}")
TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")

ALIAS = "live"


@dataclass(frozen=True, kw_only=True)
class Vpc:
    """A network that the function is attached to.

    Attributes:
        subnets: IDs of its subnets, one or more.
        security_groups: IDs of its security groups, one or more.
    """

    subnets: Sequence[str]
    security_groups: Sequence[str]

    def __post_init__(self) -> None:
        if not self.subnets or not self.security_groups:
            raise InvalidArgument(
                "Vpc: no subnets or no security_groups given; allowed is one or more of each. "
                'Example: Vpc(subnets=["subnet-…"], security_groups=["sg-…"])'
            )


@dataclass(frozen=True, kw_only=True)
class Logs:
    """How the function's log is kept.

    Attributes:
        retention: days after which lines are deleted, one of the numbers CloudWatch Logs knows. Default 30.
            https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
        json: write every line, Lambda's own included, as a JSON object. Default plain text.
        kms_key: ARN of the KMS key that encrypts the log. Default the key of CloudWatch Logs.
    """

    retention: int = 30
    json: bool = False
    kms_key: str = ""

    def __post_init__(self) -> None:
        require_retention("Logs retention", self.retention)


@dataclass(frozen=True, kw_only=True)
class Release:
    """Published versions, and the alias `live` that callers use.

    Attributes:
        previous_version: the version that keeps a share of the calls. Default none: the new one takes them all.
        previous_share: its share, more than 0 and less than 1.
        provisioned_concurrency: instances of the new version that are kept warm. Default none.
        test_event: event that a new version is called with before the alias moves to it. If the function fails, so does
            the update, and callers keep the version they have. The answer is kept in the state. Default none.
    """

    previous_version: str = ""
    previous_share: float = 0.0
    provisioned_concurrency: int = 0
    test_event: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.provisioned_concurrency < 0:
            raise InvalidArgument(
                f"Release provisioned_concurrency: {self.provisioned_concurrency} given; allowed is 0 or more. "
                "Example: provisioned_concurrency=1"
            )
        if bool(self.previous_version) != (0 < self.previous_share < 1):
            raise InvalidArgument(
                f"Release: previous_version={self.previous_version!r}, previous_share={self.previous_share} given; "
                'allowed is both, the share between 0 and 1, or none. Example: previous_version="3", previous_share=0.9'
            )


@dataclass(frozen=True, kw_only=True)
class FunctionUrl:
    """A URL of the function's own, without API Gateway.

    Attributes:
        public: whether anyone may call it. Default no: callers sign with AWS credentials.
        cors_origins: origins whose pages may call it. Default none.
    """

    public: bool = False
    cors_origins: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class ImageFunctionArgs:
    """Arguments of `ImageFunction`.

    Attributes:
        name: the function's name, 1 to 64 letters, digits, `-` and `_`.
        image: where the image comes from.
        endpoint: what it is called through: a `RestApi`, a `FunctionUrl`, or None.
        description: what it is for, up to 256 characters.
        memory: MB, 128 to 10,240; the share of processor time grows with it. Default 128.
        timeout: seconds that one call may take, 1 to 900. Default 3.
        architecture: `x86_64` (default) or `arm64`; the image has to be of the same.
        storage: MB of `/tmp`, 512 (default) to 10,240.
        environment: variables, 4 KB in all. They can be read by whoever can read the function.
        secret_environment: encrypt the values of `environment` in the state and hide them in previews. Default off.
        secrets: variables whose value is the ARN of a Secrets Manager secret or an SSM parameter, which the function
            may read and fetches itself. The secret is in no state and no log.
        entry_point: replaces the image's `ENTRYPOINT`.
        command: replaces the image's `CMD`, the handler.
        working_directory: replaces the image's `WORKDIR`.
        reserved_concurrency: how many calls may run at a time, taken from the account's pool. Default no limit of its
            own; 0 stops the function.
        vpc: network to attach it to. Default none.
        tracing: trace calls with X-Ray. Default off.
        logs: how its log is kept.
        dead_letter: ARN of the SQS queue or SNS topic that gets events of failed asynchronous calls. Default none.
        permissions_boundary: ARN of the policy that bounds the execution role. Default none.
        statements: further statements of the execution role's policy.
        release: publish a version with each change and call the alias `live`. Default: callers get the newest.
        alarms: CloudWatch alarms. Default none.
        tags: tags of the function, its role and its log group.

    Raises:
        InvalidArgument: a value out of bounds, or a variable that Lambda refuses.
    """

    name: str
    image: BuiltImage | ExistingImage
    endpoint: RestApi | FunctionUrl | None = None
    description: str = ""
    memory: int = 128
    timeout: int = 3
    architecture: Architecture = "x86_64"
    storage: int = 512
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    secret_environment: bool = False
    secrets: Mapping[str, str] = field(default_factory=dict)
    entry_point: Sequence[str] = ()
    command: Sequence[str] = ()
    working_directory: str = ""
    reserved_concurrency: int | None = None
    vpc: Vpc | None = None
    tracing: bool = False
    logs: Logs = Logs()
    dead_letter: str = ""
    permissions_boundary: str = ""
    statements: Sequence[Mapping[str, Any]] = ()
    release: Release | None = None
    alarms: Alarms | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.image, BuiltImage) and self.image.build.platform != PLATFORMS[self.architecture]:
            raise InvalidArgument(
                f"ImageFunction architecture: {self.architecture} given for an image of {self.image.build.platform}; "
                f'allowed is the same for both. Example: ImageBuild(platform="{PLATFORMS[self.architecture]}")'
            )
        bounds = (
            ("memory", self.memory, MEMORY_MB, "MB"),
            ("timeout", self.timeout, TIMEOUT_SECONDS, "seconds"),
            ("storage", self.storage, STORAGE_MB, "MB"),
        )
        for name, value, allowed, unit in bounds:
            if value not in allowed:
                raise InvalidArgument(
                    f"ImageFunction {name}: {value} given; allowed are {allowed[0]} to {allowed[-1]} {unit}. "
                    f"Example: {name}={allowed[0]}"
                )
        self._check_variables()
        if self.dead_letter and not TARGET_ARN.fullmatch(self.dead_letter):
            raise InvalidArgument(
                f"ImageFunction dead_letter: {self.dead_letter!r} given; allowed is the ARN of an SQS queue or an SNS "
                'topic. Example: dead_letter="arn:aws:sqs:us-east-1:222222222222:failed"'
            )
        if self.reserved_concurrency is not None and self.reserved_concurrency < 0:
            raise InvalidArgument(
                f"ImageFunction reserved_concurrency: {self.reserved_concurrency} given; allowed is 0 or more. "
                "Example: reserved_concurrency=10"
            )

        if wrong := [
            name for name, value in self.tags.items() if not (TAG.fullmatch(name) and TAG_VALUE.fullmatch(value))
        ]:
            raise InvalidArgument(
                f"ImageFunction tags: {wrong[0]!r} given; allowed are up to 128 letters, digits, spaces and . : / = + "
                '@ _ - that do not begin with aws:, with up to 256 of these as value. Example: tags={"team": "orders"}'
            )

    def variables(self) -> dict[str, pulumi.Input[str]]:
        """All environment variables: plain ones and references of secrets."""
        hide = pulumi.Output.secret if self.secret_environment else str
        return {**{name: hide(value) for name, value in self.environment.items()}, **self.secrets}

    def _check_variables(self) -> None:
        for name in (*self.environment, *self.secrets):
            if name in RESERVED_VARIABLES or not VARIABLE.fullmatch(name):
                raise InvalidArgument(
                    f"ImageFunction environment: {name!r} given; allowed are names of letters, digits and _, a letter "
                    'first, that Lambda does not set itself. Example: environment={"STAGE": "test"}'
                )
        if twice := sorted(set(self.environment) & set(self.secrets)):
            raise InvalidArgument(
                f"ImageFunction environment: {', '.join(twice)} given as a secret as well; allowed once."
            )
        for name, reference in self.secrets.items():
            # The value may be the secret itself: it is not repeated here.
            if not SECRET_ARN.fullmatch(reference):
                raise InvalidArgument(
                    f"ImageFunction secrets: the value of {name!r} is no reference; allowed is the ARN of a Secrets "
                    "Manager secret or an SSM parameter. "
                    f'Example: secrets={{"{name}": "arn:aws:secretsmanager:us-east-1:222222222222:secret:name"}}'
                )
        # Lambda measures the JSON text of all variables.
        variables = {**self.environment, **self.secrets}
        size = len(json.dumps(variables, separators=(",", ":"), ensure_ascii=False).encode())
        if size > ENVIRONMENT_BYTES:
            raise InvalidArgument(
                f"ImageFunction environment: {size} bytes given; allowed are {ENVIRONMENT_BYTES} for all variables. "
                "Put the rest into the image, or into a parameter that the function reads."
            )


class ImageFunction(pulumi.ComponentResource):
    """A Lambda function that runs a container image by digest.

    Its execution role may write to its own log group and use what its arguments name; Lambda, not the role, pulls the
    image. https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
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
    """The version published last; `$LATEST` before the first."""
    alias_arn: pulumi.Output[str | None]
    """ARN of the alias `live`; None without a `Release`."""
    endpoint_url: pulumi.Output[str | None]
    """URL that calls it; None without an endpoint."""
    api_key: pulumi.Output[str | None]
    """The key that routes with `api_key` ask for, a secret; None without such a route."""
    alarm_topic_arn: pulumi.Output[str | None]
    """ARN of the topic that alarms tell; None without alarms."""
    log_group_name: pulumi.Output[str]
    """Name of its log group."""

    def __init__(self, name: str, args: ImageFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cross-account-ecr:index:ImageFunction", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        if isinstance(args.image, BuiltImage):
            pushed = push(f"{name}-image", args.image, child)
            self.image_uri = pushed.repo_digest.apply(require_digest)
            # A build can fail in many ways; nothing else is made before it has succeeded.
            child = pulumi.ResourceOptions(parent=self, depends_on=[pushed])
        else:
            self.image_uri = pulumi.Output.from_input(args.image.uri).apply(require_digest)

        # Lambda would make the group itself, without a retention, at the first call.
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-logs",
            name=f"/aws/lambda/{args.name}",
            retention_in_days=args.logs.retention,
            kms_key_id=args.logs.kms_key or None,
            tags=args.tags or None,
            opts=child,
        )
        role = aws.iam.Role(
            f"{name}-role",
            assume_role_policy=json.dumps(lambda_trust_policy()),
            permissions_boundary=args.permissions_boundary or None,
            tags=args.tags or None,
            opts=child,
        )
        role_policy = aws.iam.RolePolicy(
            f"{name}-role-policy",
            role=role.name,
            policy=log_group.arn.apply(lambda arn: json.dumps(_policy(args, arn))),
            opts=child,
        )
        function = self._function(name, args, role, [log_group, role_policy])
        alias = self._alias(name, args.release, function, child) if args.release else None
        self.alarm_topic_arn = (
            make_alarms(name, args.alarms, function.name, args.timeout, child).apply(lambda arn: arn)
            if args.alarms
            else pulumi.Output.from_input(None)
        )

        self.api_key = pulumi.Output.from_input(None)
        self.image_digest = self.image_uri.apply(lambda uri: uri.partition("@")[2])
        self.function_name = function.name
        self.function_arn = function.arn
        self.version = function.version
        self.alias_arn = alias.arn if alias else pulumi.Output.from_input(None)
        self.endpoint_url = self._endpoint(name, args.endpoint, args.name, function, alias, child)
        self.log_group_name = log_group.name
        self.register_outputs(
            {
                "image_uri": self.image_uri,
                "image_digest": self.image_digest,
                "function_name": self.function_name,
                "function_arn": self.function_arn,
                "version": self.version,
                "alias_arn": self.alias_arn,
                "endpoint_url": self.endpoint_url,
                "api_key": self.api_key,
                "alarm_topic_arn": self.alarm_topic_arn,
                "log_group_name": self.log_group_name,
            }
        )

    def _function(
        self, name: str, args: ImageFunctionArgs, role: aws.iam.Role, before: list[pulumi.Resource]
    ) -> aws.lambda_.Function:
        overrides: aws.lambda_.FunctionImageConfigArgsDict = {}
        if args.entry_point:
            overrides["entry_points"] = list(args.entry_point)
        if args.command:
            overrides["commands"] = list(args.command)
        if args.working_directory:
            overrides["working_directory"] = args.working_directory
        vpc = args.vpc
        return aws.lambda_.Function(
            name,
            name=args.name,
            description=args.description or None,
            package_type="Image",
            image_uri=self.image_uri,
            image_config=overrides or None,
            architectures=[args.architecture],
            memory_size=args.memory,
            timeout=args.timeout,
            # The provider takes these three for unchanged when they are left out, so they are always said.
            ephemeral_storage={"size": args.storage},
            environment={"variables": args.variables()} if args.variables() else None,
            reserved_concurrent_executions=args.reserved_concurrency,
            vpc_config={"subnet_ids": vpc.subnets, "security_group_ids": vpc.security_groups} if vpc else None,
            tracing_config={"mode": "Active" if args.tracing else "PassThrough"},
            logging_config={"log_format": "JSON" if args.logs.json else "Text"},
            dead_letter_config={"target_arn": args.dead_letter} if args.dead_letter else None,
            publish=True if args.release else None,
            role=role.arn,
            tags=args.tags or None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
        )

    def _alias(
        self, name: str, release: Release, function: aws.lambda_.Function, child: pulumi.ResourceOptions
    ) -> aws.lambda_.Alias:
        tests = []
        if release.test_event is not None:
            test = aws.lambda_.Invocation(
                f"{name}-test",
                function_name=function.name,
                qualifier=function.version,
                input=json.dumps(release.test_event),
                opts=child,
            )
            tests.append(test)
        weights = {release.previous_version: release.previous_share} if release.previous_version else {}
        alias = aws.lambda_.Alias(
            f"{name}-{ALIAS}",
            name=ALIAS,
            function_name=function.name,
            function_version=function.version,
            routing_config={"additional_version_weights": weights} if weights else None,
            opts=pulumi.ResourceOptions(parent=self, depends_on=tests),
        )
        if release.provisioned_concurrency:
            aws.lambda_.ProvisionedConcurrencyConfig(
                f"{name}-provisioned",
                function_name=function.name,
                qualifier=alias.name,
                provisioned_concurrent_executions=release.provisioned_concurrency,
                opts=child,
            )
        return alias

    def _endpoint(
        self,
        name: str,
        endpoint: RestApi | FunctionUrl | None,
        function_name: str,
        function: aws.lambda_.Function,
        alias: aws.lambda_.Alias | None,
        child: pulumi.ResourceOptions,
    ) -> pulumi.Output[str | None]:
        qualifier = alias.name if alias else None
        if isinstance(endpoint, RestApi):
            api = FunctionApi(
                f"{name}-api",
                endpoint,
                api_name=function_name,
                function_name=function.name,
                invoke_arn=alias.invoke_arn if alias else function.invoke_arn,
                qualifier=qualifier,
                opts=child,
            )
            self.api_key = api.api_key
            return api.endpoint_url.apply(lambda url: url)
        if isinstance(endpoint, FunctionUrl):
            url = aws.lambda_.FunctionUrl(
                f"{name}-url",
                function_name=function.name,
                qualifier=qualifier,
                authorization_type="NONE" if endpoint.public else "AWS_IAM",
                cors={"allow_origins": list(endpoint.cors_origins)} if endpoint.cors_origins else None,
                opts=child,
            )
            grants = self._url_grants(name, function, qualifier, child) if endpoint.public else []
            known = pulumi.Output.all(url.function_url, *(grant.id for grant in grants))
            return known.apply(lambda values: str(values[0]))
        return pulumi.Output.from_input(None)

    def _url_grants(
        self,
        name: str,
        function: aws.lambda_.Function,
        qualifier: pulumi.Input[str] | None,
        child: pulumi.ResourceOptions,
    ) -> list[aws.lambda_.Permission]:
        """The two statements without which a public URL answers 403.

        https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
        """
        return [
            aws.lambda_.Permission(
                f"{name}-url-public",
                function=function.name,
                qualifier=qualifier,
                principal="*",
                action="lambda:InvokeFunctionUrl",
                function_url_auth_type="NONE",
                opts=child,
            ),
            aws.lambda_.Permission(
                f"{name}-url-invoke",
                function=function.name,
                qualifier=qualifier,
                principal="*",
                action="lambda:InvokeFunction",
                invoked_via_function_url=True,
                opts=child,
            ),
        ]


def _policy(args: ImageFunctionArgs, log_group_arn: str) -> dict[str, Any]:
    return execution_policy(
        log_group_arn,
        secrets=args.secrets.values(),
        dead_letter=args.dead_letter,
        in_vpc=args.vpc is not None,
        tracing=args.tracing,
        extra_statements=args.statements,
    )
