"""Who gets into the local cloud: a server without a Docker engine, attacked as a web page and another user would."""

import ast
import hashlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import boto3
import botocore.session
import ministack
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.model import ServiceModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ministack.core.router import SERVICE_PATTERNS

from local.cloud import listens
from tests.engine.checkout import free_port
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
REGION, OWNER, OTHER = "us-east-1", "111111111111", "222222222222"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}],
}
Headers = dict[str, str]
Document = dict[str, Any]
Answer = tuple[int, Headers, bytes]


@dataclass(frozen=True)
class Cloud:
    """A running local cloud.

    Attributes:
        folder: where its program and its state are.
        port: where it listens.
        secret: what its owner reads.
    """

    folder: Path
    port: int

    @property
    def secret(self) -> str:
        return (self.folder / ".local" / "run" / "secret").read_text()

    def call(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b""
    ) -> tuple[int, Headers, bytes]:
        """A request with exactly these headers, and the cloud's own host unless another one is given."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            length = {"Content-Length": str(len(body))} if body or method in ("POST", "PUT", "PATCH") else {}
            for name, value in {"Host": f"127.0.0.1:{self.port}", **length, **(headers or {})}.items():
                connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def key(self, account: str) -> str:
        """The secret access key of an account."""
        return _key(self.folder, account)

    def client(self, service: str, account: str = OWNER, secret: str | None = None) -> Any:
        return boto3.client(
            service, REGION, endpoint_url=f"http://127.0.0.1:{self.port}", aws_access_key_id=account,
            aws_secret_access_key=secret or self.key(account),
        )  # fmt: skip


PYTHON = ROOT / ".local" / "venv" / "bin" / "python"


@cache
def _key(folder: Path, account: str) -> str:
    script = f"from local import credentials; print(credentials.secret_access_key('{account}'))"
    shown = subprocess.run([str(PYTHON), "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return shown.stdout.strip()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    folder = tmp_path_factory.mktemp("cloud")
    for package in ("local", "offline"):
        shutil.copytree(ROOT / package, folder / package)
    port = free_port()
    env = {**os.environ, "LOCAL_CLOUD_PORT": str(port), "DOCKER_HOST": "unix:///nowhere", "PYTHONPATH": str(folder)}
    log = folder / "log"
    with log.open("w") as output, subprocess.Popen(
        [str(PYTHON), "-m", "local.cloud.server"], cwd=folder, env=env, stdout=output, stderr=output
    ) as server:  # fmt: skip
        try:
            until(lambda: server.poll() is not None or listens(port))
            assert server.poll() is None, log.read_text()
            yield Cloud(folder, port)
        finally:
            server.terminate()


def presigned(cloud: Cloud, service: str, account: str, secret: str, method: str, path: str, body: bytes = b"") -> str:
    request = AWSRequest(method, f"http://127.0.0.1:{cloud.port}{path}", data=body)
    SigV4QueryAuth(Credentials(account, secret), service, REGION).add_auth(request)
    return str(request.url).partition(str(cloud.port))[2]


def signed(
    cloud: Cloud, service: str, account: str, secret: str, method: str, path: str, body: bytes, **named: str
) -> Headers:
    headers = {"Host": f"127.0.0.1:{cloud.port}", **{name.replace("_", "-"): value for name, value in named.items()}}
    request = AWSRequest(method, f"http://127.0.0.1:{cloud.port}{path}", data=body, headers=headers)
    SigV4Auth(Credentials(account, secret), service, REGION).add_auth(request)
    return dict(request.headers.items())


# ---- a web page --------------------------------------------------------------------------------------------------

FOREIGN = {
    "origin": {"Origin": "https://evil.example"},
    "opaque origin": {"Origin": "null"},
    "origin on another port": {"Origin": "http://127.0.0.1:1"},
    "referer": {"Referer": "https://evil.example/page"},
    "no-cors request": {"Sec-Fetch-Site": "cross-site"},
    "page of another port": {"Sec-Fetch-Site": "same-site"},
    "rebound name": {"Host": "evil.example:4566"},
    "rebound name of an endpoint": {"Host": "abc.execute-api.evil.example"},
    "own name, other port": {"Host": "127.0.0.1:1"},
    "no host": {"Host": ""},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/_ministack/config", b'{"lambda_svc.LAMBDA_EXECUTOR": "local"}'),
        ("POST", "/_ministack/reset", b""),
        ("POST", "/_local/faults", b'{"cut": true}'),
        ("GET", "/_local/health", b""),
        ("GET", "/v2/", b""),
        ("OPTIONS", "/2015-03-31/functions", b""),
    ],
)
def test_a_web_page_is_refused(cloud: Cloud, headers: Headers, method: str, path: str, body: bytes) -> None:
    authorized = {"Authorization": f"Bearer {cloud.secret}", "Content-Type": "text/plain"}
    status, answered, _ = cloud.call(method, path, {**authorized, **headers}, body)
    assert status == 403
    assert not any(name.startswith("access-control-") for name in answered)


def test_a_presigned_url_is_refused_to_a_web_page(cloud: Cloud) -> None:
    path = "/2015-03-31/functions"
    url = presigned(cloud, "lambda", OWNER, cloud.key(OWNER), "GET", path)
    assert cloud.call("GET", url)[0] == 200
    assert cloud.call("GET", url, {"Origin": "https://evil.example"})[0] == 403
    url = presigned(cloud, "lambda", OWNER, "local", "GET", path)
    assert cloud.call("GET", url)[0] == 403


def test_no_answer_lets_another_page_read_it(cloud: Cloud) -> None:
    path = "/2015-03-31/functions"
    headers = signed(cloud, "lambda", OWNER, cloud.key(OWNER), "GET", path, b"")
    status, answered, _ = cloud.call("GET", path, headers)
    assert status == 200
    assert not any(name.startswith("access-control-") for name in answered)


def test_an_endpoint_is_open_to_every_page_as_on_aws(cloud: Cloud) -> None:
    api = cloud.client("apigateway").create_rest_api(name="open")
    identity, root = api["id"], api["rootResourceId"]
    gateway = cloud.client("apigateway")
    keys: dict[str, Any] = {"restApiId": identity, "resourceId": root, "httpMethod": "GET"}
    gateway.put_method(**keys, authorizationType="NONE")
    gateway.put_integration(**keys, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    gateway.put_method_response(**keys, statusCode="200")
    gateway.put_integration_response(**keys, statusCode="200")
    gateway.create_deployment(restApiId=identity, stageName="Prod")
    page = {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    for host, path in (
        (f"127.0.0.1:{cloud.port}", f"/_aws/execute-api/{identity}/Prod/"),
        (f"{identity}.execute-api.{REGION}.amazonaws.com", "/Prod/"),
    ):
        status, headers, _ = cloud.call("GET", path, {"Host": host, **page})
        assert (host, status) == (host, 200)
        assert not any(name.startswith("access-control-") for name in headers)
        status, _, text = cloud.call("OPTIONS", path, {"Host": host, **page})
        assert (status, json.loads(text)["message"]) == (403, "Missing Authentication Token")


@pytest.mark.parametrize("host", ["abc.execute-api.us-east-1.amazonaws.com", "abc.lambda-url.us-east-1.on.aws"])
@pytest.mark.parametrize("path", ["/_ministack/reset", "/_local/faults", "/v2/", "/_ministack/config", "/health"])
def test_nothing_else_is_behind_the_name_of_an_endpoint(cloud: Cloud, host: str, path: str) -> None:
    assert cloud.call("POST", path, {"Host": host}, b"{}")[0] in (403, 404)


@pytest.mark.parametrize("path", ["/", "/x", "/x/y"])
def test_an_endpoint_is_no_way_to_an_api_of_aws(cloud: Cloud, path: str) -> None:
    named = {"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories"}
    for host, there in (
        (f"abc.execute-api.{REGION}.amazonaws.com", path),
        (f"{'a' * 32}.lambda-url.{REGION}.on.aws", path),
        (f"127.0.0.1:{cloud.port}", f"/_aws/execute-api/abc{path}"),
        (f"127.0.0.1:{cloud.port}", f"/_aws/lambda-url/abc{path}"),
        (f"127.0.0.1:{cloud.port}", f"/restapis/abc/Prod/_user_request_{path}"),
    ):
        headers = signed(cloud, "ecr", OWNER, cloud.key(OWNER), "POST", there, b"{}", Host=host, **named)
        status, _, text = cloud.call("POST", there, {**headers, "Host": host, "Origin": "https://evil.example"}, b"{}")
        assert status in (403, 404)
        assert b"repositories" not in text


def test_websockets_are_refused(cloud: Cloud) -> None:
    upgrade = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }  # fmt: skip
    assert cloud.call("GET", "/_aws/execute-api/abc/Prod", upgrade)[0] == 403


# ---- another user of the machine ---------------------------------------------------------------------------------


def emulator_paths() -> list[str]:
    """Every path that the emulator's front and router know."""
    found = set()
    for name in ("app.py", "core/router.py"):
        for node in ast.walk(ast.parse((Path(ministack.__file__).parent / name).read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return sorted(path for path in found if re.fullmatch(r"/[!-~]*", path))


def services() -> list[tuple[str, str]]:
    """What the emulator's services are signed for, and the beginning of the header that names their actions."""
    return [(name, next(iter(known.get("target_prefixes", [])), "")) for name, known in SERVICE_PATTERNS.items()]


def test_every_path_is_closed_to_a_stranger(cloud: Cloud) -> None:
    """Docker alone is answered otherwise, that it has to log in."""
    paths = emulator_paths()
    assert len(paths) > 100
    answered = {}
    for path in paths:
        for method in ("GET", "POST", "OPTIONS"):
            for tried in (path,):
                status, _, _ = cloud.call(method, tried)
                if status not in (403, 404):
                    answered[tried] = status
    assert all(path == "/v2" or path.startswith("/v2/") for path in answered)
    assert set(answered.values()) == {401}


def test_every_service_is_closed_to_a_stranger(cloud: Cloud) -> None:
    tried = services()
    assert len(tried) > 80
    for service, target in tried:
        named = {"X-Amz-Target": f"{target}.ListThings"} if target else {}
        assert cloud.call("POST", "/", named, b"{}")[0] == 403
        headers = signed(cloud, service, OWNER, "local", "POST", "/", b"{}", **named)
        status, _, text = cloud.call("POST", "/", headers, b"{}")
        # Services of JSON answer a wrong signature with 400, as on AWS.
        assert status in (403, 404) or b"security token" in text or b"signature" in text, service


def test_only_services_in_use_answer_their_owner(cloud: Cloud) -> None:
    secret = cloud.key(OWNER)
    answering = set()
    for service, target in services():
        named = {"X-Amz-Target": f"{target}.ListThings"} if target else {}
        headers = signed(cloud, service, OWNER, secret, "POST", "/", b"{}", **named)
        if cloud.call("POST", "/", headers, b"{}")[0] not in (403, 404):
            answering.add(service)
    assert answering <= {"ecr", "events", "iam", "logs", "monitoring", "organizations", "sqs", "sts"}
    assert {"ecr", "iam"} <= answering


@pytest.mark.parametrize("protocol", ["http", "https", "email", "lambda&Protocol=http"])
def test_nothing_calls_an_address_that_somebody_names(cloud: Cloud, protocol: str) -> None:
    form = f"Action=Subscribe&TopicArn=arn:aws:sns:us-east-1:{OWNER}:t&Endpoint=http://127.0.0.1:1&Protocol={protocol}"
    headers = {"Content_Type": "application/x-www-form-urlencoded"}
    named = signed(cloud, "sns", OWNER, cloud.key(OWNER), "POST", "/", form.encode(), **headers)
    assert cloud.call("POST", "/", named, form.encode())[0] == 404
    for action in ("CreateConnection", "CreateApiDestination"):
        named = signed(cloud, "events", OWNER, cloud.key(OWNER), "POST", "/", b"{}", X_Amz_Target=f"AWSEvents.{action}")
        assert cloud.call("POST", "/", named, b"{}")[0] == 404


@pytest.mark.parametrize("secret", ["local", "test", "x"])
@pytest.mark.parametrize("key", [OWNER, OTHER, "000000000000", "test", "AKIAIOSFODNN7EXAMPLE"])
def test_a_wrong_secret_is_refused(cloud: Cloud, key: str, secret: str) -> None:
    for service, call in (
        ("sts", "get_caller_identity"), ("iam", "list_roles"), ("lambda", "list_functions"),
        ("apigateway", "get_rest_apis"), ("ecr", "describe_repositories"),
        ("logs", "describe_log_groups"), ("cloudwatch", "describe_alarms"),
    ):  # fmt: skip
        with pytest.raises(ClientError) as refused:
            getattr(cloud.client(service, key, secret), call)()
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_an_accounts_key_is_that_account_alone(cloud: Cloud) -> None:
    assert cloud.client("sts").get_caller_identity()["Arn"] == f"arn:aws:iam::{OWNER}:root"
    with pytest.raises(ClientError):
        cloud.client("sts", OTHER, cloud.key(OWNER)).get_caller_identity()


def test_one_service_cannot_be_called_in_the_name_of_another(cloud: Cloud) -> None:
    target = "AmazonEC2ContainerServiceV20141113.RunTask"
    for service in ("iam", "ecr", "sts", "logs"):
        headers = signed(cloud, service, OWNER, cloud.key(OWNER), "POST", "/", b"{}", X_Amz_Target=target)
        assert cloud.call("POST", "/", headers, b"{}")[0] == 404


@pytest.mark.parametrize(
    "path",
    ["/2015-03-31/functions%252f", "/2015-03-31/functions/%252e%252e/x", "/2015-03-31//functions", "/2015-03-31/layers",
     "/x/functions", "/vpclinks", "/v2/vpclinks", "/iceberg/v1/config", "/_alb/x"],
)  # fmt: skip
def test_a_path_that_is_not_used_is_not_found(cloud: Cloud, path: str) -> None:
    service = "apigateway" if "vpclinks" in path else "lambda"
    headers = signed(cloud, service, OWNER, cloud.key(OWNER), "POST", path, b"{}")
    assert cloud.call("POST", path, headers, b"{}")[0] in (401, 404)


def test_a_zip_function_is_refused(cloud: Cloud) -> None:
    lambda_ = cloud.client("lambda")
    role = f"arn:aws:iam::{OWNER}:role/any"
    for package in ({"PackageType": "Zip"}, {}, {"PackageType": "Image"}):
        with pytest.raises(lambda_.exceptions.InvalidParameterValueException, match="Only container images"):
            lambda_.create_function(
                FunctionName="zip", Runtime="python3.12", Handler="x.y", Role=role, Code={"ZipFile": b"PK"}, **package
            )
    for code in ({"ZipFile": b"PK"}, {"S3Bucket": "bucket", "S3Key": "key"}):
        with pytest.raises(lambda_.exceptions.InvalidParameterValueException, match="Only container images"):
            lambda_.update_function_code(FunctionName="zip", **code)
    assert lambda_.list_functions()["Functions"] == []


def test_a_body_has_a_limit(cloud: Cloud) -> None:
    assert cloud.call("POST", "/_aws/execute-api/x/y", {"Content-Length": str(2**40)})[0] == 413
    headers = signed(cloud, "iam", OWNER, "x", "POST", "/", b"")
    assert cloud.call("POST", "/", {**headers, "Content-Length": str(2**40)})[0] == 413


def test_a_compressed_body_is_refused(cloud: Cloud) -> None:
    """The emulator would inflate it behind the checks."""
    path = "/2015-03-31/functions"
    headers = signed(cloud, "lambda", OWNER, cloud.key(OWNER), "POST", path, b"x", Content_Encoding="gzip")
    assert cloud.call("POST", path, headers, b"x")[0] == 403


def test_the_clouds_own_calls_need_its_secret(cloud: Cloud) -> None:
    for method, path in (
        ("GET", "/_local/health"),
        ("POST", "/_local/faults"),
        ("POST", f"/_local/functions/{OWNER}/x/age"),
    ):
        for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic " + "x" * 20}):
            assert cloud.call(method, path, header)[0] == 403
    assert cloud.call("GET", "/_local/health", {"Authorization": f"Bearer {cloud.secret}"})[0] == 200


def test_a_log_has_no_signature(cloud: Cloud) -> None:
    url = presigned(cloud, "lambda", OWNER, cloud.key(OWNER), "GET", "/2015-03-31/functions")
    cloud.call("GET", url)
    assert "signature=" not in (cloud.folder / "log").read_text().lower()


# ---- what one account does in another's ---------------------------------------------------------------------------


def test_a_call_is_judged_for_the_repository_that_it_is_done_to(cloud: Cloud) -> None:
    """Of two that it names, the call acts on the one that its action takes."""
    mine, theirs = cloud.client("ecr", OTHER), cloud.client("ecr", OWNER)
    arn = mine.create_repository(repositoryName="app")["repository"]["repositoryArn"]
    theirs.create_repository(repositoryName="app")
    for action, further in (
        ("GetRepositoryPolicy", {}), ("DeleteRepository", {"force": True}),
        ("SetRepositoryPolicy", {"policyText": json.dumps({"Version": "2012-10-17", "Statement": []})}),
    ):  # fmt: skip
        body = json.dumps({"registryId": OWNER, "repositoryName": "app", "resourceArn": arn, **further}).encode()
        target = f"AmazonEC2ContainerRegistry_V20150921.{action}"
        headers = signed(
            cloud, "ecr", OTHER, cloud.key(OTHER), "POST", "/", body, X_Amz_Target=target,
            Content_Type="application/x-amz-json-1.1",
        )  # fmt: skip
        status, _, text = cloud.call("POST", "/", headers, body)
        assert (status, json.loads(text)["__type"]) == (400, "AccessDeniedException"), action
    assert theirs.describe_repositories(repositoryNames=["app"])["repositories"][0]["registryId"] == OWNER


# ---- files --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_of_the_machine_reads_nothing() -> None:
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        for package in ("local", "offline"):
            shutil.copytree(ROOT / package, folder / package)
        # What an earlier version has left open to everybody is closed.
        (folder / ".local" / "state").mkdir(mode=0o755, parents=True)
        (folder / ".local" / "state" / "stack.json").write_text("secret")
        script = "from local import credentials, environment, workspace; environment.prepare(); "
        script += "credentials.write_aws_profiles(); "
        script += "credentials.passphrase_file(); (workspace.LOGS / 'cloud.log').write_text('x')"
        subprocess.run([str(PYTHON), "-c", script], cwd=folder, check=True, umask=0)
        as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        found = subprocess.run(
            [*as_nobody, "find", str(folder), "-readable", "-type", "f"], capture_output=True, text=True
        )
        assert "/local/" in found.stdout
        assert "/.local/" not in found.stdout
        for name in ("run/secret", "aws/credentials", "passphrase"):
            assert (folder / ".local" / name).stat().st_mode & 0o777 == 0o600
    finally:
        shutil.rmtree(folder)


def test_secrets_are_random_and_stay_while_the_run_lasts(tmp_path: Path) -> None:
    found = []
    for name in ("one", "two"):
        for package in ("local", "offline"):
            shutil.copytree(ROOT / package, tmp_path / name / package)
        script = "from local import credentials as c; "
        script += "print(c.secret(), c.passphrase_file().read_text(), c.secret_access_key('1'))"
        command = [str(PYTHON), "-c", script]
        said = [subprocess.run(command, cwd=tmp_path / name, capture_output=True, check=True).stdout for _ in range(2)]
        assert said[0] == said[1]
        found += said[0].split()
    assert len(set(found)) == 6


# ---- odd inputs ---------------------------------------------------------------------------------------------------

IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def ecr_call(cloud: Cloud, action: str, data: object) -> tuple[int, str]:
    """Status and error code of a call of the ECR API, whatever it sends."""
    body = data if isinstance(data, bytes) else json.dumps(data).encode()
    headers = signed(
        cloud, "ecr", OWNER, cloud.key(OWNER), "POST", "/", body, Content_Type="application/x-amz-json-1.1",
        X_Amz_Target=f"AmazonEC2ContainerRegistry_V20150921.{action}",
    )  # fmt: skip
    status, _, text = cloud.call("POST", "/", headers, body)
    return status, json.loads(text).get("__type", "")


@pytest.fixture(scope="module")
def repository(cloud: Cloud) -> str:
    """Path of a repository in the registry protocol."""
    assert ecr_call(cloud, "CreateRepository", {"repositoryName": "odd"})[0] == 200
    return f"/v2/{OWNER}.dkr.ecr.{REGION}.amazonaws.com/odd"


def basic(cloud: Cloud) -> Headers:
    (data,) = cloud.client("ecr").get_authorization_token()["authorizationData"]
    return {"Authorization": f"Basic {data['authorizationToken']}"}


@pytest.mark.parametrize(
    ("action", "data", "code"),
    [
        ("DescribeRepositories", b"{", "SerializationException"),
        ("DescribeRepositories", [], "SerializationException"),
        ("DescribeRepositories", b"[" * 100_000, "SerializationException"),
        ("DescribeRepositories", {"repositoryNames": "odd"}, "SerializationException"),
        ("DescribeRepositories", {"maxResults": -1}, "InvalidParameterException"),
        ("DescribeRepositories", {"maxResults": "1"}, "SerializationException"),
        ("CreateRepository", {"repositoryName": ["odd"]}, "SerializationException"),
        ("CreateRepository", {"repositoryName": "a/../b"}, "InvalidParameterException"),
        ("CreateRepository", {"repositoryName": "A"}, "InvalidParameterException"),
        ("CreateRepository", {}, "InvalidParameterException"),
        ("CreateRepository", {"repositoryName": "new", "tags": {"a": "b"}}, "SerializationException"),
        ("GetAuthorizationToken", {"registryIds": OWNER}, "SerializationException"),
        ("ListTagsForResource", {"resourceArn": {}}, "SerializationException"),
        ("ListTagsForResource", {"repositoryName": "odd"}, "InvalidParameterException"),
        ("PutReplicationConfiguration", {"replicationConfiguration": {"rules": "x"}}, "SerializationException"),
        ("PutImage", {"repositoryName": "odd", "imageManifest": "x"}, "InvalidParameterException"),
        ("PutImage", {"repositoryName": "odd", "imageManifest": "[]"}, "InvalidParameterException"),
        ("BatchGetImage", {"repositoryName": "odd", "imageIds": [None]}, "SerializationException"),
    ],
)
def test_an_odd_input_of_ecr_gets_its_answer(
    cloud: Cloud, repository: str, action: str, data: object, code: str
) -> None:
    assert ecr_call(cloud, action, data) == (400, code)


def test_a_manifest_is_checked_before_it_is_taken(cloud: Cloud, repository: str) -> None:
    login = {**basic(cloud), "Content-Type": IMAGE}
    config = b'{"os": "linux", "architecture": "amd64"}'
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    other = f"sha256:{'0' * 64}"

    def put(reference: str, manifest: object) -> tuple[int, str]:
        body = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
        status, _, text = cloud.call("PUT", f"{repository}/manifests/{reference}", login, body)
        return status, json.loads(text)["errors"][0]["code"] if text else ""

    def image(layer: str) -> Document:
        named = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": layer}
        return {"schemaVersion": 2, "mediaType": IMAGE, "config": named, "layers": []}

    for odd in (b"", b"x", [], {}, {"schemaVersion": 1}, {"schemaVersion": 2, "config": "x", "layers": [1]}):
        assert put("v1", odd) == (400, "MANIFEST_INVALID")
    assert put("v1", image(digest)) == (400, "MANIFEST_BLOB_UNKNOWN")
    assert ecr_call(cloud, "PutImage", {"repositoryName": "odd", "imageManifest": json.dumps(image(digest))}) == (
        400, "LayersNotFoundException",
    )  # fmt: skip
    assert cloud.call("POST", f"{repository}/blobs/uploads/?digest={other}", login, config)[0] == 400
    assert cloud.call("POST", f"{repository}/blobs/uploads/?digest=../../x", login, config)[0] == 400
    assert cloud.call("POST", f"{repository}/blobs/uploads/?digest={digest}", login, config)[0] == 201
    assert put(other, image(digest)) == (400, "DIGEST_INVALID")
    wrong = {"repositoryName": "odd", "imageManifest": json.dumps(image(digest)), "imageDigest": other}
    assert ecr_call(cloud, "PutImage", wrong) == (400, "ImageDigestDoesNotMatchException")
    index = {"schemaVersion": 2, "manifests": [{"digest": other}]}
    assert put("index", index) == (400, "MANIFEST_UNKNOWN")
    assert put("v1", image(digest)) == (201, "")
    assert cloud.call("GET", f"{repository}/manifests/v1", login)[0] == 200


@pytest.mark.parametrize("name", ["..", "a/../b", "A", "a//b", "%2e%2e/x", "a" * 300, "-a"])
def test_a_name_that_no_repository_has_is_refused(cloud: Cloud, repository: str, name: str) -> None:
    path = repository.removesuffix("odd") + name
    for method, rest in (("GET", "/tags/list"), ("POST", "/blobs/uploads/"), ("PUT", "/manifests/v1")):
        assert cloud.call(method, path + rest, basic(cloud), b"{}" if method == "PUT" else b"")[0] in (400, 404)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic",
        "Basic ",
        "Basic x",
        "Basic é",
        "Basic QVdT",
        "Basic OjpBV1M6Og==",
        "Bearer x",
        "Basic //8=",
        "x" * 9000,
    ],
)
def test_an_odd_login_is_refused(cloud: Cloud, value: str) -> None:
    assert cloud.call("GET", "/v2/", {"Authorization": value})[0] in (400, 401)


