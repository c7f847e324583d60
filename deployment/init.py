"""Create the stack files: from a few answers, validated by the models, with credentials checked at AWS."""

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.errors import InvalidConfiguration
from components.iam import function_arn, partition
from deployment import aws
from deployment.errors import ConfigurationError

FUNCTION = "cross-account-function"
ACCOUNT, QUOTED = r"'(\d{12})'", r'"\1"'
COMMENTS = {
    "registry": "A bare stack name means the same project and organization.",
    "image": "The value of this build argument is read from the environment, if it is set there.",
    "api": "Without `public`, callers must sign requests with AWS credentials.",
}


@dataclass(frozen=True, kw_only=True)
class Side:
    """The registry's or the consumer's side.

    Attributes:
        stack: name of the stack.
        account: its account.
        profile: AWS profile; empty: the default credential chain.
        role: ARN of a role to assume with the profile; empty: none.
    """

    stack: str
    account: str
    profile: str = ""
    role: str = ""

    @property
    def credentials(self) -> dict[str, Any]:
        """The credentials as written in a stack's file."""
        roles = {"assumeRoles": [{"roleArn": self.role}]} if self.role else {}
        return {**({"profile": self.profile} if self.profile else {}), **roles}


def stack_files(project: str, registry: Side, consumer: Side, *, region: str, repository: str) -> dict[str, str]:
    """The text of both stack files, by file name.

    Raises:
        ConfigurationError: the configuration is invalid. Lists all problems.
    """
    # Imported here because it imports the providers' SDKs, which is slow.
    from settings import parse

    about = {"region": region}
    owner = {
        "stackType": "registry", "account": registry.account, **about, **registry.credentials,
        "repository": {"name": repository}, "consumers": [{"account": consumer.account}],
    }  # fmt: skip
    user = {
        "stackType": "consumer", "account": consumer.account, **about, **consumer.credentials,
        "registry": {"stack": registry.stack, **registry.credentials},
        "image": {"context": "app", "args": {"LAMBDA_BASE_IMAGE": None}},
        "function": {"memory": 128, "timeout": 3, "architecture": "x86_64"},
        "api": {"path": "hello", "stage": "Prod", "public": True},
    }  # fmt: skip
    wrong = list[str]()
    if registry.stack == consumer.stack:
        wrong.append(f"Both stacks are called {registry.stack}. Give them different names.")
    for stack, options in ((registry.stack, owner), (consumer.stack, user)):
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in options.items()}
        try:
            parse(texts, project)
        except InvalidConfiguration as error:
            wrong.append(f"Pulumi.{stack}.yaml: {error}")
    if wrong:
        raise ConfigurationError("\n".join(wrong), stack="", hint="Correct the answers. Nothing was written.")
    return {
        f"Pulumi.{registry.stack}.yaml": _text(project, owner), f"Pulumi.{consumer.stack}.yaml": _text(project, user)
    }  # fmt: skip


def _text(project: str, options: dict[str, Any]) -> str:
    """A stack file, with each structured value on one line."""
    lines = ["config:"]
    for key, value in options.items():
        shown = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).removesuffix("...\n")
        lines += [f"  # {COMMENTS[key]}"] if key in COMMENTS else []
        lines.append(f"  {project}:{key}: {re.sub(ACCOUNT, QUOTED, shown).rstrip()}")
    return "\n".join(lines) + "\n"


def checked(side: Side, region: str, actions: Sequence[str], resource: str) -> str:
    """One line with the principal of a side's credentials, and whether it is allowed some actions.

    Raises:
        CredentialsError: there are no credentials, or they belong to another account.
    """
    login = aws.Login(
        stack=side.stack, account=side.account, region=region, profile=side.profile,
        assume_roles=side.credentials.get("assumeRoles", ()),
    )  # fmt: skip
    who, denied = aws.rights(login, actions, resource)
    allowed = "unknown whether it is allowed" if denied is None else "denied" if denied else "allowed"
    return f"{side.stack}: {who}: {allowed}: {', '.join(denied or actions)}"


def checks(registry: Side, consumer: Side, *, region: str, repository: str) -> list[str]:
    """One line for each side: the principal, and whether it may push or deploy.

    Raises:
        CredentialsError: there are no credentials, or they belong to another account.
    """
    name = f"arn:{partition(region)}:ecr:{region}:{registry.account}:repository/{repository}"
    return [
        checked(registry, region, ("ecr:CreateRepository", "ecr:SetRepositoryPolicy", "ecr:PutImage"), name),
        checked(consumer, region, ("lambda:CreateFunction",), function_arn(consumer.account, region, FUNCTION)),
    ]


def difference(file: Path, text: str) -> str:
    """The diff between a file and its new text; empty if they are equal."""
    before = file.read_text().splitlines() if file.is_file() else []
    return "\n".join(difflib.unified_diff(before, text.splitlines(), str(file), str(file), lineterm="", n=0))
