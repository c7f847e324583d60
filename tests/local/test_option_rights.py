"""The policies in `docs/policies/` for options are sufficient, and without any line of them its call is denied.

The calls are those of the stand-in plugin, made by users of a local cloud without a Docker engine.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import botocore.exceptions
import pytest
from botocore.session import Session

from components import iam
from offline.plugins.aws import KINDS, Aws
from offline.plugins.provider import Values
from scripts.permissions import OPTIONS, Permission, permissions, policy
from tests.local.test_guard import IMAGE, OTHER, REGION, TRUST, Cloud
from tests.local.test_guard import cloud as cloud  # the fixture

FUNCTION = "cross-account-function"
ARN = f"arn:aws:lambda:{REGION}:{OTHER}:function:{FUNCTION}"
AUTHORIZER = f"{ARN}-authorizer"
AUTHORIZED_BY = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{AUTHORIZER}/invocations"
CERTIFICATE = f"arn:aws:acm:{REGION}:{OTHER}:certificate/1234abcd-12ab-34cd-56ef-1234567890ab"
LINES = [line for line in permissions(OPTIONS) if line.principal.endswith("-deployer")]
SCHEDULE = "aws:scheduler/schedule:Schedule"
REST, METHOD = "aws:apigateway/restApi:RestApi", "aws:apigateway/method:Method"
HTTP, DOMAIN = "aws:apigatewayv2/api:Api", "aws:apigatewayv2/domainName:DomainName"
MODELS = Session().get_component("data_loader")
# The account's role for logs, which a destroy keeps.
KEPT = {
    "rest-api-deployer": (
        "aws:apigateway/account:Account", "aws:iam/rolePolicyAttachment:RolePolicyAttachment", "aws:iam/role:Role",
    ),
}  # fmt: skip


class Deployed:
    """A function of an account, with a queue and a topic that call it, and who deploys that."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._iam = self.client("iam")
        self._users: dict[str, Aws] = {}
        self._create_function()
        self.queue = self.client("sqs").get_queue_attributes(
            QueueUrl=self.client("sqs").create_queue(QueueName="orders")["QueueUrl"], AttributeNames=["QueueArn"]
        )["Attributes"]["QueueArn"]
        self.topic = self.client("sns").create_topic(Name="news")["TopicArn"]

    def client(self, service: str) -> Any:
        return self.cloud.client(service, OTHER)

    def _create_function(self) -> None:
        self.client("ecr").create_repository(repositoryName="it")
        (data,) = self.client("ecr").get_authorization_token()["authorizationData"]
        login = {"Authorization": f"Basic {data['authorizationToken']}"}
        path = f"/v2/{OTHER}.dkr.ecr.{REGION}.amazonaws.com/it"
        config = json.dumps({"os": "linux", "architecture": "amd64"}).encode()
        digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        assert self.cloud.call("POST", f"{path}/blobs/uploads/?digest={digest}", login, config)[0] == 201
        named = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest}
        manifest = {"schemaVersion": 2, "mediaType": IMAGE, "config": named, "layers": []}
        put = self.cloud.call(
            "PUT", f"{path}/manifests/it", {**login, "Content-Type": IMAGE}, json.dumps(manifest).encode()
        )
        assert put[0] == 201
        role = self.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
        uri = f"localhost:{self.cloud.port}/{OTHER}.dkr.ecr.{REGION}.amazonaws.com/it:it"
        for name in (FUNCTION, AUTHORIZER.rpartition(":")[2]):
            self.client("lambda").create_function(
                FunctionName=name, PackageType="Image", Code={"ImageUri": uri}, Role=role["Arn"]
            )

    def user(self, table: str, missing: Permission | None = None) -> Aws:
        """A user who deploys the consumer, with the policy of the options as well, complete or without one line."""
        if table not in self._users:
            self._iam.create_user(UserName=table)
            keys = self._iam.create_access_key(UserName=table)["AccessKey"]
            self._users[table] = Aws(_session(keys["AccessKeyId"], keys["SecretAccessKey"]))
        for principal in ("consumer-deployer", table):
            document = json.dumps(policy(principal, without=missing))
            self._iam.put_user_policy(UserName=table, PolicyName=principal, PolicyDocument=document)
        return self._users[table]

    @property
    def owner(self) -> Aws:
        """The root user of the account."""
        return Aws(_session(OTHER, self.cloud.key(OTHER)))