@cache
def _model(name: str) -> ServiceModel:
    return botocore.session.get_session().get_service_model(name)


@pytest.mark.parametrize(
    "name", ["apigateway", "ecr", "events", "iam", "lambda", "logs", "organizations", "scheduler", "sqs", "sts"]
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nonsense_is_never_an_error_of_the_server(cloud: Cloud, name: str, data: st.DataObject) -> None:
    """Any call of the service, with whatever values of its members."""
    model = _model(name)
    operation = model.operation_model(data.draw(st.sampled_from(sorted(model.operation_names))))
    values = st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-5, 2**40)
        | st.text(max_size=9)
        | st.sampled_from(["odd", OWNER, "..", "-1"]),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abImageUri"), inner, max_size=2),
        max_leaves=4,
    )
    members = operation.input_shape.members if operation.input_shape else {}
    sent = {member.serialization.get("name", key): data.draw(values) for key, member in members.items()}
    path = re.sub(
        r"\{(\w+)\+?\}",
        lambda _: data.draw(st.sampled_from(["odd", "-1", "x:y", "arn:aws:x", "a b"])),
        operation.http["requestUri"],
    )
    path = quote(path.partition("?")[0]) or "/"
    if model.protocol == "query":
        body, headers = (
            urlencode({"Action": operation.name, **sent}).encode(),
            {"Content_Type": "application/x-www-form-urlencoded"},
        )
    else:
        body, headers = json.dumps(sent).encode(), {}
    if "targetPrefix" in model.metadata:
        headers |= {"X_Amz_Target": f"{model.metadata['targetPrefix']}.{operation.name}"}
    query = {
        name: data.draw(st.sampled_from(["-1", "x", "99999999999", "é"]))
        for name, member in members.items()
        if member.serialization.get("location") == "querystring"
    }
    if query and data.draw(st.booleans()):
        path += "?" + urlencode({members[name].serialization["name"]: value for name, value in query.items()})
    method = operation.http["method"]
    named = signed(cloud, name, OWNER, cloud.key(OWNER), method, path, body, **headers)
    status, _, text = cloud.call(method, path, named, body)
    assert status < 500, (operation.name, sent, path, text)


