"""The policies in `docs/policies/` are sufficient for each step, and each permission in them is necessary.

The users are IAM users of the local cloud, which authorizes their calls. The root keys of the accounts create them.
The engine runs each step with the complete policies. Without one permission, the stand-in plugin makes the call of a
deployed resource, Docker pushes, and the engine runs the program's functions, once for principals that make the same.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.session import Session

from components.iam import PULL_ACTIONS
from components.image.manifest import RepositoryReader
from offline.plugins.aws import KINDS, Aws
from scripts.permissions import LOGINS, PRINCIPALS, Permission, Step, permissions, policy, statement_of, trust
from tests.engine.clone import Clone
from tests.engine.cloud import password
from tests.engine.test_access import NAME, push_another, running_image

# The users of the profiles `registry` and `consumer`.
DEPLOY_REGISTRY = ("registry-deployer", "consumer-deployer")
DEPLOY_CONSUMER = ("registry-pusher", "consumer-deployer")
PREVIEW = ("registry-preview", "consumer-preview")


def kind_of(permission: Permission) -> str:
    """The resource type that makes the call; empty for a provider function, which needs no resource."""
    package, name = permission.used_by.split(".")
    member = name[0].lower() + name[1:]
    if member == name:
        return ""
    return f"docker:index/{member}:{name}" if package == "docker" else f"aws:{package}/{member}:{name}"


def stack_of(permission: Permission) -> str:
    """The stack that makes the call."""
    return "registry" if kind_of(permission).startswith("aws:ecr/") else "consumer"


COMMANDS: dict[Step, list[str]] = {
    "create": ["up", "--yes", "--skip-preview"],
    "update": ["up", "--yes", "--skip-preview", "--refresh"],
    "refresh": ["refresh", "--yes", "--skip-preview"],
    "destroy": ["destroy", "--yes", "--skip-preview"],
    "preview": ["preview", "--refresh"],
}

USERS = [name for name in PRINCIPALS if name not in LOGINS]
ROLES = [*LOGINS, *(role for roles in LOGINS.values() for role in roles)]
ASSUMING = [line for line in permissions() if line.principal in LOGINS]
# Permissions of this program's users, by what makes the call: a resource of the stand-in plugin, or another program.
LINES = [line for line in permissions() if line.principal in USERS]
CALLS = [line for line in LINES if kind_of(line) in KINDS and line.action not in PULL_ACTIONS]
PREVIEWS = [line for line in LINES if line.principal in PREVIEW and line not in CALLS]
PUSHES = [line for line in LINES if line.used_by == "docker.Image"]
# Who deploys reads in the same way.
READS = [line for line in LINES if line not in (*CALLS, *PREVIEWS, *PUSHES)]

UNPROTECTED = (
    "Pulumi.registry.yaml",
    "name: cross",
    "protect: false, retainOnDelete: false, forceDelete: true, name: cross",
)
# Changes that together make every call of an update: a file, and two texts to swap.
MEMORY = ("Pulumi.consumer.yaml", "memory: 128", "memory: 256")
CHANGES = [
    MEMORY,
    ("Pulumi.consumer.yaml", "timeout: 3,", "timeout: 3, logRetention: 7,"),
    ("Pulumi.consumer.yaml", "public: true", "public: false"),
    ("Pulumi.registry.yaml", "{name: cross", "{scanOnPush: false, name: cross"),
    ("Pulumi.registry.yaml", "{keep: 50, tag", "{days: 50, tag"),
    UNPROTECTED,
]
# The input that an update changes, by type and action, with a value that it had before.
CHANGED = {
    ("cloudwatch.LogGroup", "logs:PutRetentionPolicy"): {"retentionInDays": 1},
    ("lambda.Function", "lambda:UpdateFunctionConfiguration"): {"memorySize": 1024},
    ("lambda.Function", "lambda:UpdateFunctionCode"): {"imageUri": "another"},
    ("apigateway.Method", "apigateway:PATCH"): {"authorization": "CUSTOM"},
    ("apigateway.Stage", "apigateway:PATCH"): {"deployment": "another"},
    ("ecr.Repository", "ecr:PutImageScanningConfiguration"): {"imageScanningConfiguration": {}},
}
PREVIEWS_AT_A_TIME = 4
# Reading the services' models is most of the time of a call.
MODELS = Session().get_component("data_loader")
ACCOUNTS = {"registry": "1" * 12, "consumer": "2" * 12}


def role_arn(name: str) -> str:
    """The ARN of a principal's role or login role."""
    return f"arn:aws:iam::{ACCOUNTS.get(name.partition('-')[0], ACCOUNTS['consumer'])}:role/{name}"