def _session(key: str, secret: str) -> Session:
    session = Session()
    # Reading the services' models is most of the time of a test.
    session.register_component("data_loader", MODELS)
    session.set_config_variable("region", REGION)
    session.set_credentials(key, secret)
    return session


Ids = dict[str, str]
Inputs = Callable[[Ids], Values]


def triggers(deployed: Deployed) -> dict[str, Inputs]:
    """The inputs of each resource of the triggers, as the program registers them."""
    role = "function-schedule-nightly-role-1"
    inputs: dict[str, Values] = {
        "aws:iam/role:Role": {
            "name": role, "assumeRolePolicy": json.dumps(iam.scheduler_trust_policy(ARN)),
        },
        "aws:iam/rolePolicy:RolePolicy": {
            "role": role, "name": "it", "policy": json.dumps(iam.scheduler_policy(ARN, None)),
        },
        SCHEDULE: {
            "name": "function-schedule-nightly-1", "scheduleExpression": "cron(0 3 * * ? *)",
            "scheduleExpressionTimezone": "UTC", "flexibleTimeWindow": {"mode": "OFF"},
            "target": {"arn": ARN, "roleArn": f"arn:aws:iam::{OTHER}:role/{role}"},
        },
        "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig": {
            "functionName": FUNCTION, "maximumRetryAttempts": 1, "maximumEventAgeInSeconds": 60,
        },
        "aws:lambda/eventSourceMapping:EventSourceMapping": {
            "eventSourceArn": deployed.queue, "functionName": ARN, "batchSize": 10,
            "maximumBatchingWindowInSeconds": 0,
        },
        "aws:sns/topicSubscription:TopicSubscription": {
            "topic": deployed.topic, "protocol": "lambda", "endpoint": ARN,
        },
        "aws:cloudwatch/eventRule:EventRule": {
            "name": "function-events-created-1", "eventBusName": "default",
            "eventPattern": '{"source": ["orders"]}',
        },
        "aws:cloudwatch/eventTarget:EventTarget": {
            "rule": "function-events-created-1", "eventBusName": "default", "targetId": "it", "arn": ARN,
        },
    }  # fmt: skip
    return {kind: lambda _, given=given: given for kind, given in inputs.items()}  # type: ignore[misc]


def access_log(stage: str) -> Values:
    return {"name": f"/aws/apigateway/{FUNCTION}/{stage}", "retentionInDays": 7}