# ---- what is let in -----------------------------------------------------------------------------------------------


def used_operations() -> list[tuple[str, str]]:
    """The operations that the documented policies of the deployers allow, and those that alarms and tests need."""
    found = {
        ("sts", "GetCallerIdentity"),
        ("sns", "CreateTopic"),
        ("organizations", "DescribeOrganization"),
        ("lambda", "CreateFunctionUrlConfig"),
    }
    for policy in (ROOT / "docs" / "policies").glob("*.json"):
        for statement in json.loads(policy.read_text())["Statement"]:
            actions = statement["Action"]
            for action in [actions] if isinstance(actions, str) else actions:
                service, _, name = action.partition(":")
                if service in ("ecr", "iam", "lambda", "logs") and name in _model(service).operation_names:
                    found.add((service, name))
    return sorted(found | {("apigateway", name) for name in _model("apigateway").operation_names if "RestApi" in name})


def test_the_programs_own_calls_are_let_in(cloud: Cloud) -> None:
    used = used_operations()
    assert len(used) > 40
    for service, name in used:
        model = _model(service)
        operation = model.operation_model(name)
        path = re.sub(r"\{\w+\+?\}", "x", operation.http["requestUri"].partition("?")[0])
        headers, body = {}, b"{}"
        if model.protocol == "query":
            headers, body = {"Content_Type": "application/x-www-form-urlencoded"}, f"Action={name}".encode()
        elif "targetPrefix" in model.metadata:
            headers = {"X_Amz_Target": f"{model.metadata['targetPrefix']}.{name}"}
        signing = model.signing_name or service
        named = signed(cloud, signing, OWNER, cloud.key(OWNER), operation.http["method"], path, body, **headers)
        _, _, text = cloud.call(operation.http["method"], path, named, body)
        assert b"The local cloud" not in text, (service, name, text)
    assert cloud.client("cloudwatch").describe_alarms()["MetricAlarms"] == []
    assert cloud.client("organizations").describe_organization()["Organization"]["Id"].startswith("o-")


