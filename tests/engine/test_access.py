"""Access control in the local cloud: each rule is tested with an allowed and a denied call."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local.cloud import listens
from tests.engine.clone import ROOT, Clone, free_port
from tests.engine.cloud import password
from tests.waiting import until

REGISTRY, CONSUMER, STRANGER = "111111111111", "222222222222", "333333333333"
REGION = "us-east-1"
NAME = "cross-account-function"
REPOSITORY = f"arn:aws:ecr:{REGION}:{REGISTRY}:repository/{NAME}"
FUNCTION = f"arn:aws:lambda:{REGION}:{CONSUMER}:function:{NAME}"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"
PULL = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
PUSH = [
    "ecr:BatchCheckLayerAvailability",
    "ecr:CompleteLayerUpload",
    "ecr:InitiateLayerUpload",
    "ecr:PutImage",
    "ecr:UploadLayerPart",
]

DENIED = (
    "AccessDeniedException",
    "Lambda does not have permission to access the ECR image. Check the ECR permissions.",
)

Client = Callable[..., Any]
Document = dict[str, Any]


# ---- callers -----------------------------------------------------------------------------------------------------


def client(clone: Clone, key: str, service: str, secret: str | None = None) -> Any:
    """A client with an access key. A key of 12 digits is that of an account's root, whose secret the clone knows."""
    return boto3.client(
        service, region_name=REGION, endpoint_url=f"http://127.0.0.1:{clone.port}", aws_access_key_id=key,
        aws_secret_access_key=secret or clone.secret_access_key(key),
    )  # fmt: skip


@contextmanager
def user(clone: Clone, account: str, *statements: Document) -> Iterator[Client]:
    """Create a user with a policy of these statements. Yields a function that returns its clients."""
    iam, name = client(clone, account, "iam"), "tester"
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        policy = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_user_policy(UserName=name, PolicyName="tested", PolicyDocument=json.dumps(policy))
        yield lambda service: client(clone, key["AccessKeyId"], service, key["SecretAccessKey"])
    finally:
        iam.delete_user_policy(UserName=name, PolicyName="tested")
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user(UserName=name)


def allow(actions: str | list[str], resource: str | list[str] = "*") -> Document:
    return {"Effect": "Allow", "Action": actions, "Resource": resource}


LOGIN = allow("ecr:GetAuthorizationToken")


def refusal(call: Callable[[], Any]) -> tuple[str, str]:
    """The code and message of a call's error."""
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


# ---- requests ----------------------------------------------------------------------------------------------------


@contextmanager
def repository_policy(clone: Clone, change: Callable[[Document], Any]) -> Iterator[None]:
    """Change the repository's policy outside Pulumi within the block."""
    ecr = clone.client("registry", "ecr")
    original = ecr.get_repository_policy(repositoryName=NAME)["policyText"]
    policy = json.loads(original)
    change(policy)
    try:
        ecr.set_repository_policy(repositoryName=NAME, policyText=json.dumps(policy))
        yield
    finally:
        ecr.set_repository_policy(repositoryName=NAME, policyText=original)


def without(sid: str) -> Callable[[Document], Any]:
    """A change that removes a statement."""

    def change(policy: Document) -> None:
        kept = [statement for statement in policy["Statement"] if statement["Sid"] != sid]
        assert len(kept) == len(policy["Statement"]) - 1
        policy["Statement"] = kept

    return change


CALLER, SERVICE = "CrossAccountPermission", "LambdaECRImageCrossAccountRetrievalPolicy"


