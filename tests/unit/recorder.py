"""A recorder in place of the engine: what each stack and component asks for, without a cloud."""

import json
from typing import Any

import pulumi

from settings import ConsumerSettings, RegistrySettings

PROJECT = "cross-account-ecr"
REGISTRY_STACK = "organization/cross-account-ecr/registry"
OWN_STACK = "organization/cross-account-ecr/consumer"
REGISTRY_OUTPUTS: dict[str, Any] = {
    "repositoryUrl": "111111111111.dkr.ecr.us-east-1.amazonaws.com/cross-account-function",
    "repositoryArn": "arn:aws:ecr:us-east-1:111111111111:repository/cross-account-function",
    "repositoryName": "cross-account-function",
    "registryId": "111111111111",
    "region": "us-east-1",
    "repositoryUrls": {"us-east-1": "111111111111.dkr.ecr.us-east-1.amazonaws.com/cross-account-function"},
    "organization": "",
    "deployerPolicies": {},
    "consumerAccounts": ["222222222222"],
    "consumerRegions": {"us-east-1": ["222222222222"]},
    "publishers": [],
}
DIGEST = "sha256:" + "ab" * 32
# Whose credentials a consumer stack has.
CALLER = "arn:aws:sts::222222222222:assumed-role/deployer/session"


def registry_settings(**changed: Any) -> RegistrySettings:
    """Settings of a registry stack that grants two consumers; keys as in the stack file."""
    values = {
        "stackType": "registry",
        "account": "111111111111",
        "region": "us-east-1",
        "repository": {"name": "cross-account-function"},
        "consumers": [{"account": "333333333333"}, {"account": "222222222222"}],
    }
    return RegistrySettings.model_validate({**values, **changed})


def consumer_settings(**changed: Any) -> ConsumerSettings:
    """Settings of a consumer stack that builds `app`; keys as in the stack file."""
    values = {
        "stackType": "consumer",
        "account": "222222222222",
        "region": "us-east-1",
        "registry": {"stack": "registry", "profile": "registry"},
        "image": {"context": "app"},
        "api": {"path": "hello", "stage": "Prod", "public": True},
    }
    return ConsumerSettings.model_validate({**values, **changed})