def test_a_function_is_created_from_an_image_that_was_pushed(cloud: Cloud, repository: str) -> None:
    """The whole way, but for the container, which needs an engine."""
    login = {**basic(cloud), "Content-Type": IMAGE}
    config = json.dumps({"os": "linux", "architecture": "amd64", "made": "for a function"}).encode()
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    status, headers, _ = cloud.call("POST", f"{repository}/blobs/uploads/", login)
    assert status == 202
    assert cloud.call("PUT", f"{headers['location']}?digest={digest}", login, config)[0] == 201
    named = {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest}
    manifest = json.dumps({"schemaVersion": 2, "mediaType": IMAGE, "config": named, "layers": []}).encode()
    assert cloud.call("PUT", f"{repository}/manifests/function", login, manifest)[0] == 201
    role = cloud.client("iam").create_role(RoleName="function", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"][
        "Arn"
    ]
    lambda_ = cloud.client("lambda")
    uri = f"localhost:{cloud.port}/{OWNER}.dkr.ecr.{REGION}.amazonaws.com/odd:function"
    lambda_.create_function(FunctionName="made", PackageType="Image", Code={"ImageUri": uri}, Role=role)
    lambda_.update_function_code(FunctionName="made", ImageUri=uri)
    assert lambda_.get_function(FunctionName="made")["Code"]["ImageUri"] == uri
    url = lambda_.create_function_url_config(FunctionName="made", AuthType="AWS_IAM")["FunctionUrl"].split("/")[2]
    assert cloud.call("GET", "/", {"Host": url})[0] == 403
    lambda_.update_function_url_config(FunctionName="made", AuthType="NONE")
    open_to_everyone(cloud, url, {"FunctionName": "made"})
    lambda_.publish_version(FunctionName="made")
    alias = {"FunctionName": "made", "Qualifier": "live"}
    lambda_.create_alias(FunctionName="made", Name="live", FunctionVersion="1")
    url = lambda_.create_function_url_config(**alias, AuthType="NONE")["FunctionUrl"].split("/")[2]
    open_to_everyone(cloud, url, alias)
    lambda_.delete_function(FunctionName="made")


