"""A clone of this folder with warm caches, in which the commands of the README are run as a user would."""

import base64
import hmac
import json
import os
import shutil
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from local import endpoint

ROOT = Path(__file__).resolve().parents[2]
CACHES = ("venv", "tools", "pulumi-cli", "pulumi-home/plugins")
FOREIGN = ("PULUMI_", "AWS_", "LAMBDA_BASE_IMAGE", "VIRTUAL_ENV", "DOCKER_CONFIG", "LOCAL_CLOUD_PORT", "MAKE", "MFLAGS")


def free_port() -> int:
    """A loopback port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Clone:
    """A copy of the program in a folder of its own, with its own local cloud and stacks."""

    root: Path
    port: int = field(default_factory=free_port)

    @classmethod
    def make_in(cls, root: Path) -> "Clone":
        """Copy what git would check out, commit it, and link the caches."""
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists():
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, root / name)
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.com"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
            subprocess.run([*git, *command], cwd=root, check=True)
        (root / ".local").mkdir()
        for name in CACHES:
            if (cached := ROOT / ".local" / name).exists():
                (root / ".local" / name).parent.mkdir(exist_ok=True)
                (root / ".local" / name).symlink_to(cached)
        return cls(root)

    @property
    def env(self) -> dict[str, str]:
        """The environment of a terminal outside of any local run, but for the Docker engine to use."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        folders = [name for name in kept["PATH"].split(os.pathsep) if not name.startswith(str(ROOT / ".local"))]
        return {**kept, "PATH": os.pathsep.join(folders), "LOCAL_CLOUD_PORT": str(self.port)}

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `make` with its output, both streams in one."""
        return subprocess.run(
            ["make", *arguments],
            cwd=self.root,
            env=self.env,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `make` in a process group of its own, as a terminal does."""
        return subprocess.Popen(
            ["make", *arguments], cwd=self.root, env=self.env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def shell(self, command: str, **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a command line in the environment that `make env` prints."""
        script = f'eval "$(make -s env)" && {command}'
        return subprocess.run(
            ["bash", "-c", script], cwd=self.root, env={**self.env, **changed}, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )  # fmt: skip

    def begin(self, command: str) -> subprocess.Popen[str]:
        """Start a command line in the environment that `make env` prints, in a process group of its own."""
        script = f'eval "$(make -s env)" && {command}'
        return subprocess.Popen(
            ["bash", "-c", script], cwd=self.root, env=self.env, text=True, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def up(self, stack: str) -> dict[str, int]:
        """`pulumi up`; gives the number of resources by what happened to them."""
        done = self.shell(f"pulumi up --yes --skip-preview -s {stack}")
        assert done.returncode == 0, done.stdout
        return self.last_update(stack)

    def last_update(self, stack: str) -> dict[str, int]:
        """What the last update, refresh or destroy did, by kind; what stayed the same is left out."""
        shown = self.shell(f"pulumi stack history --json --page-size 1 -s {stack}")
        changes = json.loads(shown.stdout)[0]["resourceChanges"]
        return {kind: count for kind, count in changes.items() if kind != "same" and count}

    def planned(self, stack: str) -> dict[str, str]:
        """`pulumi preview`: type of each resource that would change, and how."""
        shown = self.shell(f"pulumi preview --json -s {stack} 2>/dev/null")
        assert shown.returncode == 0, shown.stdout
        steps = json.loads(shown.stdout)["steps"]
        changes = {step["urn"].split("::")[2].rpartition("$")[2]: step["op"] for step in steps}
        return {kind: operation for kind, operation in changes.items() if operation not in ("same", "read")}

    def output(self, stack: str, name: str) -> str:
        """One output of a stack."""
        return self.shell(f"pulumi stack output {name} -s {stack}").stdout.strip()

    def get(self, headers: dict[str, str] | None = None, stack: str = "consumer") -> tuple[int, dict[str, str]]:
        """GET a stack's endpoint: status and JSON body."""
        return self.get_url(self.output(stack, "endpointUrl"), headers)

    @property
    def opener(self) -> urllib.request.OpenerDirector:
        """Opens the endpoints of this clone's local cloud."""
        return endpoint.opener(self.root / ".local" / "endpoint")

    def get_url(self, url: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str]]:
        """GET a URL: status and JSON body."""
        request = urllib.request.Request(url, headers=headers or {})  # noqa: S310
        try:
            with self.opener.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def client(self, profile: str, service: str) -> Any:
        """A boto3 client of the local cloud."""
        account = {"registry": "111111111111", "consumer": "222222222222"}[profile]
        return boto3.client(
            service, region_name="us-east-1", endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=account, aws_secret_access_key=self.secret_access_key(account),
        )  # fmt: skip

    @property
    def secret(self) -> str:
        """The secret of the local cloud."""
        return (self.root / ".local" / "run" / "secret").read_text()

    def secret_access_key(self, account: str) -> str:
        """The secret access key of an account's root, which the local cloud derives from its secret."""
        code = hmac.digest(self.secret.encode(), account.encode(), "sha256")
        return base64.urlsafe_b64encode(code).decode()[:40]

    def login(self, ecr: Any) -> subprocess.CompletedProcess[str]:
        """`docker login` with the registry token of an ECR client, for `docker` below."""
        (data,) = ecr.get_authorization_token()["authorizationData"]
        user, _, token = base64.b64decode(data["authorizationToken"]).decode().partition(":")
        return self.docker("login", "-u", user, "--password-stdin", f"localhost:{self.port}", text=token)

    def docker(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run `docker` with this text as its input and the credentials of this clone's last login."""
        env = {**self.env, "DOCKER_CONFIG": str(self.root / ".local" / "docker-config"), "DOCKER_BUILDKIT": "0"}
        return subprocess.run(["docker", *arguments], env=env, input=text, capture_output=True, text=True)

    def add_profile(self, name: str, account: str, region: str) -> None:
        """Add an AWS profile of the local cloud: the root of one more account."""
        aws = self.root / ".local" / "aws"
        address = f"http://127.0.0.1:{self.port}"
        with (aws / "config").open("a") as file:
            file.write(f"\n[profile {name}]\nregion = {region}\nendpoint_url = {address}\n")
        with (aws / "credentials").open("a") as file:
            secret = self.secret_access_key(account)
            file.write(f"\n[{name}]\naws_access_key_id = {account}\naws_secret_access_key = {secret}\n")

    def log_in_to_registry(self) -> None:
        """`docker login` of the clone's own Docker configuration to the registry, as its owner."""
        done = self.login(self.client("registry", "ecr"))
        assert done.returncode == 0, done.stderr

    def control(self, method: str, fault: dict[str, Any] | None = None) -> list[int]:
        """Add a fault of the local cloud (`POST`) or clear them (`DELETE`): how often each has struck."""
        _, answer = self.call_cloud(method, "faults", fault)
        return [fault["struck"] for fault in answer["faults"]]

    def call_cloud(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """A call of the local cloud itself: status and JSON body."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/_local/{path}", json.dumps(body).encode() if body else None, method=method,
            headers={"Authorization": f"Bearer {self.secret}"},
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    @contextmanager
    def faults(self, *faults: dict[str, Any]) -> Iterator[list[int]]:
        """Faults of the local cloud while the block lasts; each has to strike. The list tells how often, afterwards."""
        struck: list[int] = []
        for fault in faults:
            self.control("POST", fault)
        try:
            yield struck
        finally:
            struck += self.control("DELETE")
        assert all(struck), f"{faults} struck {struck} times"

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text in a file of the clone."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new))

    def restore(self) -> None:
        """Bring every file back to what was committed."""
        subprocess.run(["git", "checkout", "-q", "."], cwd=self.root, check=True)

    def git_status(self) -> str:
        """What git says that has changed."""
        return subprocess.run(["git", "status", "--porcelain"], cwd=self.root, capture_output=True, text=True).stdout

    def processes(self) -> list[str]:
        """Command lines of the processes that run out of this clone."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(self.root) in line:
                found.append(line)
        return found

    def owned(self) -> dict[str, list[str]]:
        """Everything of the kinds this program makes that exists in both accounts, asked of the cloud itself."""
        lambda_, iam = self.client("consumer", "lambda"), self.client("consumer", "iam")
        logs, api = self.client("consumer", "logs"), self.client("consumer", "apigateway")
        repositories = self.client("registry", "ecr").describe_repositories()["repositories"]
        everything = {
            "functions": [item["FunctionName"] for item in lambda_.list_functions()["Functions"]],
            "roles": [item["RoleName"] for item in iam.list_roles()["Roles"]],
            "log groups": [item["logGroupName"] for item in logs.describe_log_groups()["logGroups"]],
            "apis": [item["name"] for item in api.get_rest_apis()["items"]],
            "repositories": [item["repositoryName"] for item in repositories],
        }
        return {kind: names for kind, names in everything.items() if names}


def interrupt_at(process: subprocess.Popen[str], text: str, number: int = signal.SIGINT) -> str:
    """Send a signal to the whole process group when a line with this text appears. Returns all output."""
    lines = []
    for line in process.stdout or ():
        lines.append(line)
        if text in line:
            os.killpg(process.pid, number)
            break
    else:
        raise AssertionError(f"{text!r} never appeared in:\n{''.join(lines)}")
    lines += list(process.stdout or ())
    process.wait()
    return "".join(lines)