class Users:
    """Both stacks of a clone, run by users with the policies in `docs/policies/`."""

    def __init__(self, clone: Clone) -> None:
        self.clone = clone
        listed = clone.shell("env -0").stdout.split("\0")
        self._env = dict(entry.split("=", 1) for entry in listed if "=" in entry)
        self._keys = {name: self._make(name) for name in USERS}
        self._aws: dict[str, Aws] = {}
        for name in USERS:
            self.grant(name)

    def _make(self, user: str, account: str = "") -> str:
        iam = self._iam(account or user)
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        return f"aws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {key['SecretAccessKey']}"

    def _iam(self, principal: str) -> Any:
        return self.clone.client(principal.partition("-")[0], "iam")

    def grant(self, principal: str, *, user: str = "", without: Permission | None = None) -> None:
        """Attach a principal's policy, complete or without one permission, to its user or another one."""
        document = json.dumps(policy(principal, without=without))
        self._iam(principal).put_user_policy(UserName=user or principal, PolicyName="rights", PolicyDocument=document)

    @contextmanager
    def without(self, permission: Permission) -> Iterator[None]:
        """Remove a permission within the block."""
        self.grant(permission.principal, without=permission)
        try:
            yield
        finally:
            self.grant(permission.principal)

    def create_roles(self) -> None:
        """Create a role with its policy for each user, and the logins that may assume the roles."""
        self._keys["person"] = self._make("person", account="consumer")
        anything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]}
        iam = self._iam("consumer")
        iam.put_user_policy(UserName="person", PolicyName="rights", PolicyDocument=json.dumps(anything))
        for login, roles in LOGINS.items():
            self._create_role(login, {"AWS": f"arn:aws:iam::{ACCOUNTS['consumer']}:user/person"}, policy(login))
            for role in roles:
                self._create_role(role, trust(login)["Statement"][0]["Principal"], policy(role))

    def _create_role(self, name: str, principal: dict[str, str], rights: dict[str, Any]) -> None:
        statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}
        document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam = self._iam(name if name in USERS else "consumer")
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)
        iam.put_role_policy(RoleName=name, PolicyName="rights", PolicyDocument=json.dumps(rights))

    def delete_roles(self) -> None:
        """Delete the roles."""
        for name in ROLES:
            iam = self._iam(name if name in USERS else "consumer")
            iam.delete_role_policy(RoleName=name, PolicyName="rights")
            iam.delete_role(RoleName=name)

    def key(self, user: str) -> dict[str, str]:
        """The access key of a user."""
        return dict(line.split(" = ") for line in self._keys[user].splitlines())

    def session(self, login: str) -> dict[str, str]:
        """The session of a person who has assumed a login."""
        sts = self.client("sts", **self.key("person"))
        given = sts.assume_role(RoleArn=role_arn(login), RoleSessionName="person")["Credentials"]
        return {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }

    def client(self, service: str, **key: str) -> Any:
        """A client with these credentials."""
        return boto3.client(service, "us-east-1", endpoint_url=f"http://127.0.0.1:{self.clone.port}", **key)

    def preview_by(self, login: str, roles: tuple[str, str], stack: str) -> subprocess.CompletedProcess[str]:
        """Preview as a login that assumes these two roles for the profiles."""
        session = {name.upper(): value for name, value in self.session(login).items()}
        file = self.clone.root / ".local" / "aws" / f"{login}-{'-'.join(roles)}"
        address = f"endpoint_url = http://127.0.0.1:{self.clone.port}"
        profiles = (
            f"[profile {name}]\nrole_arn = {role_arn(role)}\ncredential_source = Environment\n{address}\n"
            for name, role in zip(("registry", "consumer"), roles, strict=True)
        )
        file.write_text("\n".join(profiles))
        changed = {**session, "AWS_CONFIG_FILE": str(file), "AWS_ENDPOINT_URL": address.partition(" = ")[2]}
        return self._pulumi({**changed, "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}, "preview", "-s", stack)

    @contextmanager
    def without_line(self, login: str, line: Permission | None, role: str) -> Iterator[None]:
        """Remove one role from a login's policy or, without a line, the login from the role's trust policy."""
        iam, key = self._iam("consumer"), {"RoleName": login, "PolicyName": "rights"}
        if line:
            iam.put_role_policy(**key, PolicyDocument=json.dumps(policy(login, without=line)))
            yield
            iam.put_role_policy(**key, PolicyDocument=json.dumps(policy(login)))
            return
        other = {
            **trust(login)["Statement"][0],
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNTS['consumer']}:user/person"},
        }
        trusting = self._iam(role)
        trusting.update_assume_role_policy(
            RoleName=role, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [other]})
        )
        yield
        trusting.update_assume_role_policy(RoleName=role, PolicyDocument=json.dumps(trust(login)))

    def run(self, step: Step, stack: str) -> subprocess.CompletedProcess[str]:
        """Run one step of one stack, one resource at a time."""
        deploy = DEPLOY_REGISTRY if stack == "registry" else DEPLOY_CONSUMER
        cast = PREVIEW if step == "preview" else deploy
        return self.run_as(cast, *COMMANDS[step], "--parallel", "1", "-s", stack)

    def run_as(self, cast: tuple[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the CLI with these users for the two profiles."""
        credentials = self.clone.root / ".local" / "aws" / "-".join(cast)
        registry, consumer = (self._keys[user] for user in cast)
        credentials.write_text(f"[registry]\n{registry}\n[consumer]\n{consumer}\n")
        return self._pulumi({"AWS_SHARED_CREDENTIALS_FILE": str(credentials)}, *arguments)

    def _pulumi(self, changed: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.clone.root / ".local" / "bin" / "pulumi", "--non-interactive", *arguments],
            cwd=self.clone.root, env={**self._env, **changed},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def preview_without(self, permission: Permission) -> subprocess.CompletedProcess[str]:
        """Preview as a separate user who lacks one permission. Several such previews can run at a time."""
        user = f"{permission.principal}-without-{permission.action.replace(':', '-')}"
        self._keys[user] = self._make(user)
        self.grant(permission.principal, user=user, without=permission)
        registry, consumer = (user if name == permission.principal else name for name in PREVIEW)
        return self.run_as((registry, consumer), *COMMANDS["preview"], "-s", stack_of(permission))

    def passes(self, step: Step, stack: str) -> None:
        """Run a step that must succeed."""
        ran = self.run(step, stack)
        assert ran.returncode == 0, ran.stdout

    def create(self) -> None:
        """Create the stacks that are not deployed."""
        for stack in ("registry", "consumer"):
            if not self.clone.resources(stack):
                self.passes("create", stack)

    def aws(self, user: str) -> Aws:
        """The stand-in plugin's clients of a user."""
        if user not in self._aws:
            session, key = Session(), self.key(user)
            session.register_component("data_loader", MODELS)
            session.set_config_variable("region", "us-east-1")
            session.set_credentials(key["aws_access_key_id"], key["aws_secret_access_key"])
            self._aws[user] = Aws(session)
        return self._aws[user]

    def call_without(self, permission: Permission) -> None:
        """Have the stand-in plugin make the call of a deployed resource as a user who lacks one permission."""
        aws, kind = self.aws(permission.principal), KINDS[kind_of(permission)]
        found = next(item for item in self.clone.resources(stack_of(permission)) if item["type"] == kind_of(permission))
        identity, inputs, state = found["id"], found["inputs"], found["outputs"]
        before = CHANGED.get((permission.used_by, permission.action))
        with self.without(permission):
            if permission.step == "create":
                kind.create(aws, inputs)
            elif before:
                kind.update(aws, identity, {**inputs, **before}, inputs)
            elif permission.step in ("destroy", "update"):
                # An update without a call to change a resource replaces it.
                kind.delete(aws, identity, state)
            else:
                kind.read(aws, identity, state)

    def change(self, name: str, one: str, other: str, *, back: bool = True) -> bool:
        """Replace one text in a file with the other, or back. Returns whether the file changed."""
        path = self.clone.root / name
        text = path.read_text()
        if other in text:
            one, other = other, one if back else other
        path.write_text(text.replace(one, other))
        return path.read_text() != text

    def edit_app(self, text: str) -> None:
        """Change the image, so that it has a layer that the registry lacks."""
        path = self.clone.root / "app" / "app.py"
        path.write_text(f"{path.read_text()}\n# {text}\n")

    def memory(self) -> int:
        """The function's memory, read from the local cloud."""
        function = self.clone.client("consumer", "lambda").get_function(FunctionName=NAME)
        return int(function["Configuration"]["MemorySize"])


@pytest.fixture(scope="module")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Users]:
    """Users of both accounts, and an empty local cloud."""
    clone = Clone.make_in(tmp_path_factory.mktemp("rights"))
    try:
        ran = clone.make("setup")
        assert ran.returncode == 0, ran.stdout
        # There is no default lifecycle policy.
        rules = "lifecycle: [{keep: 50, tagPrefixes: [pr-]}]"
        clone.edit("Pulumi.registry.yaml", "cross-account-function}", f"cross-account-function, {rules}}}")
        users = Users(clone)
        for stack in ("registry", "consumer"):
            assert clone.shell(f"pulumi stack init {stack}").returncode == 0
        yield users
    finally:
        clone.end()


def test_with_these_policies_every_step_passes(users: Users) -> None:
    for stack in ("registry", "consumer"):
        users.passes("create", stack)
    for change in CHANGES:
        users.change(*change)
    users.edit_app("another image")
    for stack in ("registry", "consumer"):
        users.passes("update", stack)
        users.passes("preview", stack)
    users.passes("refresh", "consumer")
    assert users.clone.last_update("consumer") == {}, "the refresh found a difference"


def test_who_previews_cannot_change_anything(users: Users) -> None:
    owned, memory = users.clone.owned(), users.memory()
    users.change(*MEMORY)
    for command, denied in (("up", "lambda:UpdateFunctionConfiguration"), ("destroy", "apigateway:DELETE")):
        ran = users.run_as(PREVIEW, command, "--yes", "--skip-preview", "--parallel", "1", "-s", "consumer")
        assert ran.returncode != 0, ran.stdout
        assert f"not authorized to perform: {denied}" in ran.stdout, ran.stdout
    assert (users.clone.owned(), users.memory()) == (owned, memory)
    users.change(*MEMORY)


@pytest.fixture(scope="module")
def previews(users: Users) -> dict[Permission, subprocess.CompletedProcess[str]]:
    """Previews that each lack one permission. They change nothing, so several run at a time."""
    users.create()
    with ThreadPoolExecutor(PREVIEWS_AT_A_TIME) as pool:
        return dict(zip(PREVIEWS, pool.map(users.preview_without, PREVIEWS), strict=True))


@pytest.mark.parametrize("missing", PREVIEWS, ids=str)
def test_without_one_permission_a_preview_fails_or_warns_and_names_it(
    previews: dict[Permission, subprocess.CompletedProcess[str]], missing: Permission
) -> None:
    if missing.action in PULL_ACTIONS:
        # Only the update checks whether the image may be pulled.
        assert previews[missing].returncode == 0, previews[missing].stdout
        assert f"not authorized to perform: {missing.action}" in previews[missing].stdout
    else:
        assert_refused(previews[missing], missing)


@pytest.fixture(scope="module")
def assumed(users: Users) -> Iterator[Users]:
    """The same, deployed, with roles instead of users."""
    users.create()
    users.create_roles()
    yield users
    users.delete_roles()


def test_a_login_has_all_it_needs_by_its_roles(assumed: Users) -> None:
    ran = assumed.preview_by("preview-login", PREVIEW, "consumer")
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize("side", ["login", "role"])
@pytest.mark.parametrize("missing", ASSUMING, ids=str)
def test_without_either_side_a_role_is_not_assumed(assumed: Users, missing: Permission, side: str) -> None:
    """The login's permission to assume the role, and the role's trust policy for the login."""
    (role,) = (role for role in LOGINS[missing.principal] if statement_of(role) == missing.statement)
    refusal = re.escape(f"not authorized to perform: sts:AssumeRole on resource: {role_arn(role)}")
    sts = assumed.client("sts", **assumed.session(missing.principal))
    sts.assume_role(RoleArn=role_arn(role), RoleSessionName="with")
    with (
        assumed.without_line(missing.principal, missing if side == "login" else None, role),
        pytest.raises(botocore.exceptions.ClientError, match=refusal),
    ):
        sts.assume_role(RoleArn=role_arn(role), RoleSessionName="without")


@pytest.mark.parametrize("missing", CALLS, ids=str)
def test_without_one_permission_its_call_is_denied(
    users: Users, missing: Permission, monkeypatch: pytest.MonkeyPatch
) -> None:
    users.create()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{users.clone.port}")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(botocore.exceptions.ClientError, match=f"not authorized to perform: {missing.action}"):
        users.call_without(missing)


@pytest.mark.parametrize("missing", READS, ids=str)
def test_without_one_permission_the_repository_is_not_read(users: Users, missing: Permission) -> None:
    users.create()
    ecr, (url, tag) = users.client("ecr", **users.key(missing.principal)), running_image(users.clone)
    refusal = pytest.raises(
        (botocore.exceptions.ClientError, AssertionError), match=f"not authorized to perform: {missing.action}"
    )
    with users.without(missing), refusal:
        if missing.action == "ecr:ListImages":
            ecr.list_images(repositoryName=NAME)
        repository = RepositoryReader(url=url, username="AWS", password=password(ecr))
        status, body = repository.get(f"manifests/{tag}")
        assert status == 200, body.decode()
        status, body = repository.get(f"blobs/{json.loads(body)['config']['digest']}")
        assert status == 200, body.decode()


@pytest.mark.parametrize("missing", PUSHES, ids=str)
def test_without_one_permission_a_push_fails(users: Users, missing: Permission) -> None:
    users.create()
    # The request for a layer is HEAD, whose response has no body with a message.
    head = missing.action == "ecr:BatchCheckLayerAvailability"
    refusal = "HTTP 403" if head else f"not authorized to perform: {missing.action}"
    users.clone.login(users.client("ecr", **users.key(missing.principal)))
    with users.without(missing), pytest.raises(AssertionError, match=refusal):
        push_another(users.clone, f"lacks-{missing.action.partition(':')[2].lower()}")


def test_without_the_permission_to_push_an_update_fails_and_names_it(users: Users) -> None:
    (missing,) = (line for line in PUSHES if line.action == "ecr:PutImage")
    users.create()
    users.edit_app("pushed by nobody")
    with users.without(missing):
        ran = users.run("update", "consumer")
    assert_refused(ran, missing)


def assert_refused(ran: subprocess.CompletedProcess[str], missing: Permission) -> None:
    """Check that a command failed and named the missing permission."""
    assert ran.returncode != 0, ran.stdout
    assert f"not authorized to perform: {missing.action}" in ran.stdout, ran.stdout


def test_with_these_policies_nothing_is_left_behind(users: Users) -> None:
    users.create()
    if users.change(*UNPROTECTED, back=False):
        users.passes("update", "registry")
    users.passes("destroy", "consumer")
    users.passes("destroy", "registry")
    owned = users.clone.owned()
    owned["roles"] = [role for role in owned.get("roles", []) if role not in ROLES]
    assert not any(owned.values()), owned