def rest_api(_: Deployed) -> dict[str, Inputs]:
    """The inputs of each resource of a REST API's options."""
    role = "function-api-logging-role-1"
    trust = json.dumps(TRUST).replace("lambda", "apigateway")
    return {
        REST: lambda _: {"name": FUNCTION, "endpointConfiguration": {"types": "REGIONAL"}},
        "aws:apigateway/resource:Resource": lambda ids: {
            "restApi": ids[REST], "parentId": ids["root"], "pathPart": "other",
        },
        "aws:apigateway/authorizer:Authorizer": lambda ids: {
            "restApi": ids[REST], "name": "it", "type": "TOKEN", "authorizerUri": AUTHORIZED_BY,
            "identitySource": "method.request.header.Authorization", "authorizerResultTtlInSeconds": 300,
        },
        "aws:lambda/permission:Permission": lambda ids: {
            "function": AUTHORIZER, "action": "lambda:InvokeFunction", "principal": "apigateway.amazonaws.com",
            "statementId": "it",
            "sourceArn": f"arn:aws:execute-api:{REGION}:{OTHER}:{ids[REST]}/authorizers/"
                         f"{ids['aws:apigateway/authorizer:Authorizer']}",
        },
        "aws:apigateway/requestValidator:RequestValidator": lambda ids: {
            "restApi": ids[REST], "name": "it", "validateRequestParameters": True,
        },
        METHOD: lambda ids: {
            "restApi": ids[REST], "resourceId": ids["aws:apigateway/resource:Resource"], "httpMethod": "POST",
            "authorization": "CUSTOM", "authorizerId": ids["aws:apigateway/authorizer:Authorizer"],
            "apiKeyRequired": True,
        },
        "aws:apigateway/integration:Integration": lambda ids: {
            "restApi": ids[REST], "resourceId": ids["aws:apigateway/resource:Resource"], "httpMethod": "POST",
            "type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": 204}'},
        },
        "aws:apigateway/response:Response": lambda ids: {
            "restApiId": ids[REST], "responseType": "DEFAULT_4XX",
            "responseParameters": {"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"},
        },
        "aws:apigateway/deployment:Deployment": lambda ids: {"restApi": ids[REST]},
        "aws:cloudwatch/logGroup:LogGroup": lambda _: access_log("Prod"),
        "aws:iam/role:Role": lambda _: {"name": role, "assumeRolePolicy": trust},
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": lambda _: {
            "role": role, "policyArn": "arn:aws:iam::aws:policy/service-role/AmazonAPIGatewayPushToCloudWatchLogs",
        },
        "aws:apigateway/account:Account": lambda _: {"cloudwatchRoleArn": f"arn:aws:iam::{OTHER}:role/{role}"},
        "aws:apigateway/stage:Stage": lambda ids: {
            "restApi": ids[REST], "deployment": ids["aws:apigateway/deployment:Deployment"], "stageName": "Prod",
        },
        "aws:apigateway/apiKey:ApiKey": lambda _: {"name": "it", "description": "it", "enabled": True},
        "aws:apigateway/usagePlan:UsagePlan": lambda ids: {
            "name": "it", "apiStages": [{"apiId": ids[REST], "stage": "Prod"}],
        },
        "aws:apigateway/usagePlanKey:UsagePlanKey": lambda ids: {
            "keyId": ids["aws:apigateway/apiKey:ApiKey"], "keyType": "API_KEY",
            "usagePlanId": ids["aws:apigateway/usagePlan:UsagePlan"],
        },
        "aws:apigateway/domainName:DomainName": lambda _: {
            "domainName": "rest.example.com", "regionalCertificateArn": CERTIFICATE, "securityPolicy": "TLS_1_2",
            "endpointConfiguration": {"types": "REGIONAL"},
        },
        "aws:apigateway/basePathMapping:BasePathMapping": lambda ids: {
            "domainName": "rest.example.com", "restApi": ids[REST], "stageName": "Prod",
        },
    }  # fmt: skip


def http_api(_: Deployed) -> dict[str, Inputs]:
    """The inputs of each resource of an HTTP API."""
    return {
        HTTP: lambda _: {"name": FUNCTION, "protocolType": "HTTP"},
        "aws:apigatewayv2/integration:Integration": lambda ids: {
            "apiId": ids[HTTP], "integrationType": "AWS_PROXY", "integrationUri": ARN, "payloadFormatVersion": "2.0",
        },
        "aws:apigatewayv2/authorizer:Authorizer": lambda ids: {
            "apiId": ids[HTTP], "name": "it", "authorizerType": "JWT",
            "identitySources": ["$request.header.Authorization"],
            "jwtConfiguration": {"issuer": "https://example.com", "audiences": ["it"]},
        },
        "aws:apigatewayv2/route:Route": lambda ids: {
            "apiId": ids[HTTP], "routeKey": "GET /hello", "authorizationType": "JWT",
            "target": f"integrations/{ids['aws:apigatewayv2/integration:Integration']}",
            "authorizerId": ids["aws:apigatewayv2/authorizer:Authorizer"],
        },
        "aws:cloudwatch/logGroup:LogGroup": lambda _: access_log("default"),
        "aws:apigatewayv2/stage:Stage": lambda ids: {
            "apiId": ids[HTTP], "name": "$default", "autoDeploy": True,
            "accessLogSettings": {
                "destinationArn": f"arn:aws:logs:{REGION}:{OTHER}:log-group:{access_log('default')['name']}",
                "format": "{}",
            },
        },
        DOMAIN: lambda _: {
            "domainName": "http.example.com",
            "domainNameConfiguration": {
                "certificateArn": CERTIFICATE, "endpointType": "REGIONAL", "securityPolicy": "TLS_1_2",
            },
        },
        "aws:apigatewayv2/apiMapping:ApiMapping": lambda ids: {
            "apiId": ids[HTTP], "domainName": "http.example.com", "stage": "$default",
        },
    }  # fmt: skip