def open_to_everyone(cloud: Cloud, url: str, function: dict[str, str]) -> None:
    """Grant a public URL what it needs, one after the other: each alone lets nobody in."""
    for permission in (
        {"Action": "lambda:InvokeFunctionUrl", "FunctionUrlAuthType": "NONE"},
        {"Action": "lambda:InvokeFunction", "InvokedViaFunctionUrl": True},
    ):
        status, _, body = cloud.call("GET", "/", {"Host": url})
        assert status == 403
        assert b"Forbidden" in body
        name = str(permission["Action"]).partition(":")[2] + function.get("Qualifier", "")
        cloud.client("lambda").add_permission(**function, StatementId=name, Principal="*", **permission)
    assert cloud.call("GET", "/", {"Host": url})[0] >= 500  # let in, to an engine that is not there


def test_deleting_a_tag_leaves_the_image_to_its_other_tags(cloud: Cloud, repository: str) -> None:
    ecr, manifest = cloud.client("ecr"), json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    named = {"repositoryName": "odd"}
    digest = f"sha256:{hashlib.sha256(manifest.encode()).hexdigest()}"
    for tag in ("one", "two", "three"):
        ecr.put_image(**named, imageManifest=manifest, imageManifestMediaType=INDEX, imageTag=tag)

    def delete(**identity: str) -> tuple[Any, Any]:
        done = ecr.batch_delete_image(**named, imageIds=[identity])
        return done["imageIds"], [failure["failureCode"] for failure in done["failures"]]

    def tags() -> list[str]:
        listed = ecr.list_images(**named, filter={"tagStatus": "TAGGED"})["imageIds"]
        return [image["imageTag"] for image in listed if image["imageDigest"] == digest]

    assert delete(imageTag="one") == ([{"imageDigest": digest, "imageTag": "one"}], [])
    assert tags() == ["two", "three"]
    assert delete(imageTag="one") == ([], ["ImageNotFound"])
    assert delete(imageDigest=digest, imageTag="one") == ([], ["ImageTagDoesNotMatchDigest"])
    gone = [{"imageDigest": digest, "imageTag": tag} for tag in ("two", "three")]
    assert delete(imageDigest=digest) == (gone, [])
    ecr.put_image(**named, imageManifest=manifest, imageManifestMediaType=INDEX, imageTag="last")
    assert delete(imageTag="last") == ([{"imageDigest": digest, "imageTag": "last"}], [])
    assert delete(imageDigest=digest) == ([], ["ImageNotFound"])


