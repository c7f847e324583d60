"""Statements of the pages that only a run can verify."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.engine.clone import Clone
from tests.engine.test_access import allow, running_image, scratch, user

CONSUMER = "222222222222"
Files = dict[str, tuple[str, int]]


def signed(url: str, key: str, secret: str) -> dict[str, str]:
    """The headers of a call signed for API Gateway."""
    request = AWSRequest("GET", url)
    SigV4Auth(Credentials(key, secret), "execute-api", "us-east-1").add_auth(request)
    return dict(request.headers)


def files(home: Path) -> Files:
    """The content and the time of each AWS and Docker file in a home folder."""
    found = [*(home / ".aws").rglob("*"), *(home / ".docker").rglob("*")]
    return {str(path): (path.read_text(), path.stat().st_mtime_ns) for path in found if path.is_file()}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Files]:
    """A home folder with the user's own AWS and Docker files, and these files."""
    home = tmp_path_factory.mktemp("home")
    for name in (".aws/config", ".aws/credentials", ".docker/config.json"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text("{}" if name.endswith("json") else "[default]\n")
    return home, files(home)


@pytest.fixture(scope="module")
def updated(clone: Clone, home: tuple[Path, Files]) -> Clone:
    """The clone with a private endpoint. The user of that home folder updated it: a build, a login and a push."""
    clone.edit("app/app.py", "hello world!", "hello home!")
    clone.edit("Pulumi.consumer.yaml", ", public: true", "")
    command = "pulumi up --yes --skip-preview -s consumer && python -m deployment status"
    done = clone.shell(command, HOME=str(home[0]))
    assert done.returncode == 0, done.stdout
    return clone


def test_a_local_run_leaves_the_users_own_aws_and_docker_files_alone(updated: Clone, home: tuple[Path, Files]) -> None:
    folder, before = home
    assert updated.output("consumer", "imageSource") == "built"
    assert files(folder) == before


def test_a_private_endpoint_answers_who_signs_with_a_key_of_the_account_and_nobody_else(updated: Clone) -> None:
    url = updated.output("consumer", "endpointUrl")
    iam = updated.client("consumer", "iam")
    iam.create_user(UserName="caller")
    key = iam.create_access_key(UserName="caller")["AccessKey"]
    may_call = {"Version": "2012-10-17", "Statement": [allow("execute-api:Invoke")]}
    try:
        iam.put_user_policy(UserName="caller", PolicyName="it", PolicyDocument=json.dumps(may_call))
        right = signed(url, key["AccessKeyId"], key["SecretAccessKey"])
        assert updated.get_url(url, right) == (200, {"message": "hello home!"})
        assert updated.get_url(url, signed(url, key["AccessKeyId"], "wrong"))[0] == 403
        assert updated.get_url(url)[0] == 403
    finally:
        iam.delete_user_policy(UserName="caller", PolicyName="it")
        iam.delete_access_key(UserName="caller", AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName="caller")


def test_a_deployer_with_the_output_and_pass_role_deploys_and_with_less_does_not(clone: Clone) -> None:
    url, tag = running_image(clone)
    uri = f"{url}:{tag}"
    policy = json.loads(json.loads(clone.output("registry", "deployerPolicies"))[CONSUMER])["Statement"]
    pass_role = allow("iam:PassRole")

    def deploy(client: Callable[[str], Any]) -> None:
        client("ecr").get_authorization_token()
        with scratch(clone, uri, client("lambda")):
            client("lambda").update_function_code(FunctionName="scratch", ImageUri=uri)

    with user(clone, CONSUMER, *policy, pass_role) as deployer:
        deploy(deployer)
    for missing in policy:
        rest = [statement for statement in policy if statement is not missing]
        with user(clone, CONSUMER, *rest, pass_role) as deployer, pytest.raises(ClientError, match="AccessDenied"):
            deploy(deployer)


def test_the_backend_of_the_environment_is_the_one_that_is_used(clone: Clone, tmp_path: Path) -> None:
    there = clone.shell("python -m deployment status --json 2>/dev/null")
    assert there.returncode == 0
    assert "endpointUrl" in there.stdout
    elsewhere = clone.shell(f"PULUMI_BACKEND_URL=file://{tmp_path} python -m deployment status --json 2>/dev/null")
    assert elsewhere.returncode == 0
    assert [stack["deployed"] for stack in json.loads(elsewhere.stdout)["stacks"].values()] == [False, False]


def test_which_plugins_are_used_is_reported_once(demo: tuple[Clone, str]) -> None:
    clone, printed = demo
    used = json.loads((clone.root / ".local" / "run" / "plugins").read_text())["how"]
    assert re.findall(r"✓ Pulumi plugins +(\S+)", printed) == [used]
    # Pulumi itself warns about each plugin on PATH.
    assert "using pulumi-" not in printed
