"""The resources of both stacks in one flat program without settings and checks, as a user might write it."""

import json
import os

import pulumi
import pulumi_aws as aws
import pulumi_docker as docker

CONSUMER = "222222222222"
REGION = "us-east-1"
PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]

config = pulumi.Config()
name = config.require("name")
registry = aws.Provider("registry", region=REGION, profile="registry")
consumer = aws.Provider("consumer", region=REGION, profile="consumer")
there = pulumi.ResourceOptions(provider=registry)
here = pulumi.ResourceOptions(provider=consumer)

accounts = [CONSUMER, *(f"{number:012}" for number in range(1, config.require_int("consumers")))]
repository = aws.ecr.Repository(
    "repository",
    name=name,
    image_tag_mutability="IMMUTABLE",
    image_scanning_configuration={"scan_on_push": True},
    force_delete=True,
    opts=there,
)
policy = aws.ecr.RepositoryPolicy(
    "policy",
    repository=repository.name,
    policy=json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "CrossAccountPermission",
                    "Effect": "Allow",
                    "Principal": {"AWS": [f"arn:aws:iam::{account}:root" for account in accounts]},
                    "Action": PULL,
                },
                {
                    "Sid": "LambdaECRImageCrossAccountRetrievalPolicy",
                    "Effect": "Allow",
                    "Principal": {"Service": "lambda.amazonaws.com"},
                    "Action": PULL,
                    "Condition": {
                        "StringLike": {
                            "aws:sourceArn": [f"arn:aws:lambda:{REGION}:{account}:function:*" for account in accounts]
                        }
                    },
                },
            ],
        }
    ),
    opts=there,
)
aws.ecr.LifecyclePolicy(
    "lifecycle",
    repository=repository.name,
    policy=json.dumps(
        {
            "rules": [
                {
                    "rulePriority": 1,
                    "selection": {
                        "tagStatus": "tagged",
                        "tagPatternList": ["content-*"],
                        "countType": "imageCountMoreThan",
                        "countNumber": 50,
                    },
                    "action": {"type": "expire"},
                }
            ]
        }
    ),
    opts=there,
)
# As in the consumer's stack file: the base image may be set in the environment.
args = {key: value for key, value in os.environ.items() if key == "LAMBDA_BASE_IMAGE"}
token = aws.ecr.get_authorization_token_output(opts=pulumi.InvokeOutputOptions(provider=registry))
image = docker.Image(
    "image",
    image_name=pulumi.Output.concat(repository.repository_url, ":first"),
    build={"context": "app", "platform": "linux/amd64", "args": args},
    registry={"server": repository.repository_url, "username": token.user_name, "password": token.password},
    opts=pulumi.ResourceOptions(provider=docker.Provider("docker")),
)

for number in range(config.require_int("functions")):
    function_name = f"{name}-{number}"
    logs = aws.cloudwatch.LogGroup(
        f"logs-{number}", name=f"/aws/lambda/{function_name}", retention_in_days=30, opts=here
    )
    role = aws.iam.Role(
        f"role-{number}",
        assume_role_policy=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "lambda.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            }
        ),
        opts=here,
    )
    role_policy = aws.iam.RolePolicy(
        f"role-policy-{number}",
        role=role.name,
        policy=logs.arn.apply(
            lambda arn: json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                            "Resource": f"{arn}:*",
                        }
                    ],
                }
            )
        ),
        opts=here,
    )
    function = aws.lambda_.Function(
        f"function-{number}",
        name=function_name,
        package_type="Image",
        image_uri=image.repo_digest,
        architectures=["x86_64"],
        memory_size=128,
        timeout=3,
        role=role.arn,
        opts=pulumi.ResourceOptions(provider=consumer, depends_on=[logs, role_policy, policy]),
    )
    api = aws.apigateway.RestApi(
        f"api-{number}", name=function_name, endpoint_configuration={"types": "REGIONAL"}, opts=here
    )
    resource = aws.apigateway.Resource(
        f"hello-{number}", rest_api=api.id, parent_id=api.root_resource_id, path_part="hello", opts=here
    )
    method = aws.apigateway.Method(
        f"method-{number}",
        rest_api=api.id,
        resource_id=resource.id,
        http_method="GET",
        authorization="NONE",
        opts=here,
    )
    integration = aws.apigateway.Integration(
        f"integration-{number}",
        rest_api=api.id,
        resource_id=resource.id,
        http_method=method.http_method,
        type="AWS_PROXY",
        integration_http_method="POST",
        uri=function.invoke_arn,
        opts=here,
    )
    deployment = aws.apigateway.Deployment(
        f"deployment-{number}",
        rest_api=api.id,
        opts=pulumi.ResourceOptions(provider=consumer, depends_on=[integration]),
    )
    permission = aws.lambda_.Permission(
        f"permission-{number}",
        function=function.name,
        action="lambda:InvokeFunction",
        principal="apigateway.amazonaws.com",
        source_arn=pulumi.Output.concat(api.execution_arn, "/Prod/GET/hello"),
        opts=here,
    )
    stage = aws.apigateway.Stage(
        f"stage-{number}", rest_api=api.id, deployment=deployment.id, stage_name="Prod", opts=here
    )
    if number == 0:
        pulumi.export("functionName", function.name)
        pulumi.export("repositoryUrl", repository.repository_url)
        pulumi.export("endpointUrl", pulumi.Output.concat(stage.invoke_url, "/hello"))
