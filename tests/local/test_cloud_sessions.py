"""The local cloud gives a role's credentials to whom AWS gives them, for as long: a server without a Docker engine."""

import json
import time
import urllib.request
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local import credentials
from tests.local.test_guard import OTHER, OWNER, REGION, Cloud, cloud  # noqa: F401  # a fixture

ROLE = f"arn:aws:iam::{OWNER}:role/ci/deployer"
ISSUER, SUBJECT = "token.actions.githubusercontent.com", "repo:OWNER/NAME:pull_request"
PROVIDER = f"arn:aws:iam::{OTHER}:oidc-provider/{ISSUER}"
DENIED = f"user/tester is not authorized to perform: sts:AssumeRole on resource: {ROLE}"


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def trust(principal: dict[str, str], condition: dict[str, Any] | None = None, action: str = "sts:AssumeRole") -> str:
    return document(Action=action, Principal=principal, **({"Condition": condition} if condition else {}))


@pytest.fixture(scope="module")
def tester(cloud: Cloud) -> Callable[..., Any]:  # noqa: F811
    """A user of the other account who may assume every role; a maker of its clients."""
    iam = cloud.client("iam", OTHER)
    iam.create_user(UserName="tester")
    key = iam.create_access_key(UserName="tester")["AccessKey"]
    iam.put_user_policy(UserName="tester", PolicyName="assume", PolicyDocument=document(Action="sts:*", Resource="*"))
    policy = trust({"AWS": f"arn:aws:iam::{OTHER}:root"}, {"StringEquals": {"sts:ExternalId": "x1"}})
    cloud.client("iam").create_role(
        RoleName="deployer", Path="/ci/", MaxSessionDuration=3600, AssumeRolePolicyDocument=policy
    )
    return lambda service: cloud.client(service, key["AccessKeyId"], key["SecretAccessKey"])


def assume(sts: Any, **changed: Any) -> dict[str, Any]:
    call = {"RoleArn": ROLE, "RoleSessionName": "session", "ExternalId": "x1", **changed}
    return dict(sts.assume_role(**call)["Credentials"])


def session(cloud: Cloud, given: dict[str, Any], service: str = "sts") -> Any:  # noqa: F811
    return boto3.client(
        service, REGION, endpoint_url=f"http://127.0.0.1:{cloud.port}", aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"],
    )  # fmt: skip


def test_a_session_is_the_roles_in_the_roles_account(cloud: Cloud, tester: Callable[..., Any]) -> None:  # noqa: F811
    who = session(cloud, assume(tester("sts"))).get_caller_identity()
    assert (who["Account"], who["Arn"]) == (OWNER, f"arn:aws:sts::{OWNER}:assumed-role/deployer/session")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"ExternalId": "x2"}, DENIED),
        ({"RoleArn": ROLE.replace("ci/", "")}, "not authorized to perform: sts:AssumeRole"),
        ({"RoleArn": f"{ROLE}s"}, "not authorized to perform: sts:AssumeRole"),
        ({"DurationSeconds": 3601}, "exceeds the MaxSessionDuration set for this role"),
        ({"RoleSessionName": "a <name>"}, "Value 'a <name>' at 'roleSessionName' failed to satisfy constraint"),
    ],
)
def test_a_role_is_refused(tester: Callable[..., Any], changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match="AssumeRole") as refused:
        assume(tester("sts"), **changed)
    assert said in str(refused.value)


def test_who_has_no_right_to_assume_is_refused_whoever_is_trusted(
    cloud: Cloud,  # noqa: F811
    tester: Callable[..., Any],
) -> None:
    iam = cloud.client("iam", OTHER)
    iam.put_user_policy(
        UserName="tester", PolicyName="assume", PolicyDocument=document(Action="sts:Get*", Resource="*")
    )
    try:
        with pytest.raises(ClientError, match=DENIED):
            assume(tester("sts"))
    finally:
        iam.put_user_policy(UserName="tester", PolicyName="assume", PolicyDocument=document(Action="*", Resource="*"))


def test_an_accounts_root_assumes_no_role(cloud: Cloud) -> None:  # noqa: F811
    with pytest.raises(ClientError, match="Roles may not be assumed by root accounts"):
        assume(cloud.client("sts", OTHER))


