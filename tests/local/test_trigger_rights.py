"""The policies in `docs/policies/` for triggers are enough, and without any line of them its call is denied.

The calls are those of the stand-in plugin, made by users of a local cloud without a Docker engine.
"""

import hashlib
import json
from itertools import count
from typing import Any

import botocore.exceptions
import pytest
from botocore.session import Session

from components import iam
from offline.plugins.aws import KINDS, Aws
from offline.plugins.provider import Values
from scripts.permissions import TRIGGERS, Permission, permissions, policy
from tests.local.test_guard import IMAGE, OTHER, REGION, TRUST, Cloud
from tests.local.test_guard import cloud as cloud  # the fixture

FUNCTION = "cross-account-function"
ARN = f"arn:aws:lambda:{REGION}:{OTHER}:function:{FUNCTION}"
LINES = [line for line in permissions(TRIGGERS) if line.principal == "triggers-deployer"]
SCHEDULE = "aws:scheduler/schedule:Schedule"


class Deployed:
    """A function of an account, with a queue and a topic that call it, and who deploys that."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self._numbers = cloud, count()
        self._create_function()
        self.queue = self.client("sqs").get_queue_attributes(
            QueueUrl=self.client("sqs").create_queue(QueueName="orders")["QueueUrl"], AttributeNames=["QueueArn"]
        )["Attributes"]["QueueArn"]
        self.topic = self.client("sns").create_topic(Name="news")["TopicArn"]
        self.inputs = self._inputs()

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
        self.client("lambda").create_function(
            FunctionName=FUNCTION, PackageType="Image", Code={"ImageUri": uri}, Role=role["Arn"]
        )

    def _inputs(self) -> dict[str, Values]:
        """The inputs of each resource, as the program registers them."""
        role = "function-schedule-nightly-role-1"
        return {
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
                "eventSourceArn": self.queue, "functionName": ARN, "batchSize": 10,
                "maximumBatchingWindowInSeconds": 0,
            },
            "aws:sns/topicSubscription:TopicSubscription": {
                "topic": self.topic, "protocol": "lambda", "endpoint": ARN,
            },
            "aws:cloudwatch/eventRule:EventRule": {
                "name": "function-events-created-1", "eventBusName": "default",
                "eventPattern": '{"source": ["orders"]}',
            },
            "aws:cloudwatch/eventTarget:EventTarget": {
                "rule": "function-events-created-1", "eventBusName": "default", "targetId": "it", "arn": ARN,
            },
        }  # fmt: skip

    def user(self, missing: Permission | None = None) -> Aws:
        """A user with the policy of the document, whole or less one line."""
        mine, name = self.client("iam"), f"user-{next(self._numbers)}"
        mine.create_user(UserName=name)
        document = policy("triggers-deployer", without=missing)
        mine.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=json.dumps(document))
        keys = mine.create_access_key(UserName=name)["AccessKey"]
        session = Session()
        session.set_config_variable("region", REGION)
        session.set_credentials(keys["AccessKeyId"], keys["SecretAccessKey"])
        return Aws(session)


CHANGED = {
    SCHEDULE: {"scheduleExpression": "rate(5 minutes)"},
    "aws:lambda/eventSourceMapping:EventSourceMapping": {"batchSize": 5},
    "aws:sns/topicSubscription:TopicSubscription": {"filterPolicy": '{"kind": ["order"]}'},
}


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


class Life:
    """What becomes of the resources, each with its ID once it is there."""

    def __init__(self, deployed: Deployed) -> None:
        self.inputs, self.ids = deployed.inputs, dict[str, str]()

    def create(self, aws: Aws, kind: str) -> None:
        self.ids[kind] = KINDS[kind].create(aws, self.inputs[kind])

    def refresh(self, aws: Aws, kind: str) -> None:
        found = KINDS[kind].read(aws, self.ids[kind], self.inputs[kind])
        assert found is not None
        # What is read is what was asked for: a refresh finds no difference.
        same = {name: found.get(name) for name in self.inputs[kind] if name not in ("assumeRolePolicy", "policy")}
        assert same == {name: value for name, value in self.inputs[kind].items() if name in same}

    def update(self, aws: Aws, kind: str) -> None:
        KINDS[kind].update(aws, self.ids[kind], self.inputs[kind], {**self.inputs[kind], **CHANGED.get(kind, {})})

    def destroy(self, aws: Aws, kind: str) -> None:
        KINDS[kind].delete(aws, self.ids[kind], self.inputs[kind])


@pytest.fixture(scope="module")
def life(in_place: Deployed) -> Life:
    return Life(in_place)


def test_with_these_policies_triggers_are_created_read_updated_and_deleted(deployed: Deployed, life: Life) -> None:
    user = deployed.user()
    for step in (life.create, life.refresh):
        for kind in deployed.inputs:
            step(user, kind)
    for kind in CHANGED:
        life.update(user, kind)
    for kind in reversed(deployed.inputs):
        life.destroy(user, kind)
    for kind in deployed.inputs:  # for the tests below
        life.create(user, kind)


@pytest.mark.parametrize("missing", LINES, ids=str)
def test_without_one_line_its_call_is_denied(deployed: Deployed, life: Life, missing: Permission) -> None:
    if not life.ids:
        for kind in deployed.inputs:
            life.create(deployed.user(), kind)
    with pytest.raises(botocore.exceptions.ClientError, match="not authorized to perform") as denied:
        getattr(life, missing.step)(deployed.user(missing), kind_of(missing))
    assert missing.action in str(denied.value)
