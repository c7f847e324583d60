"""The rules of the policy pack: small checks of properties, each with the description of its rule.

A check's name and docstring are the name, the description, the fix and the source of its rule. A check yields a
sentence for each violation.
If a check reads a property that is unknown in a preview, `UnknownValueError` is raised, and the rule skips the
resource. The update checks it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from json import loads
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyComplianceFramework,
    PolicyConfigSchema,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

# A required property may be missing here, in a resource that the provider refuses.
NotThere = (UnknownValueError, KeyError)

Parameters = Mapping[str, Any]
Statement = Mapping[str, Any]
Check = Callable[[ResourceValidationArgs, Parameters], Iterator[str]]
StackCheck = Callable[[PolicyResource, Parameters, Sequence[PolicyResource]], Iterator[str]]

FUNCTION = "aws:lambda/function:Function"
FUNCTION_URL = "aws:lambda/functionUrl:FunctionUrl"
INVOKE_CONFIG = "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig"
LIFECYCLE = "aws:ecr/lifecyclePolicy:LifecyclePolicy"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
METHOD = "aws:apigateway/method:Method"
METHOD_SETTINGS = "aws:apigateway/methodSettings:MethodSettings"
PERMISSION = "aws:lambda/permission:Permission"
REPOSITORY = "aws:ecr/repository:Repository"
REPOSITORY_POLICY = "aws:ecr/repositoryPolicy:RepositoryPolicy"
ROLE = "aws:iam/role:Role"
ROUTE = "aws:apigatewayv2/route:Route"
SCHEDULE = "aws:scheduler/schedule:Schedule"
STAGE = "aws:apigateway/stage:Stage"
HTTP_STAGE = "aws:apigatewayv2/stage:Stage"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
# Those that call a function without waiting for it.
EVENT_TYPES = (SCHEDULE, SUBSCRIPTION, TARGET)
DOMAINS = ("aws:apigateway/domainName:DomainName", "aws:apigatewayv2/domainName:DomainName")
ROLE_TYPES = (
    "aws:iam/policy:Policy",
    ROLE,
    "aws:iam/policyAttachment:PolicyAttachment",
    "aws:iam/rolePolicy:RolePolicy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
)

ADVISORY, MANDATORY, DISABLED = EnforcementLevel.ADVISORY, EnforcementLevel.MANDATORY, EnforcementLevel.DISABLED
LOW, MEDIUM, HIGH, CRITICAL = Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL

RULES: list[Policy] = []
"""All rules, in the order of this file."""


ACCOUNT = re.compile(r"\d{12}")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
BROAD_MANAGED_POLICY = re.compile(r":aws:policy/(.*/)?(AdministratorAccess|PowerUserAccess|[\w-]*FullAccess)[\w-]*$")
# An action of one service with at least a part of its name.
NAMED_ACTION = re.compile(r"[\w-]+:[^*?]*[\w-].*")
# A content tag of the program: components/image/build.py
CONTENT_TAG = (*"content-", *["0123456789abcdef"] * 32)

# The permissions to pull an image.
# https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
PULL_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")

# Operators that match only if the key exists and has one of the values.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
BINDING_OPERATORS = ("ArnEquals", "ArnLike", "StringEquals", "StringEqualsIgnoreCase", "StringLike")

# Actions of an execution role that do not support resources.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html#configuration-vpc-permissions
# https://docs.aws.amazon.com/lambda/latest/dg/services-xray.html
UNSCOPED_ACTIONS = [
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
    "ecr:GetAuthorizationToken",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
]

SECRET_NAME = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE)$"
    r"|(^|_)(PWD|SECRET|TOKEN|CREDENTIALS?|(API|ACCESS|PRIVATE|SECRET|SIGNING|ENCRYPTION)_?KEY)$",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"  # AWS access key
    r"|-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\bgh[opsur]_[A-Za-z0-9]{36}|\bgithub_pat_\w{22}"
    r"|\bglpat-[\w-]{20}"  # GitLab
    r"|\bxox[abprs]-[A-Za-z0-9-]{10}|\bhooks\.slack\.com/services/"
    r"|\b[rs]k_live_[A-Za-z0-9]{16}"  # Stripe
    r"|\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+"  # JSON web token
    r"|://[^/:@\s]*:[^/@\s]+@"  # URL with a password
)
# An ARN or the path of a parameter refers to a secret, but is not a secret.
REFERENCE = re.compile(r"arn:\S+|(/[\w.-]+)+")


# ---- declaration of rules


def bounds(least: int, most: int, default: int) -> dict[str, dict[str, Any]]:
    """The parameters `minimum` and `maximum` for a whole number with limits of AWS."""
    number = {"type": "integer", "minimum": least, "maximum": most}
    return {"minimum": {**number, "default": least}, "maximum": {**number, "default": default}}


def texts(default: list[str]) -> dict[str, Any]:
    """A parameter that is a list of texts."""
    return {"type": "array", "items": {"type": "string"}, "default": default}


def about(
    check: Check | StackCheck,
    *,
    level: EnforcementLevel,
    severity: Severity,
    ids: Sequence[str] = (),
    parameters: Mapping[str, dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The fields of a rule.

    Args:
        check: its name is the name of the rule. Its docstring says what the rule requires and why, the change that
            fixes a violation, and the source.
        level: the default enforcement level.
        severity: how bad a violation is.
        ids: IDs of the equivalent controls in Security Hub, AWS Config and checkov.
        parameters: JSON schema of each parameter, with a default.
    """
    name = check.__name__.replace("_", "-")
    description, _, rest = " ".join((check.__doc__ or "").split()).partition(" Fix: ")
    fix, _, url = rest.rpartition(" ")
    foundational = next((each for each in ids if re.fullmatch(r"[A-Za-z]+\.\d+", each)), None)
    return {
        "name": name,
        "description": description,
        "enforcement_level": level,
        "config_schema": PolicyConfigSchema(dict(parameters)) if parameters else None,
        "display_name": name.replace("-", " ").capitalize(),
        "severity": severity,
        "framework": PolicyComplianceFramework("AWS Foundational Security Best Practices", "1.0.0", foundational)
        if foundational
        else None,
        "tags": list(ids),
        "remediation_steps": fix,
        "url": url,
    }


