"""The policy pack on the real engine: the committed stacks pass, violations are found, and an update is stopped.

Tests pass stack files with other options in `--config-file`, so that the deployed stacks do not change.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policy_pack.rules import RULES
from tests.engine.clone import Clone, tracebacks

VIOLATION = re.compile(r"\[(\w+)\] \[severity: \w+\]  (\S+)  \(\S+: (\S+)\)")

Violations = set[tuple[str, str, str]]

EVERYTHING_COUNTS: dict[str, Any] = {"all": "mandatory"}

# Configuration that the program accepts and the pack refuses.
WRONG_REGISTRY = {
    "repository": {
        "name": "cross-account-function",
        "scanOnPush": False,
        "protect": False,
        "retainOnDelete": False,
        "forceDelete": True,
        "lifecycle": [{"days": 30}],
        "statements": [
            {"Sid": "Public", "Effect": "Allow", "Principal": "*", "Action": "ecr:DescribeImages"},
            {
                "Sid": "Service",
                "Effect": "Allow",
                "Principal": {"Service": "codebuild.amazonaws.com"},
                "Action": "ecr:DescribeImages",
                "Condition": {"StringLike": {"aws:SourceAccount": "*"}},
            },
            {
                "Sid": "OneStatement",
                "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::333333333333:root"},
                "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
            },
        ],
    }
}
WRONG_CONSUMER = {
    "function": {
        "timeout": 60,
        "memory": 4096,
        "logRetention": 7,
        "environment": {"API_TOKEN": "hunter2"},
        "statements": [{"Sid": "All", "Effect": "Allow", "Action": "s3:*", "Resource": "*"}],
        "triggers": [{"type": "topic", "name": "news", "topic": "arn:aws:sns:us-east-1:222222222222:news"}],
    }
}
RIGHT_CONSUMER = {
    "function": {"reservedConcurrency": 5},
    "api": {"path": "hello", "accessLogRetention": 30, "throttle": {"rate": 100, "burst": 50}},
}

# Violations that the program cannot create, the correct form of each, and values that are unknown in a preview.
OTHER_PROGRAM = """
import json
import pulumi
import pulumi_aws as aws

made = pulumi.ResourceOptions(provider=aws.Provider("aws", profile="consumer", region="us-east-1"))
kept = pulumi.ResourceOptions.merge(made, pulumi.ResourceOptions(protect=True))