def v2(
    port: int, method: str, path: str, token: str | None, body: bytes = b"", kind: str = MANIFEST
) -> tuple[int, dict[str, str], bytes]:
    """Call the registry protocol. Returns status, headers with names in lower case, and body."""
    headers = {"Content-Type": kind}
    if token is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(f'AWS:{token}'.encode()).decode()}"
    url = f"http://localhost:{port}/v2/{path}"
    request = urllib.request.Request(url, method=method, data=body or None, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status, {key.lower(): value for key, value in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, {key.lower(): value for key, value in error.headers.items()}, error.read()


def path_of(account: str = REGISTRY, name: str = NAME) -> str:
    return f"{account}.dkr.ecr.{REGION}.amazonaws.com/{name}"


def running_image(clone: Clone) -> tuple[str, str]:
    """URL of the repository and tag of the image that the function runs."""
    return clone.output("registry", "repositoryUrl"), clone.output("consumer", "imageTag")


def push_another(clone: Clone, tag: str, url: str | None = None) -> str:
    """Push a unique image with the last login. Returns its name with tag."""
    base, base_tag = running_image(clone)
    name = f"{url or base}:{tag}"
    built = clone.docker("build", "-q", "-t", name, "-", text=f"FROM {base}:{base_tag}\nLABEL another={tag}\n")
    assert built.returncode == 0, built.stderr
    pushed = clone.docker("push", name)
    clone.docker("rmi", name)
    assert pushed.returncode == 0, pushed.stderr
    return name


def local(clone: Clone, path: str) -> tuple[int, Document]:
    """Call the local cloud's control API."""
    return clone.call_cloud("POST", path)


def age(clone: Clone, name: str = NAME) -> None:
    assert local(clone, f"functions/{CONSUMER}/{name}/age")[0] == 200


def state(clone: Clone, name: str = NAME) -> tuple[str, str]:
    found = clone.client("consumer", "lambda").get_function_configuration(FunctionName=name)
    return found["State"], found.get("StateReasonCode", "")


def create(clone: Clone, uri: str, lambda_: Any = None, **options: Any) -> None:
    """Create the function `scratch` in the consumer's account, with the deployed function's role."""
    owner = clone.client("consumer", "lambda")
    role = owner.get_function_configuration(FunctionName=NAME)["Role"]
    (lambda_ or owner).create_function(
        FunctionName="scratch", PackageType="Image", Code={"ImageUri": uri}, Role=role, Timeout=10, **options
    )


@contextmanager
def scratch(clone: Clone, uri: str, lambda_: Any = None) -> Iterator[Any]:
    """Create the function `scratch` within the block. Yields the account's Lambda client."""
    create(clone, uri, lambda_)
    owner = clone.client("consumer", "lambda")
    try:
        owner.get_waiter("function_active_v2").wait(FunctionName="scratch", WaiterConfig={"Delay": 0.1})
        yield owner
    finally:
        with suppress(owner.exceptions.ResourceNotFoundException):
            owner.delete_function(FunctionName="scratch")


# ---- registry tokens ---------------------------------------------------------------------------------------------


def test_a_registry_asks_for_a_token_as_ecr_does(deployed: Clone) -> None:
    status, headers, _ = v2(deployed.port, "GET", "", None)
    assert status == 401
    assert headers["www-authenticate"].startswith("Basic realm=")
    assert v2(deployed.port, "GET", "", password(deployed.client("registry", "ecr")))[0] == 200


def test_a_wrong_token_is_refused(deployed: Clone) -> None:
    assert deployed.login(deployed.client("registry", "ecr")).returncode == 0
    wrong = deployed.docker("login", "-u", "AWS", "--password-stdin", f"localhost:{deployed.port}", text="wrong")
    assert wrong.returncode != 0
    assert "400 Bad Request" in wrong.stderr


def test_tokens_are_random_and_live_twelve_hours(deployed: Clone) -> None:
    ecr = deployed.client("registry", "ecr")
    assert password(ecr) != password(ecr)
    (data,) = ecr.get_authorization_token()["authorizationData"]
    assert data["expiresAt"].timestamp() - time.time() == pytest.approx(12 * 3600, abs=60)
    assert data["proxyEndpoint"] == f"http://localhost:{deployed.port}/{REGISTRY}.dkr.ecr.{REGION}.amazonaws.com"


def test_only_a_granted_caller_gets_a_token(deployed: Clone) -> None:
    with user(deployed, CONSUMER, LOGIN) as granted:
        assert password(granted("ecr"))
    with user(deployed, CONSUMER, allow(PULL, REPOSITORY)) as other:
        code, _ = refusal(other("ecr").get_authorization_token)
        assert code == "AccessDeniedException"


def test_an_expired_token_is_refused(tmp_path: Path) -> None:
    for package in ("local", "offline"):
        shutil.copytree(ROOT / package, tmp_path / package)
    clone = Clone(tmp_path)
    settings = {"LOCAL_CLOUD_PORT": str(clone.port), "LOCAL_CLOUD_TOKEN_SECONDS": "5", "PYTHONPATH": str(tmp_path)}
    command = [str(ROOT / ".local" / "venv" / "bin" / "python"), "-m", "local.cloud.server"]
    with subprocess.Popen(command, env={**os.environ, **settings}, cwd=tmp_path) as server:
        try:
            until(lambda: listens(clone.port))
            ecr = clone.client("registry", "ecr")
            token = password(ecr)
            assert v2(clone.port, "GET", "", token)[0] == 200
            until(lambda: v2(clone.port, "GET", "", token)[0] != 200)
            status, _, body = v2(clone.port, "GET", "", token)
            assert status == 403
            assert b"Your authorization token has expired. Reauthenticate and try again." in body
            assert v2(clone.port, "GET", "", password(ecr))[0] == 200
        finally:
            server.terminate()


# ---- push and pull -----------------------------------------------------------------------------------------------


def test_a_consumer_may_pull_and_a_stranger_may_not(deployed: Clone) -> None:
    url, tag = running_image(deployed)
    deployed.login(client(deployed, CONSUMER, "ecr"))
    assert deployed.docker("pull", f"{url}:{tag}").returncode == 0
    deployed.login(client(deployed, STRANGER, "ecr"))
    pulled = deployed.docker("pull", f"{url}:{tag}")
    assert pulled.returncode != 0
    assert f"{STRANGER}:root is not authorized to perform: ecr:BatchGetImage on resource: {REPOSITORY}" in pulled.stderr


def test_the_owner_may_push_and_a_consumer_may_not(deployed: Clone) -> None:
    deployed.login(client(deployed, CONSUMER, "ecr"))
    url, tag = running_image(deployed)
    deployed.docker("tag", f"{url}:{tag}", f"{url}:foreign")
    pushed = deployed.docker("push", f"{url}:foreign")
    assert pushed.returncode != 0
    assert "no resource-based policy allows the ecr:InitiateLayerUpload action" in pushed.stderr
    deployed.login(deployed.client("registry", "ecr"))
    push_another(deployed, "own")


def test_a_repositorys_policy_lets_a_named_account_push(deployed: Clone) -> None:
    def grant(policy: Document) -> None:
        arn = f"arn:aws:iam::{STRANGER}:root"
        policy["Statement"].append({"Sid": "Push", "Effect": "Allow", "Principal": {"AWS": arn}, "Action": PUSH})

    with repository_policy(deployed, grant):
        deployed.login(client(deployed, STRANGER, "ecr"))
        push_another(deployed, "granted")


def test_a_user_needs_both_its_own_policy_and_the_repositorys(deployed: Clone) -> None:
    url, tag = running_image(deployed)
    with user(deployed, CONSUMER, LOGIN, allow(PULL, REPOSITORY)) as granted:
        deployed.login(granted("ecr"))
        assert deployed.docker("pull", f"{url}:{tag}").returncode == 0
        with repository_policy(deployed, without(CALLER)):
            assert "no resource-based policy allows" in deployed.docker("pull", f"{url}:{tag}").stderr
    with user(deployed, CONSUMER, LOGIN) as other:
        deployed.login(other("ecr"))
        assert "no identity-based policy allows" in deployed.docker("pull", f"{url}:{tag}").stderr


def test_a_deny_wins(deployed: Clone) -> None:
    url, tag = running_image(deployed)
    deny = {**allow("ecr:BatchGetImage", REPOSITORY), "Effect": "Deny"}
    with user(deployed, CONSUMER, LOGIN, allow("ecr:*"), deny) as denied:
        deployed.login(denied("ecr"))
        pulled = deployed.docker("pull", f"{url}:{tag}")
        assert "with an explicit deny in an identity-based policy" in pulled.stderr


def test_listing_tags_needs_its_action(deployed: Clone) -> None:
    path = f"{path_of()}/tags/list"
    status, _, body = v2(deployed.port, "GET", path, password(client(deployed, REGISTRY, "ecr")))
    assert (status, json.loads(body)["name"]) == (200, NAME)
    status, _, body = v2(deployed.port, "GET", path, password(client(deployed, CONSUMER, "ecr")))
    assert status == 403
    assert b"ecr:ListImages" in body


def test_deleting_needs_its_action(deployed: Clone) -> None:
    owner = client(deployed, REGISTRY, "ecr")
    deployed.login(owner)
    push_another(deployed, "doomed")
    (image,) = owner.batch_get_image(repositoryName=NAME, imageIds=[{"imageTag": "doomed"}])["images"]
    path = f"{path_of()}/manifests/{image['imageId']['imageDigest']}"
    status, _, body = v2(deployed.port, "DELETE", path, password(client(deployed, CONSUMER, "ecr")))
    assert status == 403
    assert b"ecr:BatchDeleteImage" in body
    assert v2(deployed.port, "DELETE", path, password(owner))[0] == 202
    assert v2(deployed.port, "GET", path, password(owner))[0] == 404


def test_a_layer_is_mounted_only_from_a_repository_that_may_be_pulled(deployed: Clone) -> None:
    owner = client(deployed, REGISTRY, "ecr")
    (image,) = owner.batch_get_image(
        repositoryName=NAME, imageIds=[{"imageTag": deployed.output("consumer", "imageTag")}]
    )["images"]
    layer = json.loads(image["imageManifest"])["layers"][0]["digest"]
    other = owner.create_repository(repositoryName="other")["repository"]["repositoryArn"]
    try:
        path = f"{path_of(name='other')}/blobs/uploads/?mount={layer}&from={path_of()}"
        with user(deployed, REGISTRY, LOGIN, allow(PUSH, other)) as pusher:
            assert v2(deployed.port, "POST", path, password(pusher("ecr")))[0] == 202  # to be uploaded
        with user(deployed, REGISTRY, LOGIN, allow(PUSH, other), allow(PULL, REPOSITORY)) as reader:
            assert v2(deployed.port, "POST", path, password(reader("ecr")))[0] == 201  # mounted
        with user(deployed, REGISTRY, LOGIN, allow(PULL, REPOSITORY)) as stranger:
            assert v2(deployed.port, "POST", path, password(stranger("ecr")))[0] == 403
    finally:
        owner.delete_repository(repositoryName="other", force=True)


# ---- the ECR API -------------------------------------------------------------------------------------------------


def test_registry_id_reaches_the_other_accounts_registry(deployed: Clone) -> None:
    images = [{"imageTag": deployed.output("consumer", "imageTag")}]
    consumer, stranger = client(deployed, CONSUMER, "ecr"), client(deployed, STRANGER, "ecr")
    call = {"registryId": REGISTRY, "repositoryName": NAME}
    (found,) = consumer.batch_get_image(**call, imageIds=images)["images"]
    assert found["registryId"] == REGISTRY
    code, text = refusal(lambda: stranger.batch_get_image(**call, imageIds=images))
    assert code == "AccessDeniedException"
    assert "ecr:BatchGetImage" in text
    assert refusal(lambda: consumer.list_images(**call))[0] == "AccessDeniedException"
    assert refusal(lambda: consumer.delete_repository(**call, force=True))[0] == "AccessDeniedException"
    assert refusal(lambda: consumer.describe_repositories(registryId=REGISTRY))[0] == "AccessDeniedException"
    assert refusal(lambda: consumer.create_repository(registryId=REGISTRY, repositoryName="mine"))[0] == (
        "AccessDeniedException"
    )


def test_an_unknown_repository_is_not_found(deployed: Clone) -> None:
    call = {"registryId": REGISTRY, "repositoryName": "unknown"}
    assert refusal(lambda: client(deployed, CONSUMER, "ecr").list_images(**call))[0] == "RepositoryNotFoundException"
    deployed.login(client(deployed, CONSUMER, "ecr"))
    pulled = deployed.docker("pull", f"localhost:{deployed.port}/{path_of(name='unknown')}:x")
    assert f"'unknown' does not exist in the registry with id '{REGISTRY}'" in pulled.stderr


def test_the_owners_users_are_under_the_same_rules(deployed: Clone) -> None:
    with user(deployed, REGISTRY, allow(["ecr:DescribeRepositories", "ecr:ListTagsForResource"], REPOSITORY)) as reader:
        ecr = reader("ecr")
        assert ecr.describe_repositories(repositoryNames=[NAME])["repositories"]
        assert ecr.list_tags_for_resource(resourceArn=REPOSITORY)["tags"] is not None
        assert refusal(lambda: ecr.list_images(repositoryName=NAME))[0] == "AccessDeniedException"


def test_an_immutable_tag_is_refused_by_the_api(deployed: Clone) -> None:
    ecr = deployed.client("registry", "ecr")
    tag = deployed.output("consumer", "imageTag")
    (image,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageTag": tag}])["images"]
    other = image["imageManifest"].replace("{", "{ ", 1)
    put = {"repositoryName": NAME, "imageManifest": other, "imageManifestMediaType": MANIFEST}
    code, text = refusal(lambda: ecr.put_image(**put, imageTag=tag))
    assert code == "ImageTagAlreadyExistsException"
    assert "the tag is immutable" in text
    ecr.put_image(**put, imageTag="fresh")


# ---- lifecycle ---------------------------------------------------------------------------------------------------


def test_a_lifecycle_policy_is_applied_when_asked(deployed: Clone) -> None:
    ecr, path = deployed.client("registry", "ecr"), f"repositories/{REGISTRY}/{REGION}/aged/lifecycle"
    url = ecr.create_repository(repositoryName="aged")["repository"]["repositoryUri"]
    try:
        deployed.login(ecr)
        for number in (1, 2, 3):
            push_another(deployed, f"v{number}", url)
        assert local(deployed, path)[0] == 404  # no policy yet
        selection = {"tagStatus": "tagged", "tagPrefixList": ["v"], "countType": "imageCountMoreThan", "countNumber": 2}
        rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
        ecr.put_lifecycle_policy(repositoryName="aged", lifecyclePolicyText=json.dumps({"rules": [rule]}))
        _, answer = local(deployed, path)
        assert [image["tags"] for image in answer["expired"]] == [["v1"]]
        left = ecr.describe_images(repositoryName="aged")["imageDetails"]
        assert [image["imageTags"] for image in left] == [["v2"], ["v3"]]
        assert deployed.docker("pull", f"{url}:v1").returncode != 0
        assert local(deployed, path)[1] == {"expired": []}
    finally:
        ecr.delete_repository(repositoryName="aged", force=True)


# ---- Lambda ------------------------------------------------------------------------------------------------------


def test_lambda_takes_an_image_only_from_an_account_that_is_granted(deployed: Clone) -> None:
    url, tag = running_image(deployed)
    with scratch(deployed, f"{url}:{tag}") as lambda_, repository_policy(deployed, without(CALLER)):
        update = {"FunctionName": "scratch", "ImageUri": f"{url}:{tag}"}
        assert refusal(lambda: lambda_.update_function_code(**update)) == DENIED
        assert "FunctionError" not in lambda_.invoke(FunctionName="scratch")
        lambda_.delete_function(FunctionName="scratch")
        assert refusal(lambda: create(deployed, f"{url}:{tag}")) == DENIED
    create(deployed, f"{url}:{tag}")
    deployed.client("consumer", "lambda").delete_function(FunctionName="scratch")


def test_a_deployer_needs_the_images_actions_and_pass_role(deployed: Clone) -> None:
    url, tag = running_image(deployed)
    uri, rights = f"{url}:{tag}", ["lambda:CreateFunction", "iam:PassRole"]
    with (
        user(deployed, CONSUMER, allow(rights), allow(PULL, REPOSITORY)) as deployer,
        scratch(deployed, uri, deployer("lambda")) as lambda_,
    ):
        code = lambda_.get_function(FunctionName="scratch")["Code"]
        assert (code["ImageUri"], code["ResolvedImageUri"]) == (uri, deployed.output("consumer", "imageUri"))
    for missing in (*PULL, "iam:PassRole", "lambda:CreateFunction"):
        granted = [action for action in (*rights, *PULL) if action != missing]
        with user(deployed, CONSUMER, allow(granted)) as deployer, pytest.raises(ClientError, match="AccessDenied"):
            create(deployed, uri, deployer("lambda"))


def test_an_idle_function_is_pulled_again_by_the_service(deployed: Clone) -> None:
    age(deployed)
    assert state(deployed) == ("Inactive", "Idle")
    assert deployed.get() == (200, {"message": "hello world!"})
    assert state(deployed)[0] == "Active"


def test_an_image_that_the_engine_lost_is_pulled_again_by_the_service(deployed: Clone) -> None:
    deployed.login(deployed.client("registry", "ecr"))
    name = push_another(deployed, "to-be-lost")
    with scratch(deployed, name) as lambda_:
        digest = lambda_.get_function(FunctionName="scratch")["Code"]["ResolvedImageUri"]
        copy = digest.replace("localhost:", "127.0.0.1:")
        assert deployed.docker("rmi", "-f", copy).returncode == 0
        with repository_policy(deployed, without(SERVICE)):
            assert "FunctionError" in lambda_.invoke(FunctionName="scratch")
        assert "FunctionError" not in lambda_.invoke(FunctionName="scratch")
        assert deployed.docker("image", "inspect", copy).returncode == 0


def test_within_one_account_lambda_adds_its_statement_if_it_may(deployed: Clone) -> None:
    ecr, iam = deployed.client("registry", "ecr"), deployed.client("registry", "iam")
    trust = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName="scratch", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    made = ecr.create_repository(repositoryName="own")["repository"]
    call = {"FunctionName": "scratch", "PackageType": "Image", "Role": role}
    rights = ["lambda:CreateFunction", "iam:PassRole", *PULL]
    try:
        deployed.login(ecr)
        code = {"ImageUri": push_another(deployed, "v1", made["repositoryUri"])}
        with user(deployed, REGISTRY, allow(rights)) as deployer:
            assert refusal(lambda: deployer("lambda").create_function(**call, Code=code)) == DENIED
        with user(
            deployed, REGISTRY, allow([*rights, "ecr:GetRepositoryPolicy", "ecr:SetRepositoryPolicy"])
        ) as deployer:
            deployer("lambda").create_function(**call, Code=code)
        policy = json.loads(ecr.get_repository_policy(repositoryName="own")["policyText"])
        assert [statement["Sid"] for statement in policy["Statement"]] == ["LambdaECRImageRetrievalPolicy"]
    finally:
        with suppress(ClientError):
            deployed.client("registry", "lambda").delete_function(FunctionName="scratch")
        ecr.delete_repository(repositoryName="own", force=True)
        iam.delete_role(RoleName="scratch")


def test_a_function_whose_image_was_deleted_fails_when_it_is_pulled_again(deployed: Clone) -> None:
    ecr = deployed.client("registry", "ecr")
    deployed.login(ecr)
    with scratch(deployed, push_another(deployed, "to-be-deleted")) as lambda_:
        ecr.batch_delete_image(repositoryName=NAME, imageIds=[{"imageTag": "to-be-deleted"}])
        assert "FunctionError" not in lambda_.invoke(FunctionName="scratch")  # Lambda has its copy
        age(deployed, "scratch")
        refusal(lambda: lambda_.invoke(FunctionName="scratch"))
        assert state(deployed, "scratch") == ("Failed", "ImageDeleted")


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("aws:SourceArn", f"arn:aws:lambda:{REGION}:{CONSUMER}:function:scr*", FUNCTION),
        ("aws:SourceAccount", CONSUMER, STRANGER),
        ("aws:SourceOrgID", "", "o-0000000000"),
    ],
)
def test_conditions_on_the_service(deployed: Clone, key: str, good: str, bad: str) -> None:
    def demand(value: str) -> Callable[[Document], Any]:
        def change(policy: Document) -> None:
            (statement,) = (found for found in policy["Statement"] if found["Sid"] == SERVICE)
            statement["Condition"] = {"StringLike": {key: value}}

        return change

    url, tag = running_image(deployed)
    with scratch(deployed, f"{url}:{tag}") as lambda_:
        with repository_policy(deployed, demand(good or organization(deployed))):
            age(deployed, "scratch")
            assert "FunctionError" not in lambda_.invoke(FunctionName="scratch")
        with repository_policy(deployed, demand(bad)):
            age(deployed, "scratch")
            refusal(lambda: lambda_.invoke(FunctionName="scratch"))
            assert state(deployed, "scratch") == ("Failed", "ImageAccessDenied")


def organization(clone: Clone) -> str:
    """The ID of the organization of the consumer's account."""
    found = clone.client("consumer", "organizations").describe_organization()
    return str(found["Organization"]["Id"])


def test_a_source_image_must_exist_in_the_functions_region(deployed: Clone) -> None:
    url, tag = running_image(deployed)
    missing, elsewhere = f"{url}:missing", f"{url.replace(REGION, 'eu-west-1')}:{tag}"
    invalid = "InvalidParameterValueException"
    assert refusal(lambda: create(deployed, missing)) == (
        invalid,
        f"Source image {missing} does not exist. Provide a valid source image.",
    )
    assert refusal(lambda: create(deployed, elsewhere)) == (
        invalid,
        f"Source image {elsewhere} is not valid. Provide a valid source image.",
    )


def test_a_source_image_must_be_one_image_of_the_functions_architecture(deployed: Clone) -> None:
    url, tag = running_image(deployed)
    ecr = deployed.client("registry", "ecr")
    (image,) = ecr.batch_get_image(repositoryName=NAME, imageIds=[{"imageTag": tag}])["images"]
    entry = {"mediaType": MANIFEST, "digest": image["imageId"]["imageDigest"], "size": len(image["imageManifest"])}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).encode()
    digest = f"sha256:{hashlib.sha256(index).hexdigest()}"
    assert v2(deployed.port, "PUT", f"{path_of()}/manifests/{digest}", password(ecr), index, INDEX)[0] == 201
    code, text = refusal(lambda: create(deployed, f"{url}@{digest}"))
    assert code == "InvalidParameterValueException"
    assert text.startswith("The image manifest, config or layer media type for the source image")
    code, text = refusal(lambda: create(deployed, f"{url}:{tag}", Architectures=["arm64"]))
    assert code == "InvalidParameterValueException"
    assert text.endswith("is for linux/x86_64, the function for linux/arm64.")


