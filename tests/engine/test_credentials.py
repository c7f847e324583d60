"""The credentials for each account: every kind in `docs/credentials.md`, once allowed and once denied."""

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import yaml

from deployment import CredentialsError, Deployment, DeploymentError, Options, StackResult
from tests.engine.clone import Clone
from tests.engine.logins import (
    CONSUMER,
    EVERYTHING,
    LOGIN,
    REGISTRY,
    Logins,
    role_arn,
    trusts,
    trusts_workflow,
    variables,
)

NAME = "cross-account-function"
EXTERNAL_ID = "team-1"
SUBJECT, OTHER_SUBJECT = "repo:OWNER/NAME:ref:refs/heads/main", "repo:OWNER/NAME:pull_request"
PUSHER, STRANGE = role_arn(REGISTRY, "pusher"), role_arn(REGISTRY, "strange")
DEPLOYER, HOP, WORKFLOW = (role_arn(CONSUMER, name) for name in ("deployer", "hop", "workflow"))
ROLES = [
    (DEPLOYER, trusts({"AWS": LOGIN}), [EVERYTHING]),
    (HOP, trusts({"AWS": LOGIN}), [EVERYTHING]),
    (WORKFLOW, trusts_workflow(SUBJECT), [EVERYTHING]),
    (PUSHER, trusts({"AWS": [LOGIN, HOP, WORKFLOW]}, **{"sts:ExternalId": EXTERNAL_ID}), [EVERYTHING]),
    (STRANGE, trusts({"AWS": REGISTRY}), [EVERYTHING]),
]
PUSHES = {"roleArn": PUSHER, "externalId": EXTERNAL_ID, "sessionName": "push", "duration": "1h"}
AT_A_TIME = 3
# The address where users log in to AWS, and the token that the login stores in the home directory.
START_URL, SSO_TOKEN = "https://d-1234567890.awsapps.com/start", "an-access-token"
SSO = f"""\
[profile sso]
sso_start_url = {START_URL}
sso_region = us-east-1
sso_account_id = {CONSUMER}
sso_role_name = hop
region = us-east-1
"""

Outcome = StackResult | DeploymentError


@pytest.fixture(scope="module")
def logins(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logins]:
    """The login and the roles, in a cloud with both stacks deployed as committed."""
    logins = Logins(clone, tmp_path_factory.mktemp("logins"))
    logins.create(ROLES)
    yield logins
    clone.leave()
    clone.reset()
    logins.delete()


@pytest.fixture(scope="module")
def portal(logins: Logins) -> Iterator[str]:
    """The address of a stand-in for IAM Identity Center, which returns the role's credentials for its access token."""

    class Portal(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.headers["x-amz-sso_bearer_token"] == SSO_TOKEN and "role_name=hop" in self.path
            given = logins.session(HOP)
            keys = {"accessKeyId": given["AccessKeyId"], "secretAccessKey": given["SecretAccessKey"]}
            expires = int(given["Expiration"].timestamp() * 1000)
            answer = {"roleCredentials": {**keys, "sessionToken": given["SessionToken"], "expiration": expires}}
            body = json.dumps(answer if known else {"message": "Session token not found or invalid"}).encode()
            self.send_response(200 if known else 401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Portal) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def logged_in(logins: Logins, portal: str, name: str, expires: timedelta) -> dict[str, str]:
    """Environment variables of a user who ran `aws sso login`. The login expires after this time."""
    home = logins.folder / name
    cache = home / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": SSO_TOKEN, "expiresAt": f"{datetime.now(UTC) + expires:%Y-%m-%dT%H:%M:%SZ}"}
    cached = {"startUrl": START_URL, "region": "us-east-1", **token}
    (cache / f"{hashlib.sha1(START_URL.encode()).hexdigest()}.json").write_text(json.dumps(cached))  # noqa: S324
    (home / "config").write_text(SSO)
    return {"HOME": str(home), "AWS_CONFIG_FILE": str(home / "config"), "AWS_ENDPOINT_URL_SSO": portal}


@pytest.fixture(scope="module")
def outcomes(logins: Logins, portal: str) -> dict[str, Outcome]:
    """The outcome of a consumer's preview, which needs both accounts, with each kind of credentials."""
    profile = logins.folder / "credentials"
    keys = "\n".join(f"{name.lower()} = {value}" for name, value in logins.keys.items())
    profile.write_text(f"[login]\n{keys}\n")
    hop, web = variables(logins.session(HOP)), {"roleArn": WORKFLOW, "webIdentityTokenFile": logins.token(SUBJECT)}
    other = {**web, "webIdentityTokenFile": logins.token(OTHER_SUBJECT)}
    environment_token = {"AWS_ROLE_ARN": WORKFLOW, "AWS_WEB_IDENTITY_TOKEN_FILE": web["webIdentityTokenFile"]}
    own = {"assumeRoles": [{"roleArn": DEPLOYER}]}
    # Options at the top level of the stack's file, options of `registry`, and the environment.
    cases: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, str]]] = {
        "keys": ({}, {"assumeRoles": [PUSHES]}, hop),
        "profile": (
            {"profile": "login", **own},
            {"profile": "login", "assumeRoles": [{"roleArn": HOP}, PUSHES]},
            {"AWS_SHARED_CREDENTIALS_FILE": str(profile)},
        ),
        "web identity": (
            {"assumeRoleWithWebIdentity": web},
            {"assumeRoleWithWebIdentity": web, "assumeRoles": [PUSHES]},
            {},
        ),
        "web identity of the environment": ({}, {"assumeRoles": [PUSHES]}, environment_token),
        "sso": (
            {"profile": "sso"},
            {"profile": "sso", "assumeRoles": [PUSHES]},
            logged_in(logins, portal, "sso", timedelta(hours=1)),
        ),
        "other account": ({}, {}, hop),
        "no trust": (own, {"assumeRoles": [{"roleArn": STRANGE}]}, logins.keys),
        "no external ID": (own, {"assumeRoles": [{"roleArn": PUSHER}]}, logins.keys),
        "other subject": ({"assumeRoleWithWebIdentity": other}, {"assumeRoles": [PUSHES]}, {}),
        "session over": ({}, {"assumeRoles": [PUSHES]}, logins.ended(HOP)),
        "sso over": ({"profile": "sso"}, {}, logged_in(logins, portal, "over", -timedelta(hours=1))),
    }
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return dict(zip(cases, pool.map(lambda case: preview(logins, *case), cases.values()), strict=True))


