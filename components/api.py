"""`FunctionApi`: a regional REST API with one route to a Lambda function."""

import hashlib
import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws


@dataclass(frozen=True, kw_only=True)
class FunctionApiArgs:
    """Arguments of `FunctionApi`.

    Attributes:
        api_name: name of the API.
        function_name: name of the function that answers.
        invoke_arn: the ARN by which API Gateway calls it.
        path: path of the route without a leading slash, such as `hello` or `v1/hello`.
        method: HTTP method of the route. Default `GET`.
        stage: name of the stage, the first part of every path. Default `Prod`.
        public: whether anyone may call it. Default no: callers sign with AWS credentials (`AWS_IAM`).
    """

    api_name: str
    function_name: pulumi.Input[str]
    invoke_arn: pulumi.Input[str]
    path: str
    method: str = "GET"
    stage: str = "Prod"
    public: bool = False


class FunctionApi(pulumi.ComponentResource):
    """A regional REST API that hands one route to a Lambda function.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-lambda-proxy-integrations.html
    """

    endpoint_url: pulumi.Output[str]
    """URL of the route."""

    def __init__(self, name: str, args: FunctionApiArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("cross-account-ecr:index:FunctionApi", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        authorization = "NONE" if args.public else "AWS_IAM"

        api = aws.apigateway.RestApi(name, name=args.api_name, endpoint_configuration={"types": "REGIONAL"}, opts=child)
        parent_id = api.root_resource_id
        for depth, part in enumerate(parts := args.path.split("/")):
            resource = aws.apigateway.Resource(
                "-".join([name, *parts[: depth + 1]]), rest_api=api.id, parent_id=parent_id, path_part=part, opts=child
            )
            parent_id = resource.id
        method = aws.apigateway.Method(
            f"{name}-method",
            rest_api=api.id,
            resource_id=parent_id,
            http_method=args.method,
            authorization=authorization,
            opts=child,
        )
        integration = aws.apigateway.Integration(
            f"{name}-integration",
            rest_api=api.id,
            resource_id=parent_id,
            http_method=method.http_method,
            type="AWS_PROXY",
            integration_http_method="POST",
            uri=args.invoke_arn,
            opts=child,
        )
        # A deployment is a snapshot of the routes: without a trigger an edited route never goes live.
        # https://www.pulumi.com/registry/packages/aws/api-docs/apigateway/deployment/
        routes = pulumi.Output.all(args.path, args.method, authorization, args.invoke_arn)
        deployment = aws.apigateway.Deployment(
            f"{name}-deployment",
            rest_api=api.id,
            triggers={"routes": routes.apply(_fingerprint)},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[integration]),
        )
        stage = aws.apigateway.Stage(
            f"{name}-stage", rest_api=api.id, deployment=deployment.id, stage_name=args.stage, opts=child
        )
        permission = aws.lambda_.Permission(
            f"{name}-permission",
            function=args.function_name,
            action="lambda:InvokeFunction",
            principal="apigateway.amazonaws.com",
            source_arn=pulumi.Output.concat(api.execution_arn, "/", args.stage, "/", args.method, "/", args.path),
            opts=child,
        )
        # Nobody gets the URL before a call of it can succeed.
        self.endpoint_url = pulumi.Output.all(stage.invoke_url, permission.id).apply(
            lambda known: f"{known[0]}/{args.path}"
        )
        self.register_outputs({"endpoint_url": self.endpoint_url})


def _fingerprint(routes: list[str]) -> str:
    return hashlib.sha256(json.dumps(routes).encode()).hexdigest()
