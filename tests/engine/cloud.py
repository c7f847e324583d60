"""The local cloud of a copy of this folder: its accounts, its registry, its faults."""

import base64
import hmac
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from tests.engine.checkout import Checkout


def password(ecr: Any) -> str:
    """The password of a registry token of an ECR client."""
    (data,) = ecr.get_authorization_token()["authorizationData"]
    return base64.b64decode(data["authorizationToken"]).decode().partition(":")[2]


class WithCloud(Checkout):
    """A copy of the program with access to its local cloud, through the AWS APIs."""

    @property
    def secret(self) -> str:
        """The secret of the local cloud."""
        return (self.root / ".local" / "run" / "secret").read_text()

    def secret_access_key(self, account: str) -> str:
        """The secret access key of an account's root, which the local cloud derives from its secret."""
        code = hmac.digest(self.secret.encode(), account.encode(), "sha256")
        return base64.urlsafe_b64encode(code).decode()[:40]

    def client(self, profile: str, service: str, **options: Any) -> Any:
        """A boto3 client of the local cloud."""
        account = {"registry": "111111111111", "consumer": "222222222222"}[profile]
        return boto3.client(
            service, region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=account, aws_secret_access_key=self.secret_access_key(account), **options,
        )  # fmt: skip

    def login(self, ecr: Any) -> subprocess.CompletedProcess[str]:
        """Run `docker login` with the registry token of an ECR client, for `docker` below."""
        return self.docker("login", "-u", "AWS", "--password-stdin", f"localhost:{self.port}", text=password(ecr))

    def docker(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run `docker` with this input and the credentials of this clone's last login."""
        env = {**self.env, "DOCKER_CONFIG": str(self.root / ".local" / "docker-config"), "DOCKER_BUILDKIT": "0"}
        return subprocess.run(["docker", *arguments], env=env, input=text, capture_output=True, text=True)

    def set_logging_role(self, role: str = "arn:aws:iam::222222222222:role/logs") -> None:
        """Set the role with which API Gateway writes logs in the consumer's account; empty: none."""
        change = {"op": "replace", "path": "/cloudwatchRoleArn", "value": role}
        self.client("consumer", "apigateway").update_account(patchOperations=[change])

    def add_profile(self, name: str, account: str, region: str) -> None:
        """Add an AWS profile for the root of another account in the local cloud."""
        aws = self.root / ".local" / "aws"
        address = f"http://127.0.0.1:{self.port}"
        with (aws / "config").open("a") as file:
            file.write(f"\n[profile {name}]\nregion = {region}\nendpoint_url = {address}\n")
        with (aws / "credentials").open("a") as file:
            secret = self.secret_access_key(account)
            file.write(f"\n[{name}]\naws_access_key_id = {account}\naws_secret_access_key = {secret}\n")

    def log_in_to_registry(self) -> None:
        """Log the clone's Docker configuration in to the registry, as its owner."""
        done = self.login(self.client("registry", "ecr"))
        assert done.returncode == 0, done.stderr

    def call_cloud(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Call the local cloud's control API. Returns status and JSON body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/_local/{path}", json.dumps(body).encode() if body else None, method=method,
            headers={"Authorization": f"Bearer {self.secret}"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def control(self, method: str, fault: dict[str, Any] | None = None) -> list[int]:
        """Add a fault to the local cloud (`POST`) or clear all faults (`DELETE`). Returns how often each occurred."""
        _, answer = self.call_cloud(method, "faults", fault)
        return [fault["struck"] for fault in answer["faults"]]

    @contextmanager
    def faults(self, *faults: dict[str, Any]) -> Iterator[list[int]]:
        """Add faults to the local cloud within the block. Each must occur. Afterwards the list contains how often."""
        struck: list[int] = []
        for fault in faults:
            self.control("POST", fault)
        try:
            yield struck
        finally:
            struck += self.control("DELETE")
        assert all(struck), f"{faults} struck {struck} times"

    def owned(self) -> dict[str, list[str]]:
        """The resources in both accounts, of the types that this program creates, as listed by the local cloud."""
        lambda_, iam = self.client("consumer", "lambda"), self.client("consumer", "iam")
        logs, api = self.client("consumer", "logs"), self.client("consumer", "apigateway")
        http = self.client("consumer", "apigatewayv2")
        alarms = self.client("consumer", "cloudwatch").describe_alarms()["MetricAlarms"]
        repositories = self.client("registry", "ecr").describe_repositories()["repositories"]
        everything = {
            "functions": [item["FunctionName"] for item in lambda_.list_functions()["Functions"]],
            "roles": [item["RoleName"] for item in iam.list_roles()["Roles"]],
            "log groups": [item["logGroupName"] for item in logs.describe_log_groups()["logGroups"]],
            "apis": [item["name"] for item in api.get_rest_apis()["items"]],
            "http apis": [item["Name"] for item in http.get_apis()["Items"]],
            "usage plans": [item["name"] for item in api.get_usage_plans()["items"]],
            "alarms": [item["AlarmName"] for item in alarms],
            "repositories": [item["repositoryName"] for item in repositories],
        }
        return {kind: names for kind, names in everything.items() if names}