def preview(logins: Logins, own: dict[str, Any], registry: dict[str, Any], environment: dict[str, str]) -> Outcome:
    file = yaml.safe_load((logins.clone.root / "Pulumi.consumer.yaml").read_text())["config"]
    committed = {key.partition(":")[2]: value for key, value in file.items()}
    settings = {**committed, "profile": "", **own, "registry": {"stack": "registry", **registry}}
    options = Options(environment={**logins.environment, **environment})
    with Deployment(logins.clone.root, registry=None, settings={"consumer": settings}, options=options) as deployment:
        try:
            return deployment.preview()["consumer"]
        except DeploymentError as error:
            return error


@pytest.mark.parametrize("kind", ["keys", "profile", "web identity", "web identity of the environment", "sso"])
def test_with_these_credentials_nothing_is_to_be_done(outcomes: dict[str, Outcome], kind: str) -> None:
    outcome = outcomes[kind]
    assert isinstance(outcome, StackResult), f"{outcome}\n{getattr(outcome, 'hint', '')}"
    assert outcome.changes == {}


@pytest.mark.parametrize(
    ("kind", "said", "hint"),
    [
        ("other account", f"AWS account ID not allowed: {CONSUMER}", "repository.publishers"),
        ("no trust", f"IAM Role ({STRANGE}) cannot be assumed", f"sts:AssumeRole on {STRANGE}: the policy of {LOGIN}"),
        ("no external ID", f"IAM Role ({PUSHER}) cannot be assumed", "if it requires one, the externalId"),
        ("other subject", f"IAM Role ({WORKFLOW}) cannot be assumed", "the token's subject and audience"),
        ("session over", "The security token included in the request is expired", "AWS_SESSION_TOKEN"),
        ("sso over", "The AWS login session for sso has expired", "aws sso login"),
    ],
)
def test_these_credentials_are_refused_with_what_is_missing_and_what_to_run(
    outcomes: dict[str, Outcome], kind: str, said: str, hint: str
) -> None:
    error = outcomes[kind]
    assert isinstance(error, CredentialsError), error
    assert (error.stack, error.exit_code) == ("consumer", 3)
    assert said in str(error)
    assert hint in error.hint


# ---- one set of credentials


def test_a_publisher_needs_no_credentials_of_the_registrys_account(logins: Logins) -> None:
    clone, keys = logins.clone, {**logins.environment, **variables(logins.session(HOP))}
    clone.edit("Pulumi.consumer.yaml", "  cross-account-ecr:profile: consumer\n", "")
    clone.edit("Pulumi.consumer.yaml", "{stack: registry, profile: registry}", "{stack: registry}")
    clone.edit("app/app.py", "hello world!", "hello publisher!")
    clone.edit("Pulumi.registry.yaml", f"{{name: {NAME}}}", f'{{name: {NAME}, publishers: ["{HOP}"]}}')
    clone.up("registry")
    only = " ".join(f"{name}='{keys[name]}'" for name in keys if name.startswith("AWS_"))
    done = clone.shell(f"env {only} pulumi up --yes --skip-preview -s consumer")
    assert done.returncode == 0, done.stdout
    assert clone.get() == (200, {"message": "hello publisher!"})
