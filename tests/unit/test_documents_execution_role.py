"""What a function's role may do, asked of a policy evaluator: its log, and what the options name; nothing else."""

import json
from typing import Any

import pytest

from components.errors import InvalidConfiguration
from tests.unit.conftest import Deploy
from tests.unit.recorder import DIGEST
from tests.unit.registered import may

LOGS = "arn:aws:logs:us-east-1:222222222222:log-group:/aws/lambda/cross-account-function"
SECRET = "arn:aws:secretsmanager:us-east-1:222222222222:secret:database"
PARAMETER = "arn:aws:ssm:us-east-1:222222222222:parameter/prod/url"
QUEUE = "arn:aws:sqs:us-east-1:222222222222:failed"
TOPIC = "arn:aws:sns:us-east-1:222222222222:failed"
WORK, OTHER_ACCOUNT = "arn:aws:sqs:us-east-1:222222222222:work", "arn:aws:sqs:us-east-1:333333333333:work"
KEY = "arn:aws:kms:us-east-1:222222222222:key/1234abcd"
DONE, FUNCTION = "arn:aws:sqs:us-east-1:222222222222:done", "arn:aws:lambda:us-east-1:222222222222:function:done"
BUS, BUCKET = "arn:aws:events:us-east-1:222222222222:event-bus/done", "arn:aws:s3:::failed-events"
NETWORK = {"subnets": ["subnet-1"], "securityGroups": ["sg-1"]}

# What each option grants: action, resource.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
GRANTS: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "log": ({}, [("logs:CreateLogStream", f"{LOGS}:log-stream:it"), ("logs:PutLogEvents", f"{LOGS}:log-stream:it")]),
    "secret": (
        {"secrets": {"DATABASE": SECRET}},
        [("secretsmanager:GetSecretValue", SECRET), ("secretsmanager:GetSecretValue", f"{SECRET}-a1B2c3")],
    ),
    "parameter": ({"secrets": {"URL": PARAMETER}}, [("ssm:GetParameter", PARAMETER)]),
    "queue": ({"deadLetter": QUEUE}, [("sqs:SendMessage", QUEUE)]),
    "topic": ({"deadLetter": TOPIC}, [("sns:Publish", TOPIC)]),
    "network": (
        {"vpc": NETWORK},
        [
            ("ec2:CreateNetworkInterface", "*"),
            ("ec2:DescribeNetworkInterfaces", "*"),
            ("ec2:DescribeSubnets", "*"),
            ("ec2:DeleteNetworkInterface", "*"),
            ("ec2:AssignPrivateIpAddresses", "*"),
            ("ec2:UnassignPrivateIpAddresses", "*"),
        ],
    ),
    "work": (
        {"triggers": [{"type": "queue", "name": "work", "queue": WORK, "kmsKey": KEY}]},
        [
            ("sqs:ReceiveMessage", WORK),
            ("sqs:DeleteMessage", WORK),
            ("sqs:GetQueueAttributes", WORK),
            ("kms:Decrypt", KEY),
        ],
    ),
    "results": (
        {"asynchronous": {"onSuccess": DONE, "onFailure": BUCKET}},
        [("sqs:SendMessage", DONE), ("s3:PutObject", f"{BUCKET}/it"), ("s3:ListBucket", BUCKET)],
    ),
    "function of results": ({"asynchronous": {"onSuccess": FUNCTION}}, [("lambda:InvokeFunction", FUNCTION)]),
    "bus of results": ({"asynchronous": {"onFailure": BUS}}, [("events:PutEvents", BUS)]),
    "traces": ({"tracing": True}, [("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")]),
}
# What no option grants.
FOREIGN = [
    ("logs:CreateLogGroup", LOGS),
    ("logs:PutLogEvents", f"{LOGS}2:log-stream:it"),
    ("logs:DeleteLogStream", f"{LOGS}:log-stream:it"),
    ("secretsmanager:GetSecretValue", f"{SECRET}2"),
    ("secretsmanager:GetSecretValue", f"{SECRET}-another"),
    ("secretsmanager:PutSecretValue", SECRET),
    ("secretsmanager:GetSecretValue", "*"),
    ("ssm:GetParameter", f"{PARAMETER}2"),
    ("ssm:GetParameter", f"{PARAMETER}-a1B2c3"),
    ("ssm:PutParameter", PARAMETER),
    ("sqs:SendMessage", f"{QUEUE}2"),
    ("sqs:ReceiveMessage", QUEUE),
    ("sns:Publish", f"{TOPIC}2"),
    ("sns:Publish", QUEUE),
    ("sqs:ReceiveMessage", f"{WORK}2"),
    ("sqs:ReceiveMessage", OTHER_ACCOUNT),
    ("sqs:SendMessage", WORK),
    ("sqs:DeleteQueue", WORK),
    ("kms:Decrypt", f"{KEY}2"),
    ("kms:Encrypt", KEY),
    ("s3:GetObject", f"{BUCKET}/it"),
    ("lambda:InvokeFunction", f"{FUNCTION}2"),
    ("ec2:RunInstances", "*"),
    ("ecr:BatchGetImage", "arn:aws:ecr:us-east-1:111111111111:repository/cross-account-function"),
    ("xray:GetTraceSummaries", "*"),
    ("iam:PassRole", "*"),
]


