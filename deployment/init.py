"""Create the stack files: from a few answers, validated by the models, with credentials checked at AWS."""

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.errors import InvalidConfiguration
from components.iam import PULL_ACTIONS, PUSH_ACTIONS, function_arn, partition
from deployment import aws
from deployment.errors import ConfigurationError

FUNCTION = "cross-account-function"
# Pulumi adds seven characters to the role's logical name.
ROLE = "function-role-0000000"
POLICIES = ". docs/policies has a policy that allows it"
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


def checked(side: Side, region: str, actions: Mapping[str, Sequence[str]]) -> str:
    """One line with the principal of a side's credentials, and the actions that it is denied, else all that were asked.

    Raises:
        CredentialsError: there are no credentials, or they belong to another account.
    """
    login = aws.Login(
        stack=side.stack, account=side.account, region=region, profile=side.profile,
        assume_roles=side.credentials.get("assumeRoles", ()),
    )  # fmt: skip
    who, denied = aws.rights(login, actions)
    allowed = "unknown whether it is allowed" if denied is None else "denied" if denied else "allowed"
    names = denied or dict.fromkeys(name for each in actions.values() for name in each)
    return f"{side.stack}: {who}: {allowed}: {', '.join(names)}{POLICIES if denied else ''}"


def checks(registry: Side, consumer: Side, *, region: str, repository: str) -> list[str]:
    """One line for each side: the principal, and whether it may push or deploy.

    These are the actions of a push and the most telling ones of a first deployment. `docs/policies` has them all; a
    test checks that it allows these.

    Raises:
        CredentialsError: there are no credentials, or they belong to another account.
    """
    aws_, account = f"arn:{partition(region)}", consumer.account
    images = f"{aws_}:ecr:{region}:{registry.account}:repository/{repository}"
    token = {"*": ["ecr:GetAuthorizationToken"]}
    pushing = {
        images: ["ecr:CreateRepository", "ecr:SetRepositoryPolicy", "ecr:ListImages", *PUSH_ACTIONS],
        **token,
    }
    deploying = {
        function_arn(account, region, FUNCTION): [
            "lambda:CreateFunction", "lambda:UpdateFunctionCode", "lambda:AddPermission",
        ],
        f"{aws_}:iam::{account}:role/{ROLE}": ["iam:CreateRole", "iam:PutRolePolicy", "iam:PassRole"],
        f"{aws_}:logs:{region}:{account}:log-group:/aws/lambda/{FUNCTION}:log-stream:": ["logs:CreateLogGroup"],
        f"{aws_}:apigateway:{region}::/restapis": ["apigateway:POST"],
        images: PULL_ACTIONS,
        **token,
    }  # fmt: skip
    return [checked(registry, region, pushing), checked(consumer, region, deploying)]


def difference(file: Path, text: str) -> str:
    """The diff between a file and its new text; empty if they are equal."""
    before = file.read_text().splitlines() if file.is_file() else []
    return "\n".join(difflib.unified_diff(before, text.splitlines(), str(file), str(file), lineterm="", n=0))