CHANGED: dict[str, Values] = {
    SCHEDULE: {"scheduleExpression": "rate(5 minutes)"},
    "aws:lambda/eventSourceMapping:EventSourceMapping": {"batchSize": 5},
    "aws:sns/topicSubscription:TopicSubscription": {"filterPolicy": '{"kind": ["order"]}'},
    REST: {"minimumCompressionSize": "1024"},
    "aws:cloudwatch/logGroup:LogGroup": {"retentionInDays": 14},
    HTTP: {"corsConfiguration": {"allowOrigins": ["https://example.com"]}},
    DOMAIN: {
        "domainNameConfiguration": {
            "certificateArn": f"{CERTIFICATE[:-1]}1", "endpointType": "REGIONAL", "securityPolicy": "TLS_1_2",
        },
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def in_place(cloud: Cloud) -> Deployed:
    return Deployed(cloud)


@pytest.fixture
def deployed(in_place: Deployed, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{in_place.cloud.port}")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    return in_place


def kind_of(line: Permission) -> str:
    """The type of the resource that makes a call."""
    package, name = line.used_by.split(".")
    return f"aws:{package}/{name[0].lower()}{name[1:]}:{name}"


def _known(found: Any, given: Any) -> Any:
    """What was given, as it was found, without what AWS adds."""
    if not isinstance(given, dict):
        return found
    return {name: _known(found.get(name), value) for name, value in given.items()}


class Life:
    """What becomes of the resources of one table, each with its ID once it is there."""

    def __init__(self, deployed: Deployed, table: str) -> None:
        tables = {"triggers": triggers, "rest-api": rest_api, "http-api": http_api}
        self.given = tables[table.removesuffix("-deployer")](deployed)
        self.ids: Ids = {}
        self._deployed = deployed

    def _inputs(self, kind: str) -> Values:
        return {**KINDS[kind].defaults, **self.given[kind](self.ids)}

    def create(self, aws: Aws, kind: str) -> None:
        self.ids[kind] = KINDS[kind].create(aws, self._inputs(kind))
        if kind == REST:
            client = self._deployed.client("apigateway")
            (self.ids["root"],) = (one["id"] for one in client.get_resources(restApiId=self.ids[REST])["items"])

    def refresh(self, aws: Aws, kind: str) -> None:
        inputs = self._inputs(kind)
        found = KINDS[kind].read(aws, self.ids[kind], inputs)
        assert found is not None
        # What is read is what was given: a refresh finds no difference.
        hidden = ("assumeRolePolicy", "policy", "description", "enabled")
        inputs = {name: value for name, value in inputs.items() if name not in hidden}
        assert _known(found, inputs) == inputs

    def update(self, aws: Aws, kind: str) -> None:
        inputs = self._inputs(kind)
        KINDS[kind].update(aws, self.ids[kind], inputs, {**inputs, **CHANGED.get(kind, {})})

    def destroy(self, aws: Aws, kind: str) -> None:
        KINDS[kind].delete(aws, self.ids[kind], self._inputs(kind))


@pytest.fixture(scope="module")
def lives(in_place: Deployed) -> dict[str, Life]:
    return {table: Life(in_place, table) for table in dict.fromkeys(line.principal for line in LINES)}


@pytest.mark.parametrize("table", sorted({line.principal for line in LINES}))
def test_with_these_policies_options_are_created_read_updated_and_deleted(
    deployed: Deployed, lives: dict[str, Life], table: str
) -> None:
    life, user = lives[table], deployed.user(table)
    for step in (life.create, life.refresh):
        for kind in life.given:
            step(user, kind)
    for kind in life.given.keys() & CHANGED.keys():
        life.update(user, kind)
    kept = KEPT.get(table, ())
    for kind in reversed([kind for kind in life.given if kind not in kept]):
        life.destroy(user, kind)
    for kind in kept:
        life.destroy(deployed.owner, kind)
    for kind in life.given:  # for the tests below
        life.create(user, kind)


@pytest.mark.parametrize("missing", LINES, ids=str)
def test_without_one_line_its_call_is_denied(deployed: Deployed, lives: dict[str, Life], missing: Permission) -> None:
    life = lives[missing.principal]
    if not life.ids:
        for kind in life.given:
            life.create(deployed.user(missing.principal), kind)
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform") as denied:
        getattr(life, missing.step)(deployed.user(missing.principal, missing), kind_of(missing))
    assert missing.action in str(denied.value)