def role(name, principal):
    trust = {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": principal}]}
    return aws.iam.Role(name, name=name, assume_role_policy=json.dumps(trust), opts=made)

executor, anybody = role("executor", {"Service": "lambda.amazonaws.com"}), role("anybody", {"AWS": "*"})
unknown = executor.arn.apply(lambda arn: "IMMUTABLE")

key = "arn:aws:kms:us-east-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab"
fifty = {"tagStatus": "tagged", "tagPrefixList": ["pr-"], "countType": "imageCountMoreThan", "countNumber": 50}
lifecycle = json.dumps({"rules": [{"rulePriority": 1, "action": {"type": "expire"}, "selection": fifty}]})

def repository(name, mutability):
    made_so = aws.ecr.Repository(
        name, name=name, image_tag_mutability=mutability, image_scanning_configuration={"scan_on_push": True},
        encryption_configurations=[{"encryption_type": "KMS", "kms_key": key}], opts=kept,
    )
    aws.ecr.LifecyclePolicy(f"{name}-lifecycle", repository=made_so.name, policy=lifecycle, opts=made)
    return made_so

mutable, other = repository("mutable", "MUTABLE"), repository("unknown", unknown)

def function(name, uri, **more):
    return aws.lambda_.Function(
        name, name=name, package_type="Image", image_uri=uri, role=executor.arn,
        reserved_concurrent_executions=1, opts=made, **more,
    )

logs = aws.cloudwatch.LogGroup("logs", name="/aws/lambda/by-digest", retention_in_days=30, opts=made)
digest = other.repository_url.apply(lambda url: f"{url}@sha256:{'0' * 64}")
function("by-digest", digest, environment={"variables": {"DB_PASSWORD": unknown}})
by_tag = function("by-tag", "222222222222.dkr.ecr.us-east-1.amazonaws.com/mutable:latest")
logging = [{"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*"}]
aws.iam.RolePolicy(
    "unknown-policy", role=executor.name, opts=made,
    policy=logs.arn.apply(lambda arn: json.dumps({"Version": "2012-10-17", "Statement": logging})),
)

def permission(name, principal, **more):
    aws.lambda_.Permission(
        name, statement_id=name, function=by_tag.name, action="lambda:InvokeFunction", principal=principal,
        opts=made, **more,
    )

permission("everybody", "*")
permission("url", "*", invoked_via_function_url=True)
permission("any-api", "apigateway.amazonaws.com")
permission("one-account", "apigateway.amazonaws.com", source_account="222222222222")
permission("any-rule", "events.amazonaws.com", source_account="222222222222")
aws.lambda_.FunctionUrl("open", function_name=by_tag.name, authorization_type="NONE", opts=made)
aws.lambda_.FunctionUrl("signed", function_name="by-digest", authorization_type="AWS_IAM", opts=made)
aws.apigateway.DomainName(
    "old", domain_name="api.example.com", endpoint_configuration={"types": "REGIONAL"}, security_policy="TLS_1_0",
    regional_certificate_arn="arn:aws:acm:us-east-1:222222222222:certificate/1234abcd", opts=made,
)
"""


IN_A_WRONG_REGISTRY: Violations = {
    ("mandatory", "repository-scan-on-push", "repository"),
    ("advisory", "repository-kms-key", "repository"),
    ("mandatory", "repository-deletion-protection", "repository"),
    ("mandatory", "repository-named-principals", "repository-policy"),
    ("mandatory", "repository-service-source", "repository-policy"),
    ("mandatory", "repository-both-statements", "repository-policy"),
    ("mandatory", "repository-lifecycle", "repository-lifecycle"),
}
IN_A_WRONG_CONSUMER: Violations = {
    ("advisory", "function-timeout", "function"),
    ("advisory", "function-memory", "function"),
    ("advisory", "function-reserved-concurrency", "function"),
    ("advisory", "function-failure-path", "function"),
    ("advisory", "trigger-dead-letter", "function-topic-news"),
    ("mandatory", "function-environment-secrets", "function"),
    ("mandatory", "log-retention", "function-logs"),
    ("mandatory", "role-least-privilege", "function-role-policy"),
    ("advisory", "api-access-log", "function-api-stage"),
    ("advisory", "api-throttling", "function-api-stage"),
    ("advisory", "endpoint-authorization", "function-api-get-hello-method"),
}
ELSEWHERE: Violations = {
    ("mandatory", "repository-immutable-tags", "mutable"),
    ("mandatory", "function-image-by-digest", "by-tag"),
    ("mandatory", "function-log-group", "by-tag"),
    ("mandatory", "function-permission-source", "everybody"),
    ("mandatory", "function-permission-source", "any-api"),
    ("mandatory", "trigger-source", "any-rule"),
    ("mandatory", "endpoint-authorization", "open"),
    ("mandatory", "role-least-privilege", "anybody"),
    ("mandatory", "api-domain-tls", "old"),
}


def previewed(
    clone: Clone,
    stack: str,
    tmp_path: Path,
    *,
    changed: dict[str, Any] | None = None,
    levels: dict[str, Any] | None = None,
) -> tuple[int, Violations, str]:
    """Preview a stack with the pack, with optional arguments and levels. Returns exit code, violations, and output."""
    command = f"pulumi preview --policy-pack policy_pack -s {stack}"
    if changed:
        command += f" --config-file {stack_file(clone, stack, tmp_path, changed)}"
    if levels:
        (tmp_path / "levels.json").write_text(json.dumps(levels))
        command += f" --policy-pack-config {tmp_path}/levels.json"
    shown = clone.shell(command)
    assert tracebacks(shown.stdout) == []
    return shown.returncode, set(VIOLATION.findall(shown.stdout)), shown.stdout


def stack_file(clone: Clone, stack: str, tmp_path: Path, changed: dict[str, Any]) -> Path:
    """The committed stack file with some keys replaced."""
    committed = (clone.root / f"Pulumi.{stack}.yaml").read_text().splitlines()
    keys = [f"  cross-account-ecr:{key}:" for key in changed]
    lines = [line for line in committed if not line.startswith(tuple(keys))]
    lines += [f"{key} {json.dumps(value)}" for key, value in zip(keys, changed.values(), strict=True)]
    path = tmp_path / f"Pulumi.{stack}.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_committed_registry_passes(updatable: Clone, tmp_path: Path) -> None:
    levels = {**EVERYTHING_COUNTS, "repository-kms-key": "disabled"}
    assert previewed(updatable, "registry", tmp_path, levels=levels)[:2] == (0, set())


def test_the_committed_consumer_triggers_three_advisory_rules(updatable: Clone, tmp_path: Path) -> None:
    code, violations, _ = previewed(updatable, "consumer", tmp_path)
    assert code == 0
    assert violations == {
        ("advisory", "api-access-log", "function-api-stage"),
        ("advisory", "api-throttling", "function-api-stage"),
        ("advisory", "endpoint-authorization", "function-api-get-hello-method"),
    }


def test_a_consumer_with_log_throttle_and_signed_calls_passes_all(updatable: Clone, tmp_path: Path) -> None:
    updatable.set_logging_role()
    passed = previewed(updatable, "consumer", tmp_path, changed=RIGHT_CONSUMER, levels=EVERYTHING_COUNTS)
    assert passed[:2] == (0, set()), passed[2]


def test_what_is_wrong_in_a_registry_is_found_in_one_preview(updatable: Clone, tmp_path: Path) -> None:
    code, violations, shown = previewed(
        updatable, "registry", tmp_path, changed=WRONG_REGISTRY, levels={"repository-kms-key": "advisory"}
    )
    assert code != 0
    assert violations == IN_A_WRONG_REGISTRY
    assert "Account 333333333333 may create functions, but Lambda may not pull their images again." in shown
    assert "https://docs.aws.amazon.com/securityhub/latest/userguide/ecr-controls.html#ecr-1" in shown


def test_what_is_wrong_in_a_consumer_is_found_in_one_preview(updatable: Clone, tmp_path: Path) -> None:
    code, violations, shown = previewed(
        updatable, "consumer", tmp_path, changed=WRONG_CONSUMER, levels={"function-reserved-concurrency": "advisory"}
    )
    assert code != 0
    assert violations == IN_A_WRONG_CONSUMER
    assert "The variable API_TOKEN looks like a secret." in shown
    assert "hunter2" not in shown


def test_an_update_is_stopped_before_the_change(updatable: Clone, tmp_path: Path) -> None:
    file = stack_file(
        updatable, "registry", tmp_path, {"repository": {"name": "cross-account-function", "scanOnPush": False}}
    )
    stopped = updatable.shell(
        f"pulumi up --yes --skip-preview --policy-pack policy_pack --config-file {file} -s registry"
    )
    assert stopped.returncode != 0
    assert VIOLATION.findall(stopped.stdout) == [("mandatory", "repository-scan-on-push", "repository")]
    found = updatable.client("registry", "ecr").describe_repositories()["repositories"]
    assert [each["imageScanningConfiguration"]["scanOnPush"] for each in found] == [True]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (
            {"function-timout": "mandatory", "function-timeout": {"maximun": 5}},
            [
                "function-timout: there is no such rule; there are all, repository-immutable-tags, ",
                "function-timeout.maximun: 5.0 given, but there is no such parameter; there are enforcementLevel, min",
            ],
        ),
        ({"function-timeout": {"maximum": 5000}}, ["function-timeout: maximum: Must be less than or equal to 900"]),
    ],
    ids=["names", "value"],
)
def test_wrong_configuration_is_refused(
    updatable: Clone, tmp_path: Path, levels: dict[str, Any], expected: list[str]
) -> None:
    code, violations, shown = previewed(updatable, "registry", tmp_path, levels=levels)
    assert (code != 0, violations) == (True, set())
    assert [text for text in expected if text not in shown] == []


@pytest.fixture
def other(updatable: Clone, tmp_path: Path) -> Iterator[Path]:
    """A folder with another program. Its stack is removed afterwards."""
    (tmp_path / "Pulumi.yaml").write_text("name: other\nruntime: python\n")
    (tmp_path / "__main__.py").write_text(OTHER_PROGRAM)
    yield tmp_path
    updatable.shell(f"cd {tmp_path} && pulumi stack rm --yes other")


def test_what_no_stack_can_have_is_found_and_what_is_unknown_accuses_nobody(updatable: Clone, other: Path) -> None:
    (other / "levels.json").write_text(json.dumps(EVERYTHING_COUNTS))
    shown = updatable.shell(
        f"cd {other} && pulumi stack init other && pulumi preview -s other --policy-pack-config levels.json "
        f"--policy-pack {updatable.root}/policy_pack"
    ).stdout
    assert tracebacks(shown) == []
    assert set(VIOLATION.findall(shown)) == ELSEWHERE, shown


def test_every_rule_reports_a_violation() -> None:
    seen = IN_A_WRONG_REGISTRY | IN_A_WRONG_CONSUMER | ELSEWHERE
    assert {rule for _, rule, _ in seen} == {rule.name for rule in RULES}
