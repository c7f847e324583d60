"""`python -m deployment init`: the stack files of a few answers, and what AWS says of the credentials."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError
from typer.testing import CliRunner

import deployment.__main__ as command_line
from components.iam import PULL_ACTIONS, PUSH_ACTIONS
from deployment import aws
from deployment.init import FUNCTION, Side, checks
from tests.unit.registered import may

ANSWERS = {
    "--registry-account": "111111111111",
    "--consumer-account": "222222222222",
    "--region": "us-east-1",
    "--registry-profile": "registry",
    "--consumer-profile": "consumer",
}
FILES = ("Pulumi.registry.yaml", "Pulumi.consumer.yaml")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a project and no stack file."""
    (tmp_path / "Pulumi.yaml").write_text((ROOT / "Pulumi.yaml").read_text())
    return tmp_path


def init(folder: Path, *options: str, answers: str = "", **changed: str) -> Any:
    given = {**ANSWERS, **{f"--{name.replace('_', '-')}": value for name, value in changed.items()}}
    pairs = () if answers else tuple(part for pair in given.items() for part in pair)
    return CliRunner().invoke(
        command_line.app, ["init", "--folder", str(folder), "--no-verify", *pairs, *options], input=answers
    )


def test_the_committed_files_are_those_of_these_answers(folder: Path) -> None:
    assert init(folder).exit_code == 0
    for name in FILES:
        assert (folder / name).read_text() == (ROOT / name).read_text()


def test_a_dry_run_prints_both_files_alone_and_writes_none(folder: Path) -> None:
    ran = init(folder, "--dry-run")
    assert ran.stdout == "".join(f"# {name}\n{(ROOT / name).read_text()}" for name in FILES)
    assert [path.name for path in folder.iterdir()] == ["Pulumi.yaml"]


def test_roles_and_other_names_of_stacks_are_written(folder: Path) -> None:
    role = "arn:aws:iam::111111111111:role/deployer"
    ran = init(folder, "--registry", "images", "--consumer", "orders", registry_role=role, registry_profile="")
    assert ran.exit_code == 0, ran.output
    config = yaml.safe_load((folder / "Pulumi.images.yaml").read_text())["config"]
    assert config["cross-account-ecr:assumeRoles"] == [{"roleArn": role}]
    assert "cross-account-ecr:profile" not in config
    config = yaml.safe_load((folder / "Pulumi.orders.yaml").read_text())["config"]
    assert config["cross-account-ecr:registry"] == {"stack": "images", "assumeRoles": [{"roleArn": role}]}


def test_everything_that_is_wrong_is_refused_at_once_and_nothing_is_written(folder: Path) -> None:
    ran = init(folder, "--consumer", "registry", registry_account="11", region="moon", consumer_role="deployer")
    assert ran.exit_code == 2
    for wrong in ('account: "11" is not', 'region: "moon" is not', 'roleArn: "deployer" is not', "different names"):
        assert wrong in ran.stderr
    assert [path.name for path in folder.iterdir()] == ["Pulumi.yaml"]


def test_init_asks_on_a_terminal_for_values_that_no_option_sets(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "_has_terminal", lambda: True)
    ran = init(folder, answers="111111111111\n222222222222\nus-east-1\nregistry\n\nconsumer\n\n")
    assert ran.exit_code == 0, ran.output
    assert "AWS profile for 222222222222" in ran.stderr
    for name in FILES:
        assert (folder / name).read_text() == (ROOT / name).read_text()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 130)])
def test_a_file_that_is_there_is_overwritten_only_after_a_yes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    monkeypatch.setattr(command_line, "_has_terminal", lambda: True)
    before = (ROOT / FILES[1]).read_text().replace("222222222222", "333333333333")
    (folder / FILES[1]).write_text(before)
    given = {**ANSWERS, "--registry-role": "", "--consumer-role": ""}
    options = ["init", "--folder", str(folder), "--no-verify", *(part for pair in given.items() for part in pair)]
    ran = CliRunner().invoke(command_line.app, options, input=answer)
    assert ran.exit_code == code
    assert '+  cross-account-ecr:account: "222222222222"' in ran.stderr
    assert ((folder / FILES[1]).read_text() == before) == (code == 130)


def test_without_a_terminal_it_names_what_is_missing_and_overwrites_nothing(folder: Path) -> None:
    ran = CliRunner().invoke(command_line.app, ["init", "--folder", str(folder), "--region", "us-east-1"])
    assert ran.exit_code == 2
    assert "--registry-account, --consumer-account must be given" in ran.stderr
    (folder / FILES[0]).write_text("config: {}\n")
    ran = init(folder)
    assert ran.exit_code == 2
    assert "--yes" in ran.stderr
    assert (folder / FILES[0]).read_text() == "config: {}\n"
    assert not (folder / FILES[1]).exists()
    assert init(folder, "--yes").exit_code == 0