def resource_rule(*types: str, **facts: Any) -> Callable[[Check], Check]:
    """Declare a rule for resources of these types. It checks a resource before it is created or updated."""

    def register(check: Check) -> Check:
        fields = about(check, **facts)

        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            if args.resource_type in types:
                try:
                    for found in check(args, args.get_config()):
                        report(f"{found} {fields['remediation_steps']}\n{fields['url']}", args.urn)
                except NotThere:
                    args.not_applicable("a property is unknown until the update")

        RULES.append(ResourceValidationPolicy(validate=validate, **fields))
        return check

    return register


def stack_rule(*types: str, **facts: Any) -> Callable[[StackCheck], StackCheck]:
    """Declare a rule for a resource and the other resources of the stack. It runs when all resources are known."""

    def register(check: StackCheck) -> StackCheck:
        fields = about(check, **facts)

        def validate(args: StackValidationArgs, report: ReportViolation) -> None:
            for resource in args.resources:
                if resource.resource_type in types:
                    with suppress(*NotThere):
                        for found in check(resource, args.get_config(), args.resources):
                            report(f"{found} {fields['remediation_steps']}\n{fields['url']}", resource.urn)

        RULES.append(StackValidationPolicy(validate=validate, **fields))
        return check

    return register


# ---- IAM policies


def statements(policy: object) -> list[Statement]:
    """The Allow statements of a policy document, which is a text or an object."""
    if isinstance(policy, str):
        try:
            policy = loads(policy)
        except ValueError:
            return []  # The provider refuses it.
    listed = several(section(policy).get("Statement"))
    return [statement for statement in listed if isinstance(statement, Mapping) and statement.get("Effect") == "Allow"]


def several(value: Any) -> list[Any]:
    """Convert a single value to a list, as IAM does."""
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]


def words(value: Any) -> list[str]:
    """A text or a list of texts. AWS refuses other values."""
    return [each for each in several(value) if isinstance(each, str)]


def section(value: Any) -> Mapping[str, Any]:
    """An object; empty for other values."""
    return value if isinstance(value, Mapping) else {}