def test_what_a_grant_allows_another_account_is_done_in_the_owners_repository(cloud: Cloud, repository: str) -> None:
    owner, other = cloud.client("ecr"), cloud.client("ecr", OTHER)
    asked = {"registryId": OWNER, "repositoryName": "odd"}
    with pytest.raises(ClientError, match="no resource-based policy allows"):
        other.list_images(**asked)
    grant = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{OTHER}:root"}, "Action": "ecr:ListImages"}
    owner.set_repository_policy(
        repositoryName="odd", policyText=json.dumps({"Version": "2012-10-17", "Statement": [grant]})
    )
    assert other.list_images(**asked)["imageIds"] == owner.list_images(repositoryName="odd")["imageIds"]


def test_users_and_roles_sign_with_their_own_secrets(cloud: Cloud) -> None:
    iam = cloud.client("iam")
    iam.create_user(UserName="somebody")
    key = iam.create_access_key(UserName="somebody")["AccessKey"]
    user = cloud.client("sts", key["AccessKeyId"], key["SecretAccessKey"])
    assert user.get_caller_identity()["Arn"] == f"arn:aws:iam::{OWNER}:user/somebody"
    with pytest.raises(ClientError):
        cloud.client("sts", key["AccessKeyId"], "wrong").get_caller_identity()