# ---- API Gateway -------------------------------------------------------------------------------------------------


def test_the_api_calls_the_function_only_with_its_permission(deployed: Clone) -> None:
    lambda_ = deployed.client("consumer", "lambda")
    (statement,) = json.loads(lambda_.get_policy(FunctionName=NAME)["Policy"])["Statement"]
    permission = {"FunctionName": NAME, "Action": statement["Action"], "Principal": "apigateway.amazonaws.com"}
    source = statement["Condition"]["ArnLike"]["AWS:SourceArn"]
    assert deployed.get()[0] == 200
    lambda_.remove_permission(FunctionName=NAME, StatementId=statement["Sid"])
    try:
        assert deployed.get() == (500, {"message": "Internal server error"})
        other = source.replace("/GET/", "/POST/")
        lambda_.add_permission(**permission, StatementId="other", SourceArn=other)
        assert deployed.get() == (500, {"message": "Internal server error"})
        lambda_.remove_permission(FunctionName=NAME, StatementId="other")
    finally:
        lambda_.add_permission(**permission, StatementId=statement["Sid"], SourceArn=source)
    assert deployed.get()[0] == 200


# ---- loopback ----------------------------------------------------------------------------------------------------


def test_the_local_cloud_refuses_to_listen_beyond_loopback() -> None:
    settings = {"LOCAL_CLOUD_PORT": str(free_port()), "BIND_HOST": "0.0.0.0", "PYTHONPATH": str(ROOT)}  # noqa: S104
    command = [str(ROOT / ".local" / "venv" / "bin" / "python"), "-m", "local.cloud.server"]
    ran = subprocess.run(command, env={**os.environ, **settings}, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ran.returncode != 0
    assert "The local cloud listens on loopback only" in ran.stderr


def test_the_local_cloud_listens_on_loopback(deployed: Clone) -> None:
    listening = subprocess.run(["ss", "-ltnH", f"sport = :{deployed.port}"], capture_output=True, text=True).stdout
    assert [line.split()[3] for line in listening.splitlines()] == [f"127.0.0.1:{deployed.port}"]


# ---- both statements of the repository's policy -------------------------------------------------------------------


def test_a_stack_needs_the_account_statement_at_once_and_the_service_statement_later(deployed: Clone) -> None:
    deployed.edit("app/app.py", "hello world!", "hello later!")
    with repository_policy(deployed, without(CALLER)):
        failed = deployed.shell("pulumi up --yes --skip-preview -s consumer")
        assert failed.returncode != 0
        assert "no resource-based policy allows the ecr:BatchGetImage action" in failed.stdout
        assert deployed.get() == (200, {"message": "hello world!"})
    with repository_policy(deployed, without(SERVICE)):
        deployed.up("consumer")
        assert deployed.get() == (200, {"message": "hello later!"})
        age(deployed)
        assert deployed.get() == (500, {"message": "Internal server error"})
        assert state(deployed) == ("Failed", "ImageAccessDenied")
        code, text = refusal(lambda: deployed.client("consumer", "lambda").invoke(FunctionName=NAME))
        assert code == "CodeArtifactUserFailedException"
        assert text == "The function does not have permission to access the specified image."