def principals(statement: Statement, kind: str) -> list[str]:
    """A statement's principals of one kind, `AWS` or `Service`. A bare `*` means `AWS`."""
    principal = statement.get("Principal")
    return words(principal if isinstance(principal, str) and kind == "AWS" else section(principal).get(kind))


def anybody(statement: Statement) -> str:
    """Why a statement applies to unnamed principals; empty if it does not."""
    if "NotPrincipal" in statement:
        return "NotPrincipal grants everyone else"
    principal = statement.get("Principal")
    named = principal.values() if isinstance(principal, Mapping) else [principal]
    return "the principal is a wildcard" if any("*" in word for each in named for word in words(each)) else ""


def bound_to(statement: Statement, key: str) -> list[str]:
    """The values that a condition key must have."""
    return [
        value
        for operator, keys in section(statement.get("Condition")).items()
        if operator in BINDING_OPERATORS
        for name, values in section(keys).items()
        if name.lower() == key.lower()
        for value in words(values)
    ]


def account_of(value: str) -> str:
    """The account of an ARN, or the text itself."""
    parts = value.split(":")
    return parts[4] if len(parts) > 5 else value


def sources(statement: Statement) -> set[str]:
    """The accounts for whose resources the conditions allow a service to act; `*` for any account."""
    named = [bound_to(statement, "aws:SourceAccount"), bound_to(statement, "aws:SourceArn")]
    closed = [{account_of(value) for value in values} for values in named if values]
    return next((accounts for accounts in closed if all(map(ACCOUNT.fullmatch, accounts))), {"*"})


def allows(statement: Statement, actions: Sequence[str]) -> bool:
    """Whether a statement allows all of these actions."""
    given = [pattern.lower() for pattern in words(statement.get("Action"))]
    return all(any(fnmatchcase(action.lower(), pattern) for pattern in given) for action in actions)


def sid(statement: Statement) -> str:
    """The name of a statement in a message."""
    return f"Statement {statement.get('Sid') or 'without a Sid'}"


# ---- the repository


