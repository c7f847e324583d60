"""`ImageFunction`: a Lambda function that runs a container image, with its role, its logs and its endpoint."""

import json
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

from components.api import FunctionApi, FunctionApiArgs
from components.errors import InvalidArgument
from components.image import PLATFORMS, BuiltImage, ExistingImage, push, require_digest
from components.policies import lambda_trust_policy, logging_policy

Architecture = Literal["x86_64", "arm64"]

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MEMORY_MB = range(128, 10_240 + 1)
TIMEOUT_SECONDS = range(1, 900 + 1)


@dataclass(frozen=True, kw_only=True)
class ApiRoute:
    """The route by which a function is called.

    Attributes:
        path: path without a leading slash.
        stage: name of the API's stage. Default `Prod`.
        public: whether anyone may call it. Default no: callers sign with AWS credentials.
    """

    path: str
    stage: str = "Prod"
    public: bool = False


@dataclass(frozen=True, kw_only=True)
class ImageFunctionArgs:
    """Arguments of `ImageFunction`.

    Attributes:
        name: the function's name, 1 to 64 letters, digits, `-` and `_`.
        image: where the image comes from.
        route: the route to serve it at.
        memory: MB, 128 to 10,240; the share of processor time grows with it. Default 128.
        timeout: seconds that one call may take, 1 to 900. Default 3.
        architecture: `x86_64` (default) or `arm64`; the image has to be of the same.
        log_retention: days after which log lines are deleted, one of the numbers CloudWatch Logs knows. Default 30.
            https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html

    Raises:
        InvalidArgument: memory or timeout out of bounds, or an image built for another architecture.
    """

    name: str
    image: BuiltImage | ExistingImage
    route: ApiRoute
    memory: int = 128
    timeout: int = 3
    architecture: Architecture = "x86_64"
    log_retention: int = 30

    def __post_init__(self) -> None:
        if isinstance(self.image, BuiltImage) and self.image.build.platform != PLATFORMS[self.architecture]:
            raise InvalidArgument(
                f"ImageFunction architecture: {self.architecture} given for an image of {self.image.build.platform}; "
                f'allowed is the same for both. Example: ImageBuild(platform="{PLATFORMS[self.architecture]}")'
            )
        bounds = (("memory", self.memory, MEMORY_MB, "MB"), ("timeout", self.timeout, TIMEOUT_SECONDS, "seconds"))
        for name, value, allowed, unit in bounds:
            if value not in allowed:
                raise InvalidArgument(
                    f"ImageFunction {name}: {value} given; allowed are {allowed[0]} to {allowed[-1]} {unit}. "
                    f"Example: {name}={allowed[0]}"
                )


class ImageFunction(pulumi.ComponentResource):
    """A Lambda function that runs a container image by digest, served at a REST API.

    Its execution role may write to its own log group and nothing else; Lambda, not the role, pulls the image.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
    """

    image_uri: pulumi.Output[str]
    """The image it runs, `REPOSITORY@sha256:…`."""
    function_name: pulumi.Output[str]
    """Name of the function."""
    function_arn: pulumi.Output[str]
    """ARN of the function."""
    endpoint_url: pulumi.Output[str]
    """URL that calls it."""

    def __init__(self, name: str, args: ImageFunctionArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cross-account-ecr:index:ImageFunction", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        if isinstance(args.image, BuiltImage):
            pushed = push(f"{name}-image", args.image, child)
            self.image_uri = pushed.repo_digest.apply(require_digest)
            # A build can fail in many ways; nothing else is made before it has succeeded.
            child = pulumi.ResourceOptions(parent=self, depends_on=[pushed])
        else:
            self.image_uri = pulumi.Output.from_input(require_digest(args.image.uri))

        # Lambda would make the group itself, without a retention, at the first call.
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-logs", name=f"/aws/lambda/{args.name}", retention_in_days=args.log_retention, opts=child
        )
        role = aws.iam.Role(f"{name}-role", assume_role_policy=json.dumps(lambda_trust_policy()), opts=child)
        role_policy = aws.iam.RolePolicy(
            f"{name}-role-policy",
            role=role.name,
            policy=log_group.arn.apply(lambda arn: json.dumps(logging_policy(arn))),
            opts=child,
        )
        function = aws.lambda_.Function(
            name,
            name=args.name,
            package_type="Image",
            image_uri=self.image_uri,
            architectures=[args.architecture],
            memory_size=args.memory,
            timeout=args.timeout,
            role=role.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[log_group, role_policy]),
        )
        api = FunctionApi(
            f"{name}-api",
            FunctionApiArgs(
                function_name=function.name,
                invoke_arn=function.invoke_arn,
                api_name=args.name,
                path=args.route.path,
                stage=args.route.stage,
                public=args.route.public,
            ),
            opts=child,
        )
        self.function_name = function.name
        self.function_arn = function.arn
        self.endpoint_url = api.endpoint_url
        self.register_outputs(
            {
                "image_uri": self.image_uri,
                "function_name": self.function_name,
                "function_arn": self.function_arn,
                "endpoint_url": self.endpoint_url,
            }
        )