def test_a_chained_session_lasts_an_hour_at_most(cloud: Cloud, tester: Callable[..., Any]) -> None:  # noqa: F811
    iam, first = cloud.client("iam"), assume(tester("sts"))
    long = f"arn:aws:iam::{OWNER}:role/long"
    iam.create_role(RoleName="long", MaxSessionDuration=7200, AssumeRolePolicyDocument=trust({"AWS": ROLE}))
    iam.put_role_policy(RoleName="deployer", PolicyName="chain", PolicyDocument=document(Action="sts:*", Resource=long))
    chained = session(cloud, first)
    assert assume(chained, RoleArn=long)
    with pytest.raises(ClientError, match="1 hour session limit for roles assumed by role chaining"):
        assume(chained, RoleArn=long, DurationSeconds=3601)


def test_an_ended_session_is_told_so_even_after_others_began(cloud: Cloud, tester: Callable[..., Any]) -> None:  # noqa: F811
    given = assume(tester("sts"))
    request = urllib.request.Request(
        f"http://127.0.0.1:{cloud.port}/_local/sessions/{given['AccessKeyId']}/expire",
        method="POST", headers={"Authorization": f"Bearer {cloud.secret}"},
    )  # fmt: skip
    assert session(cloud, given).get_caller_identity()
    assert urllib.request.urlopen(request, timeout=30).status == 200  # noqa: S310
    assume(tester("sts"))
    for service, call in (("sts", "get_caller_identity"), ("ecr", "get_authorization_token")):
        with pytest.raises(ClientError, match="The security token included in the request is expired"):
            getattr(session(cloud, given, service), call)()


@pytest.fixture(scope="module")
def workflow(cloud: Cloud) -> Callable[..., dict[str, Any]]:  # noqa: F811
    """A role that trusts the pull requests of a repository; a workflow that assumes it with a token of its own."""
    iam = cloud.client("iam", OTHER)
    iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=["sts.amazonaws.com"])
    condition = {"StringEquals": {f"{ISSUER}:sub": SUBJECT, f"{ISSUER}:aud": "sts.amazonaws.com"}}
    policy = trust({"Federated": PROVIDER}, condition, "sts:AssumeRoleWithWebIdentity")
    role = iam.create_role(RoleName="workflow", AssumeRolePolicyDocument=policy)["Role"]["Arn"]

    def assume(secret: str = "", arn: str = role, **changed: Any) -> dict[str, Any]:
        claims = {"iss": f"https://{ISSUER}", "aud": "sts.amazonaws.com", "sub": SUBJECT, "exp": time.time() + 300}
        token = credentials.web_identity_token({**claims, **changed}, secret or cloud.secret)
        unsigned = cloud.client("sts", "nobody", "unsigned")
        call = {"RoleArn": arn, "RoleSessionName": "run", "WebIdentityToken": token}
        return dict(unsigned.assume_role_with_web_identity(**call)["Credentials"])

    return assume


def test_a_token_of_a_known_provider_opens_the_role_that_trusts_its_subject(
    cloud: Cloud,  # noqa: F811
    workflow: Callable[..., dict[str, Any]],
) -> None:
    assert session(cloud, workflow()).get_caller_identity()["Account"] == OTHER


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sub": "repo:OWNER/NAME:ref:refs/heads/main"}, "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
        ({"arn": ROLE}, "No OpenIDConnect provider found in your account"),
        ({"arn": f"arn:aws:iam::{OTHER}:role/none"}, "Not authorized to perform sts:AssumeRoleWithWebIdentity"),
        ({"iss": "https://example.com"}, "No OpenIDConnect provider found in your account for https://example.com"),
        ({"aud": "example"}, "Incorrect token audience"),
        ({"exp": 1}, "Token expired"),
        ({"secret": "guessed"}, "Couldn't retrieve verification key from your identity provider"),
    ],
)
def test_a_token_is_refused(workflow: Callable[..., dict[str, Any]], changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ClientError, match="AssumeRoleWithWebIdentity") as refused:
        workflow(**changed)
    assert said in str(refused.value)