SESSION = "arn:aws:sts::111111111111:assumed-role/deployer/me"


@pytest.mark.parametrize(
    ("who", "decisions", "asked", "expected"),
    [
        (SESSION, ["allowed", "allowed"], "arn:aws:iam::111111111111:role/deployer", []),
        ("arn:aws:iam::111111111111:user/me", ["allowed", "implicitDeny"], "arn:aws:iam::111111111111:user/me", ["b"]),
        (SESSION, None, "arn:aws:iam::111111111111:role/deployer", None),
        ("arn:aws:iam::111111111111:root", None, "", []),
    ],
)
def test_aws_is_asked_which_actions_the_policies_allow(
    monkeypatch: pytest.MonkeyPatch, who: str, decisions: list[str] | None, asked: str, expected: list[str] | None
) -> None:
    sources = []

    def simulate_principal_policy(**given: Any) -> dict[str, Any]:
        sources.append(given["PolicySourceArn"])
        [entry] = given["ContextEntries"]
        assert entry["ContextKeyName"] == "iam:PassedToService"
        if decisions is None:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "SimulatePrincipalPolicy")
        names = zip(given["ActionNames"], decisions, strict=True)
        return {"EvaluationResults": [{"EvalActionName": name, "EvalDecision": decision} for name, decision in names]}

    client = SimpleNamespace(simulate_principal_policy=simulate_principal_policy)
    monkeypatch.setattr(aws, "_session", lambda login: (SimpleNamespace(client=lambda service: client), who))
    login = aws.Login(stack="registry", account="111111111111", region="us-east-1")
    assert aws.rights(login, {"*": ["a", "b"]}) == (who, expected)
    assert sources == ([asked] if asked else [])


SIDES = (Side(stack="registry", account="111111111111"), Side(stack="consumer", account="222222222222"))
# The committed policies of each side's credentials.
POLICIES = {"registry": ("registry-deployer", "registry-pusher"), "consumer": ("consumer-deployer",)}


def of_policies(monkeypatch: pytest.MonkeyPatch, without: str = "") -> dict[str, set[str]]:
    """Let the committed policies decide, without one action. Returns the actions that are asked for, by stack."""
    asked = dict[str, set[str]]()

    def rights(login: aws.Login, actions: Mapping[str, Sequence[str]]) -> tuple[str, list[str]]:
        policies = [
            json.loads((ROOT / "docs" / "policies" / f"{name}.json").read_text()) for name in POLICIES[login.stack]
        ]
        asked[login.stack] = {name for names in actions.values() for name in names}
        denied = [
            name
            for resource, names in actions.items()
            for name in names
            if name == without or not any(may(policy, name, resource, aws.CONTEXT) for policy in policies)
        ]
        return f"role of {login.stack}", denied

    monkeypatch.setattr(aws, "rights", rights)
    return asked


def test_the_committed_policies_allow_every_action_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = of_policies(monkeypatch)
    registry, consumer = checks(*SIDES, region="us-east-1", repository=FUNCTION)
    assert registry.startswith("registry: role of registry: allowed: ecr:CreateRepository, ")
    assert consumer.startswith("consumer: role of consumer: allowed: lambda:CreateFunction, ")
    # A push as a whole, and each service that a deployment uses.
    assert {*PUSH_ACTIONS, "ecr:GetAuthorizationToken"} <= asked["registry"]
    assert {*PULL_ACTIONS, "iam:PassRole", "lambda:UpdateFunctionCode"} <= asked["consumer"]
    policy = json.loads((ROOT / "docs" / "policies" / "consumer-deployer.json").read_text())
    services = {action.partition(":")[0] for statement in policy["Statement"] for action in statement["Action"]}
    assert {action.partition(":")[0] for action in asked["consumer"]} == services


def test_what_is_denied_is_named_alone_and_does_not_stop_the_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever writes the files may be another person than who deploys."""
    of_policies(monkeypatch, without="lambda:CreateFunction")
    ran = init(folder, "--verify")
    assert ran.exit_code == 0
    assert "consumer: role of consumer: denied: lambda:CreateFunction. docs/policies has a policy" in ran.stderr
    assert all((folder / name).read_text() == (ROOT / name).read_text() for name in FILES)


def test_it_says_that_aws_does_not_tell_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "rights", lambda login, actions: ("me", None))
    for line in checks(*SIDES, region="us-east-1", repository=FUNCTION):
        assert ": me: unknown whether it is allowed: " in line