class Recorder(pulumi.runtime.Mocks):
    """Answers like the providers and remembers every resource.

    Attributes:
        stacks: outputs of the stacks that can be referenced.
        state: the resources of the stack by URN, with type and outputs.
        log_groups: names of those that the consumer's account has.
        logging_role: the role with which API Gateway writes logs in the consumer's account.
        tags: what the repository holds, tag to digest.
        manifest: what the registry answers for an image that it has, status and body.
        config: the image's configuration.
        resources: everything registered, in order.
    """

    def __init__(self) -> None:
        self.stacks: dict[str, dict[str, Any]] = {REGISTRY_STACK: dict(REGISTRY_OUTPUTS), OWN_STACK: {}}
        self.state: dict[str, dict[str, Any]] = {}
        self.log_groups: list[str] = []
        self.logging_role: str | None = "arn:aws:iam::222222222222:role/logs"
        self.tags: dict[str, str] = {}
        self.manifest: tuple[int, dict[str, Any]] = (
            200,
            {"schemaVersion": 2, "config": {"digest": DIGEST}, "layers": [{"size": 1}]},
        )
        self.config: dict[str, Any] = {"os": "linux", "architecture": "amd64"}
        self.resources: list[pulumi.runtime.MockResourceArgs] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        self.resources.append(args)
        if args.typ == "pulumi:pulumi:StackReference":
            outputs = self.stacks.get(args.resource_id or "", {})
            return args.resource_id, {"name": args.resource_id, "outputs": outputs, "secretOutputNames": []}
        if args.typ == "aws:apigateway/account:Account" and args.resource_id:
            return args.resource_id, {"cloudwatchRoleArn": self.logging_role}
        return f"{args.name}-id", {**args.inputs, **self._computed(args)}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        if args.token == "pulumi:pulumi:readStackOutputs":
            return {"outputs": self.stacks[args.args["name"]]}
        if args.token == "pulumi:pulumi:readStackResourceOutputs":
            return {"outputs": self.state}
        if args.token == "aws:cloudwatch/getLogGroups:getLogGroups":
            prefix = args.args["logGroupNamePrefix"]
            names = [name for name in self.log_groups if name.startswith(prefix)]
            return {"id": "", "region": "", "arns": [], "logGroupNamePrefix": prefix, "logGroupNames": names}
        if args.token == "aws:index/getCallerIdentity:getCallerIdentity":
            return {"accountId": "222222222222", "arn": CALLER, "id": "", "userId": ""}
        if args.token == "aws:ecr/getImages:getImages":
            return {"imageIds": [{"imageTag": tag, "imageDigest": digest} for tag, digest in self.tags.items()]}
        assert args.token == "aws:ecr/getAuthorizationToken:getAuthorizationToken", args.token
        return {
            "userName": "AWS",
            "password": "the-token",
            "proxyEndpoint": "",
            "authorizationToken": "",
            "expiresAt": "",
        }

    def registry(self, path: str) -> tuple[int, bytes]:
        """The registry's answer to a GET."""
        kind, _, reference = path.partition("/")
        if kind == "blobs":
            return 200, json.dumps(self.config).encode()
        known = reference.startswith("sha256:") or reference in self.tags
        status, body = self.manifest if known else (404, {})
        return status, json.dumps(body).encode()

    def inputs(self, kind: str) -> dict[str, Any]:
        """The inputs of the only resource of a type."""
        (only,) = [resource for resource in self.resources if resource.typ == kind]
        return only.inputs

    def kinds(self) -> list[str]:
        """The types of everything registered."""
        return [resource.typ for resource in self.resources]

    @staticmethod
    def _computed(args: pulumi.runtime.MockResourceArgs) -> dict[str, Any]:
        name = args.inputs.get("name", args.name)
        computed: dict[str, dict[str, Any]] = {
            "aws:ecr/repository:Repository": {
                "arn": REGISTRY_OUTPUTS["repositoryArn"],
                "registryId": "111111111111",
                "repositoryUrl": REGISTRY_OUTPUTS["repositoryUrl"],
            },
            "aws:cloudwatch/logGroup:LogGroup": {"arn": f"arn:aws:logs:us-east-1:222222222222:log-group:{name}"},
            "aws:iam/role:Role": {"arn": f"arn:aws:iam::222222222222:role/{name}", "name": name},
            "aws:lambda/function:Function": {
                "arn": f"arn:aws:lambda:us-east-1:222222222222:function:{name}",
                "invokeArn": f"arn:aws:apigateway:us-east-1:lambda:path/{name}/invocations",
                "version": "7" if args.inputs.get("publish") else "$LATEST",
            },
            "aws:lambda/alias:Alias": {"arn": "arn:live", "invokeArn": "arn:live/invocations"},
            "aws:lambda/functionUrl:FunctionUrl": {"functionUrl": "https://url.lambda-url.us-east-1.on.aws/"},
            "aws:apigateway/apiKey:ApiKey": {"value": "the-key"},
            "aws:sns/topic:Topic": {"arn": "arn:topic"},
            "aws:cloudwatch/eventRule:EventRule": {
                "arn": f"arn:aws:events:us-east-1:222222222222:rule/{name}",
                "name": name,
            },
            "aws:apigateway/restApi:RestApi": {
                "rootResourceId": "root",
                "executionArn": "arn:aws:execute-api:us-east-1:222222222222:api",
            },
            "aws:apigateway/stage:Stage": {"invokeUrl": "https://api.execute-api.us-east-1.amazonaws.com/Prod"},
            "aws:apigateway/domainName:DomainName": {
                "regionalDomainName": "d-1.execute-api.us-east-1.amazonaws.com",
                "regionalZoneId": "Z9",
            },
            "aws:apigatewayv2/api:Api": {
                "apiEndpoint": "https://api.execute-api.us-east-1.amazonaws.com",
                "executionArn": "arn:aws:execute-api:us-east-1:222222222222:api",
            },
            "aws:apigatewayv2/domainName:DomainName": {
                "domainNameConfiguration": {
                    **args.inputs.get("domainNameConfiguration", {}),
                    "targetDomainName": "d-1.execute-api.us-east-1.amazonaws.com",
                    "hostedZoneId": "Z9",
                }
            },
            "docker:index/image:Image": {
                "repoDigest": f"{str(args.inputs.get('imageName')).rpartition(':')[0]}@{DIGEST}"
            },
        }
        return computed.get(args.typ, {})