@resource_rule(
    REPOSITORY,
    level=MANDATORY,
    severity=MEDIUM,
    ids=("ECR.2", "CKV_AWS_51"),
    parameters={"allowExclusions": {"type": "boolean", "default": False}},
)
def repository_immutable_tags(repository: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """Image tags are immutable: a tag always names the same image.

    Fix: Leave repository.mutableTags out of the stack file.
    https://docs.aws.amazon.com/securityhub/latest/userguide/ecr-controls.html#ecr-2
    """
    mutability = repository.props.get("imageTagMutability", "MUTABLE")
    exclusions = ["IMMUTABLE_WITH_EXCLUSION"] if parameters["allowExclusions"] else []
    if mutability not in ["IMMUTABLE", *exclusions]:
        yield f"imageTagMutability is {mutability}."


@resource_rule(REPOSITORY, level=MANDATORY, severity=HIGH, ids=("ECR.1", "CKV_AWS_163"))
def repository_scan_on_push(repository: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """Every pushed image is scanned for known vulnerabilities.

    Fix: Set repository: {scanOnPush: true}.
    https://docs.aws.amazon.com/securityhub/latest/userguide/ecr-controls.html#ecr-1
    """
    if not section(repository.props.get("imageScanningConfiguration")).get("scanOnPush"):
        yield "imageScanningConfiguration.scanOnPush is off."


@resource_rule(REPOSITORY, level=DISABLED, severity=MEDIUM, ids=("ECR.5", "CKV_AWS_136"))
def repository_kms_key(repository: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """Images are encrypted with a customer managed KMS key.

    Disabled by default: images are always encrypted with AES-256. A key costs money and cannot be changed later.

    Fix: Set repository: {kmsKey: ARN}, before the repository is created.
    https://docs.aws.amazon.com/securityhub/latest/userguide/ecr-controls.html#ecr-5
    """
    configurations = repository.props.get("encryptionConfigurations") or []
    if not any(each.get("encryptionType") in ("KMS", "KMS_DSSE") and each.get("kmsKey") for each in configurations):
        yield "encryptionConfigurations names no KMS key."


@resource_rule(REPOSITORY, level=MANDATORY, severity=HIGH)
def repository_deletion_protection(repository: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """The repository is protected from deletion: Lambda pulls the image of an idle function again.

    Fix: Leave repository.protect and repository.forceDelete out of the stack file.
    https://www.pulumi.com/docs/iac/concepts/options/protect/
    """
    if not repository.opts.protect:
        yield "protect is off."
    if repository.props.get("forceDelete"):
        yield "forceDelete is on."


@resource_rule(
    REPOSITORY_POLICY, level=MANDATORY, severity=CRITICAL, ids=("CKV_AWS_32",), parameters={"organizations": texts([])}
)
def repository_named_principals(policy: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """Every statement of the repository's policy names its principals, without a wildcard.

    Fix: Name the accounts in consumers, or the organization of the condition aws:PrincipalOrgID in the parameter
    organizations.
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/repository-policies.html
    """
    for statement in statements(policy.props.get("policy")):
        organizations = bound_to(statement, "aws:PrincipalOrgID")
        if organizations and set(organizations) <= set(parameters["organizations"]):
            continue
        if why := anybody(statement):
            yield f"{sid(statement)}: {why}."


@resource_rule(REPOSITORY_POLICY, level=MANDATORY, severity=HIGH)
def repository_service_source(policy: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """A service may use the images only for resources of named accounts or organizations.

    Fix: Add a condition on aws:SourceArn or aws:SourceAccount with the account IDs.
    https://docs.aws.amazon.com/IAM/latest/UserGuide/confused-deputy.html
    """
    for statement in statements(policy.props.get("policy")):
        organizations = bound_to(statement, "aws:SourceOrgID")
        in_organizations = organizations and all("*" not in value for value in organizations)
        if principals(statement, "Service") and "*" in sources(statement) and not in_organizations:
            yield f"{sid(statement)}: no condition on aws:SourceArn or aws:SourceAccount names the accounts."


@resource_rule(REPOSITORY_POLICY, level=MANDATORY, severity=HIGH)
def repository_both_statements(policy: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """An account that may pull is in both statements, its own and Lambda's. Otherwise functions fail after weeks.

    Fix: Name the account in consumers, which writes both statements.
    https://docs.aws.amazon.com/lambda/latest/dg/images-create.html#configuration-images-xaccount-permissions
    """
    pulling = [each for each in statements(policy.props.get("policy")) if allows(each, PULL_ACTIONS)]
    callers = {account_of(principal) for statement in pulling for principal in principals(statement, "AWS")}
    # Anything else than an account is the ID of a deleted principal.
    granted = {account for account in callers if account == "*" or ACCOUNT.fullmatch(account)}
    by_lambda = [each for each in pulling if "lambda.amazonaws.com" in principals(each, "Service")]
    served = {account for statement in by_lambda for account in sources(statement)}
    for account in sorted(granted - served) if "*" not in served else []:
        yield f"Account {account} may create functions, but Lambda may not pull their images again."
    # Lambda's name for the statement of the repository's own account, whose principals need none here.
    own = {one for each in by_lambda if each.get("Sid") == "LambdaECRImageRetrievalPolicy" for one in sources(each)}
    for account in sorted(served - granted - own) if "*" not in granted else []:
        yield f"Lambda may pull for functions of account {account}, which may not create any."


@resource_rule(LIFECYCLE, level=MANDATORY, severity=HIGH)
def repository_lifecycle(policy: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """No lifecycle rule deletes an image that a function may run: Lambda pulls the image of an idle function again.

    Fix: Remove the rule, or select tags that no function runs by tagPrefixes or tagPatterns. Example: lifecycle:
    [{days: 30, tagPrefixes: [pr-]}].
    https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
    """
    document = policy.props.get("policy")
    for rule in several(section(loads(document) if isinstance(document, str) else document).get("rules")):
        selection = section(section(rule).get("selection"))
        tags = [f"{prefix}*" for prefix in words(selection.get("tagPrefixList"))]
        tags += words(selection.get("tagPatternList"))
        if selection.get("tagStatus") != "tagged" or not tags:
            yield f"Rule {section(rule).get('rulePriority')} selects images whatever their tags are."
        elif wrong := [tag for tag in tags if matches(tag, CONTENT_TAG)]:
            yield f"Rule {section(rule).get('rulePriority')} selects images by {', '.join(wrong)}."


def matches(pattern: str, characters: Sequence[str]) -> bool:
    """Whether a pattern with `*` matches a text that consists only of these characters."""
    reached = {0}
    for each in pattern:
        if each == "*":
            reached = set(range(min(reached, default=len(characters) + 1), len(characters) + 1))
        else:
            reached = {at + 1 for at in reached if at < len(characters) and each in characters[at]}
    return len(characters) in reached


# ---- the function and its role


@resource_rule(FUNCTION, level=MANDATORY, severity=HIGH)
def function_image_by_digest(function: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """A function names its image by digest: Lambda does not follow a tag that moves to another image.

    Fix: Write REPOSITORY@sha256:….
    https://docs.aws.amazon.com/lambda/latest/api/API_UpdateFunctionCode.html
    """
    if function.props.get("packageType") == "Image" and not DIGEST.search(uri := function.props.get("imageUri", "")):
        yield f"imageUri is {uri}."


@resource_rule(FUNCTION, level=ADVISORY, severity=LOW, parameters=bounds(1, 900, 29))
def function_timeout(function: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """A call ends before its caller gives up: API Gateway waits 29 seconds.

    Advisory by default: other callers wait longer.

    Fix: Set function: {timeout: SECONDS}.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-execution-service-limits-table.html
    """
    yield from outside("timeout", function.props.get("timeout") or 3, "seconds", parameters)


@resource_rule(FUNCTION, level=ADVISORY, severity=LOW, parameters=bounds(128, 10_240, 3_008))
def function_memory(function: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """Memory, which sets the price of a call, is bounded.

    Advisory by default: the right amount is the team's decision.

    Fix: Set function: {memory: MB}.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
    """
    yield from outside("memorySize", function.props.get("memorySize") or 128, "MB", parameters)


def outside(name: str, value: float, unit: str, parameters: Parameters) -> Iterator[str]:
    """A sentence for a number outside of `minimum` and `maximum`."""
    least, most = parameters["minimum"], parameters["maximum"]
    if not least <= value <= most:
        yield f"{name} is {value:.0f}; allowed are {least:.0f} to {most:.0f} {unit}."


@resource_rule(FUNCTION, level=DISABLED, severity=LOW, ids=("CKV_AWS_115",))
def function_reserved_concurrency(function: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """A function reserves concurrency.

    Disabled by default: it is taken from the account's pool.

    Fix: Set function: {reservedConcurrency: CALLS}.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
    """
    if function.props.get("reservedConcurrentExecutions", -1) < 0:
        yield "reservedConcurrentExecutions is not set."


@resource_rule(FUNCTION, level=MANDATORY, severity=CRITICAL, ids=("CKV_AWS_45",), parameters={"ignored": texts([])})
def function_environment_secrets(function: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """No environment variable holds a secret: everyone who may read the function can read it.

    Fix: Name the ARN of the secret in function.secrets. If it is none, name it in the parameter ignored.
    https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    """
    variables = section(section(function.props.get("environment")).get("variables"))
    for name in sorted(set(variables) - set(parameters["ignored"])):
        try:
            value = str(variables[name])
        except UnknownValueError:
            continue
        # The message must not show the value.
        if SECRET_VALUE.search(value) or (SECRET_NAME.search(name) and value and not REFERENCE.fullmatch(value)):
            yield f"The variable {name} looks like a secret."


@stack_rule(FUNCTION, level=MANDATORY, severity=MEDIUM)
def function_log_group(function: PolicyResource, _: Parameters, stack: Sequence[PolicyResource]) -> Iterator[str]:
    """The function's log group is in the stack: one that Lambda creates keeps its lines for ever.

    Fix: Create the log group before the function.
    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs.html
    """
    configured = section(function.props.get("loggingConfig")).get("logGroup")
    name = configured or f"/aws/lambda/{function.props['name']}"
    if name not in [group.props["name"] for group in stack if group.resource_type == LOG_GROUP]:
        yield f"The log group {name} is not in the stack."


@resource_rule(
    LOG_GROUP,
    level=MANDATORY,
    severity=MEDIUM,
    ids=("CW_LOGGROUP_RETENTION_PERIOD_CHECK", "CKV_AWS_66"),
    parameters={"minimumDays": {"type": "integer", "minimum": 1, "maximum": 3653, "default": 30}},
)
def log_retention(group: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """Log lines are deleted, but not too early.

    Fix: Set function: {logRetention: DAYS} or api: {accessLogRetention: DAYS}.
    https://docs.aws.amazon.com/config/latest/developerguide/cw-loggroup-retention-period-check.html
    """
    days, least = group.props.get("retentionInDays", 0), parameters["minimumDays"]
    if not days:
        yield "retentionInDays is not set: lines are kept for ever."
    elif days < least:
        yield f"retentionInDays is {days:.0f}; allowed are {least:.0f} and more."


@resource_rule(PERMISSION, level=MANDATORY, severity=CRITICAL, ids=("Lambda.1", "CKV_AWS_301", "CKV_AWS_364"))
def function_permission_source(permission: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """No wildcard principal may invoke the function, and a service may invoke it only for a named source.

    Fix: Name an account as principal, or give the permission a sourceArn or sourceAccount with an account ID.
    https://docs.aws.amazon.com/securityhub/latest/userguide/lambda-controls.html#lambda-1
    """
    props = permission.props
    # The two statements of a public function URL apply only to calls of that URL; endpoint-authorization reports it.
    # https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
    url = (props.get("action"), props.get("functionUrlAuthType"), bool(props.get("invokedViaFunctionUrl")))
    if url in [("lambda:InvokeFunctionUrl", "NONE", False), ("lambda:InvokeFunction", None, True)]:
        return
    principal = props["principal"]
    if "*" in principal:
        if not props.get("principalOrgId"):
            yield f"The principal is a wildcard for {props.get('action')}."
    elif not ACCOUNT.fullmatch(principal) and not principal.startswith("arn:"):
        account, arn = props.get("sourceAccount") or "", (props.get("sourceArn") or "").split(":", 5)
        # The ARN of a bucket contains no account, but bucket names are unique across accounts.
        of_one = len(arn) == 6 and (ACCOUNT.fullmatch(arn[4]) or not (arn[4] or "*" in arn[5] or "?" in arn[5]))
        if not ACCOUNT.fullmatch(account) and not of_one:
            yield f"{principal} may invoke it for any account: neither sourceArn nor sourceAccount names one."


@resource_rule(PERMISSION, level=MANDATORY, severity=HIGH)
def trigger_source(permission: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """SNS and EventBridge invoke the function for one topic or rule each, named without a wildcard.

    Fix: Name one topic or one rule.
    https://docs.aws.amazon.com/lambda/latest/dg/access-control-resource-based.html
    """
    principal, source = permission.props["principal"], permission.props.get("sourceArn") or ""
    if principal in ("sns.amazonaws.com", "events.amazonaws.com") and ("*" in source or "?" in source or not source):
        yield f"{principal} may invoke it for {source or 'every source of the account'}."


@resource_rule(*EVENT_TYPES, level=ADVISORY, severity=MEDIUM)
def trigger_dead_letter(trigger: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """An event that Lambda does not accept goes to a dead-letter queue.

    Advisory by default: this is rare, and the loss of an event may be acceptable.

    Fix: Set deadLetter: ARN in the trigger.
    https://docs.aws.amazon.com/lambda/latest/dg/concepts-event-driven-architectures.html
    """
    kind, props = trigger.resource_type, trigger.props
    if kind == SCHEDULE:
        props = section(props.get("target"))
    place, target = ("redrivePolicy", "endpoint") if kind == SUBSCRIPTION else ("deadLetterConfig", "arn")
    if not props.get(place) and ":lambda:" in props[target]:
        yield f"{place} is not set."


@stack_rule(FUNCTION, level=ADVISORY, severity=MEDIUM)
def function_failure_path(function: PolicyResource, _: Parameters, stack: Sequence[PolicyResource]) -> Iterator[str]:
    """A function that topics, rules or schedules call sends the events on which it fails to a destination.

    Advisory by default: the loss of an event may be acceptable.

    Fix: Set function: {asynchronous: {onFailure: ARN}}.
    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
    """
    if function.props.get("deadLetterConfig") or not any(each.resource_type in EVENT_TYPES for each in stack):
        return
    name = function.props["name"]
    settings = [each for each in stack if each.resource_type == INVOKE_CONFIG]
    for each in settings:
        destinations = section(each.props.get("destinationConfig"))
        if section(destinations.get("onFailure")).get("destination") and refers(each, "functionName", function, "name"):
            return
    yield f"Events on which {name} fails are lost: there is neither onFailure nor deadLetter."


@resource_rule(
    *ROLE_TYPES,
    level=MANDATORY,
    severity=HIGH,
    ids=("IAM.1", "IAM.21", "CKV_AWS_60", "CKV_AWS_62", "CKV_AWS_63", "CKV_AWS_274", "CKV_AWS_355"),
    parameters={"unscopedActions": texts(UNSCOPED_ACTIONS)},
)
def role_least_privilege(resource: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """Roles use no wildcard for actions, resources or principals, and their trust policies name a principal.

    Fix: Name them. If an action has no resources, name it in the parameter unscopedActions.
    https://docs.aws.amazon.com/securityhub/latest/userguide/iam-controls.html#iam-21
    """
    props = resource.props
    unscoped = {action.lower() for action in parameters["unscopedActions"]}
    inline = [policy.get("policy") for policy in props.get("inlinePolicies") or []]
    for statement in [found for document in (props.get("policy"), *inline) for found in statements(document)]:
        actions = words(statement.get("Action"))
        if wild := [action for action in actions if not NAMED_ACTION.fullmatch(action)]:
            yield f"{sid(statement)}: Action is {', '.join(wild)}."
        for negation in ("NotAction", "NotResource"):
            if negation in statement:
                yield f"{sid(statement)}: {negation} allows everything else."
        scoped = [action for action in actions if action.lower() not in unscoped]
        if scoped and any(map(is_any, words(statement.get("Resource")))):
            yield f"{sid(statement)}: Resource is * for {', '.join(scoped)}."
    for arn in [*(props.get("managedPolicyArns") or []), props.get("policyArn") or ""]:
        if BROAD_MANAGED_POLICY.search(arn):
            yield f"The managed policy {arn.rpartition('/')[2]} is attached."
    if resource.resource_type == ROLE:
        trusted = statements(props.get("assumeRolePolicy"))
        if not any(statement.get("NotPrincipal") or statement.get("Principal") for statement in trusted):
            yield "assumeRolePolicy names no principal."
        for statement in trusted:
            if why := anybody(statement):
                yield f"{sid(statement)}: anyone may assume the role: {why}."


def is_any(resource: str) -> bool:
    """Whether an ARN matches resources of any service, such as `*` or `arn:aws:*`."""
    parts = resource.split(":")
    return all(not part.strip("*?") for part in (parts[2:] if parts[0] == "arn" and len(parts) > 2 else parts[-1:]))


# ---- the API


@resource_rule(STAGE, HTTP_STAGE, level=ADVISORY, severity=MEDIUM, ids=("APIGateway.9", "CKV_AWS_76", "CKV_AWS_95"))
def api_access_log(stage: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """The API logs its calls.

    Advisory by default: the log costs money, and the function has a log of its own.

    Fix: Set api: {accessLogRetention: DAYS}.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/set-up-logging.html
    """
    if not stage.props.get("accessLogSettings"):
        yield "accessLogSettings is not set."


@stack_rule(
    STAGE,
    HTTP_STAGE,
    level=ADVISORY,
    severity=MEDIUM,
    # The default limit of an account.
    parameters={"maximumRate": {"type": "integer", "minimum": 1, "default": 10_000}},
)
def api_throttling(stage: PolicyResource, parameters: Parameters, stack: Sequence[PolicyResource]) -> Iterator[str]:
    """The API limits its calls.

    Advisory by default: without it the account's limit applies, which all its APIs share.

    Fix: Set api: {throttle: {rate: CALLS, burst: CALLS}}.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-request-throttling.html
    """
    most = parameters["maximumRate"]
    limits = section(stage.props.get("defaultRouteSettings"))
    if 0 <= limits.get("throttlingRateLimit", -1) <= most and limits.get("throttlingBurstLimit", -1) >= 0:
        return
    for each in stack:
        if each.resource_type == METHOD_SETTINGS and refers(each, "stageName", stage, "stageName"):
            settings = section(each.props.get("settings"))
            rate, burst = settings.get("throttlingRateLimit", -1), settings.get("throttlingBurstLimit", -1)
            if each.props.get("methodPath") == "*/*" and 0 <= rate <= most and burst >= 0:
                return
    if stage.resource_type == STAGE:
        yield f"No method settings for */* limit burst and rate, the rate to {most:.0f} calls a second at most."
    else:
        yield f"defaultRouteSettings do not limit burst and rate, the rate to {most:.0f} calls a second at most."


def refers(resource: PolicyResource, key: str, other: PolicyResource, name: str) -> bool:
    """Whether a property is the name of another resource, by its dependencies or by its value."""
    made_from = resource.property_dependencies.get(key)
    if made_from:
        return other.urn in [each.urn for each in made_from]
    return bool(resource.props[key] == other.props[name])


@resource_rule(*DOMAINS, level=MANDATORY, severity=MEDIUM, ids=("CKV_AWS_206",))
def api_domain_tls(domain: ResourceValidationArgs, _: Parameters) -> Iterator[str]:
    """A domain name takes TLS 1.2 or newer only.

    Fix: Set api: {domain: {securityPolicy: TLS_1_2}}.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-custom-domain-tls-version.html
    """
    configuration = section(domain.props.get("domainNameConfiguration"))
    policy = configuration.get("securityPolicy", domain.props.get("securityPolicy"))
    if policy in (None, "TLS_1_0"):
        yield f"securityPolicy is {policy or 'not set'}."


@resource_rule(
    METHOD,
    ROUTE,
    FUNCTION_URL,
    level=ADVISORY,
    severity=MEDIUM,
    ids=("APIGateway.8", "CKV_AWS_59", "CKV_AWS_258", "CKV_AWS_309"),
    parameters={"publicMethods": texts(["OPTIONS"])},
)
def endpoint_authorization(endpoint: ResourceValidationArgs, parameters: Parameters) -> Iterator[str]:
    """Callers sign their requests, show a token or send an API key.

    Advisory by default: an endpoint may be public on purpose.

    Fix: Leave public out of the stack file, or name the method in the parameter publicMethods.
    https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-control-access-to-api.html
    """
    props = endpoint.props
    open_ = "NONE" in (props.get("authorization"), props.get("authorizationType")) and not props.get("apiKeyRequired")
    # A route key is a method and a path, or $default, which is any method.
    key = props.get("routeKey", "").partition(" ")
    method = props["httpMethod"] if endpoint.resource_type == METHOD else key[0] if key[1] else "ANY"
    if open_ and endpoint.resource_type != FUNCTION_URL and method not in parameters["publicMethods"]:
        yield f"Authorization is NONE: anyone may call {method}."
    elif open_ and endpoint.resource_type == FUNCTION_URL and "ANY" not in parameters["publicMethods"]:
        # The provider's own statements: https://github.com/hashicorp/terraform-provider-aws/pull/44858
        yield "Authorization is NONE: anyone may call ANY. The provider adds statements that outlast the URL."


def unread(configuration: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The unknown rules and parameters of a pack's configuration, one line each, with what is allowed."""
    known = {rule.name: list(rule.config_schema.properties) if rule.config_schema else [] for rule in RULES}
    wrong = []
    for name, values in configuration.items():
        if name not in known and name != "all":
            wrong.append(f"{name}: there is no such rule; there are all, {', '.join(known)}.")
            continue
        parameters = known.get(name, [])
        wrong += [
            f"{name}.{key}: {value!r} given, but there is no such parameter; there are "
            f"{', '.join(['enforcementLevel', *parameters])}."
            for key, value in values.items()
            if key not in parameters
        ]
    return wrong