def policy(deploy: Deploy, function: dict[str, Any]) -> Any:
    done = deploy("consumer", image={"digest": DIGEST}, function=function or None)
    return json.loads(done.one("aws:iam/rolePolicy:RolePolicy").inputs["policy"])


@pytest.mark.parametrize("given", GRANTS)
def test_an_option_grants_what_it_needs_and_nothing_of_another(deploy: Deploy, given: str) -> None:
    options, _ = GRANTS[given]
    document = policy(deploy, options)
    for name, (_, granted) in GRANTS.items():
        for action, resource in granted:
            assert may(document, action, resource) == (name in ("log", given)), (action, resource)
    assert [pair for pair in FOREIGN if may(document, *pair)] == []


def test_all_options_together_grant_what_each_grants(deploy: Deploy) -> None:
    options = {"secrets": {"A1": SECRET, "B1": PARAMETER}, "deadLetter": QUEUE, "vpc": NETWORK, "tracing": True}
    document = policy(deploy, options)
    for name in ("log", "secret", "parameter", "queue", "network", "traces"):
        assert all(may(document, *pair) for pair in GRANTS[name][1]), name
    assert [pair for pair in FOREIGN if may(document, *pair)] == []
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids)


def test_no_further_statement_has_the_sid_of_an_own_one(deploy: Deploy) -> None:
    everything: dict[str, Any] = {
        "secrets": {"A1": SECRET, "B1": PARAMETER},
        "deadLetter": QUEUE,
        "vpc": NETWORK,
        "tracing": True,
        "fileSystem": {
            "accessPoint": "arn:aws:elasticfilesystem:us-east-1:222222222222:access-point/fsap-1",
            "path": "/mnt/models",
        },
        **GRANTS["work"][0],
        **GRANTS["results"][0],
    }
    sids = [statement["Sid"] for statement in policy(deploy, everything)["Statement"]]
    assert len(sids) > 10
    for sid in sids:
        more = {"Sid": sid, "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
        with pytest.raises(InvalidConfiguration, match=r"function\.statements\[0\]: must have no Sid"):
            policy(deploy, {"statements": [more]})


def test_a_resource_is_a_wildcard_only_where_the_action_knows_none(deploy: Deploy) -> None:
    options = {"secrets": {"A1": SECRET, "B1": PARAMETER}, "deadLetter": QUEUE, "vpc": NETWORK, "tracing": True}
    for statement in policy(deploy, options)["Statement"]:
        anything = statement["Resource"] == "*"
        assert anything == all(action.startswith(("ec2:", "xray:")) for action in statement["Action"])


def test_secrets_are_granted_in_one_order_whatever_order_they_are_given_in(deploy: Deploy) -> None:
    # Another order would be a change of the policy in every preview.
    named = {f"V{number}": f"{SECRET}{number}" for number in range(9)}
    mixed = dict(reversed(named.items()))
    assert policy(deploy, {"secrets": named}) == policy(deploy, {"secrets": mixed})
    (reading,) = [one for one in policy(deploy, {"secrets": mixed})["Statement"] if one["Sid"] == "Secrets"]
    assert reading["Resource"] == [*named.values(), *(f"{arn}-??????" for arn in named.values())]


def test_a_secret_that_two_variables_name_is_granted_once(deploy: Deploy) -> None:
    (reading,) = policy(deploy, {"secrets": {"A1": PARAMETER, "B1": PARAMETER}})["Statement"][1:]
    assert reading["Resource"] == [PARAMETER]


def test_further_statements_are_added_as_they_are(deploy: Deploy) -> None:
    table = "arn:aws:dynamodb:us-east-1:222222222222:table/orders"
    more = {"Sid": "Orders", "Effect": "Allow", "Action": ["dynamodb:GetItem"], "Resource": table}
    document = policy(deploy, {"statements": [more]})
    assert document["Statement"][1:] == [more]
    assert may(document, "dynamodb:GetItem", table)
    assert may(document, "logs:PutLogEvents", f"{LOGS}:log-stream:it")


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_system_is_mounted_by_its_access_point_only(deploy: Deploy, read_only: bool) -> None:
    base = "arn:aws:elasticfilesystem:us-east-1:222222222222"
    system = {"accessPoint": f"{base}:access-point/fsap-1", "path": "/mnt/models", "readOnly": read_only}
    document = policy(deploy, {"vpc": NETWORK, "fileSystem": system})

    def mounts(action: str, access_point: str) -> bool:
        keys = {"elasticfilesystem:AccessPointArn": f"{base}:access-point/{access_point}"}
        return may(document, f"elasticfilesystem:{action}", f"{base}:file-system/fs-1", keys)

    assert mounts("ClientMount", "fsap-1")
    assert mounts("ClientWrite", "fsap-1") != read_only
    assert not mounts("ClientMount", "fsap-2")
    assert not mounts("ClientRootAccess", "fsap-1")
