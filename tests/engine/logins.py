"""A login that may only assume roles, and roles in both accounts, as teams use them."""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from local import credentials
from tests.engine.clone import Clone

REGISTRY, CONSUMER = "111111111111", "222222222222"
ISSUER, AUDIENCE = "token.actions.githubusercontent.com", "sts.amazonaws.com"
PROVIDER = f"arn:aws:iam::{CONSUMER}:oidc-provider/{ISSUER}"
LOGIN = f"arn:aws:iam::{CONSUMER}:user/login"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
Document = dict[str, Any]


def role_arn(account: str, name: str) -> str:
    """The ARN of a role."""
    return f"arn:aws:iam::{account}:role/{name}"


def trusts(principal: dict[str, Any], **equals: Any) -> Document:
    """A trust policy for a principal, with conditions."""
    action = "sts:AssumeRoleWithWebIdentity" if "Federated" in principal else "sts:AssumeRole"
    statement: Document = {"Effect": "Allow", "Action": action, "Principal": principal}
    if equals:
        statement["Condition"] = {"StringEquals": equals}
    return {"Version": "2012-10-17", "Statement": [statement]}


def trusts_workflow(*subjects: str) -> Document:
    """A trust policy for GitHub workflows with one of these OIDC subjects."""
    return trusts({"Federated": PROVIDER}, **{f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": list(subjects)})


@dataclass
class Logins:
    """The login and the roles of a clone's local cloud.

    Attributes:
        clone: the clone.
        folder: the folder for files with tokens and profiles.
        environment: the environment of the local run, without credentials.
    """

    clone: Clone
    folder: Path
    environment: dict[str, str] = field(init=False)
    _roles: list[str] = field(default_factory=list)
    _keys: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lines = self.clone.shell("env -0").stdout.split("\0")
        given = dict(line.split("=", 1) for line in lines if "=" in line)
        nothing = dict.fromkeys(("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"), "/dev/null")
        self.environment = {**given, **nothing, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.clone.port}"}

    def _iam(self, account: str) -> Any:
        return self.clone.client("registry" if account == REGISTRY else "consumer", "iam")

    def create(self, roles: Iterable[tuple[str, Document, list[Document]]]) -> None:
        """Create roles from their ARN, trust policy and policies, and let the login assume them."""
        iam = self._iam(CONSUMER)
        iam.create_user(UserName="login")
        self._keys = variables(iam.create_access_key(UserName="login")["AccessKey"])
        iam.create_open_id_connect_provider(Url=f"https://{ISSUER}", ClientIDList=[AUDIENCE])
        for arn, trust, policies in roles:
            self._roles.append(arn)
            account, name = arn.split(":")[4], arn.rpartition("/")[2]
            self._iam(account).create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
            for number, policy in enumerate(policies):
                self._iam(account).put_role_policy(
                    RoleName=name, PolicyName=f"policy-{number}", PolicyDocument=json.dumps(policy)
                )
        self.allow(*self._roles)

    def allow(self, *roles: str) -> None:
        """Let the login assume only these roles."""
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": list(roles)}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self._iam(CONSUMER).put_user_policy(UserName="login", PolicyName="assume", PolicyDocument=policy)

    def delete(self) -> None:
        """Delete the login and the roles, because other tests list the resources of the accounts."""
        for arn in self._roles:
            iam, name = self._iam(arn.split(":")[4]), arn.rpartition("/")[2]
            for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
                iam.delete_role_policy(RoleName=name, PolicyName=policy)
            iam.delete_role(RoleName=name)
        iam = self._iam(CONSUMER)
        iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=PROVIDER)
        iam.delete_user_policy(UserName="login", PolicyName="assume")
        iam.delete_access_key(UserName="login", AccessKeyId=self._keys["AWS_ACCESS_KEY_ID"])
        iam.delete_user(UserName="login")

    @property
    def keys(self) -> dict[str, str]:
        """Environment variables with the login's access key."""
        return self._keys

    def session(self, arn: str) -> dict[str, Any]:
        """Credentials of a role that the login assumes."""
        sts = self._sts(**{name.lower(): value for name, value in self._keys.items()})
        return dict(sts.assume_role(RoleArn=arn, RoleSessionName="session")["Credentials"])

    def workflow(self, arn: str, subject: str) -> dict[str, str]:
        """Environment variables that `configure-aws-credentials` sets in a workflow with this OIDC subject."""
        token, sts = Path(self.token(subject)).read_text(), self._sts(aws_access_key_id="-", aws_secret_access_key="-")
        call = {"RoleArn": arn, "RoleSessionName": "GitHubActions", "WebIdentityToken": token}
        return variables(sts.assume_role_with_web_identity(**call)["Credentials"])

    def _sts(self, **keys: str) -> Any:
        return boto3.client("sts", "us-east-1", endpoint_url=self.environment["AWS_ENDPOINT_URL"], **keys)

    def ended(self, arn: str) -> dict[str, str]:
        """Environment variables of an expired session of a role."""
        given = self.session(arn)
        assert self.clone.call_cloud("POST", f"sessions/{given['AccessKeyId']}/expire")[0] == 200
        return variables(given)

    def token(self, subject: str) -> str:
        """A file with the token of a workflow with this OIDC subject."""
        claims = {"iss": f"https://{ISSUER}", "aud": AUDIENCE, "sub": subject, "exp": time.time() + 900}
        path = self.folder / hashlib.sha256(subject.encode()).hexdigest()
        path.write_text(credentials.web_identity_token(claims, self.clone.secret))
        return str(path)


def variables(key: dict[str, Any]) -> dict[str, str]:
    """Environment variables with an access key or a session."""
    named = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    return {**named, **({"AWS_SESSION_TOKEN": key["SessionToken"]} if "SessionToken" in key else {})}
