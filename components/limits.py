"""Types and limits of options that several models share."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from components.model import allowed, no_switch

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MEMORY_MB = range(128, 10_240 + 1)
TIMEOUT_SECONDS = range(1, 900 + 1)
STORAGE_MB = range(512, 10_240 + 1)
ENVIRONMENT_BYTES = 4096

# An image has at most 10 GB. A context of more than a fifth of that is usually a mistake, so it must be allowed
# explicitly.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CONTEXT_MB = range(1, 10_240 + 1)
CONTEXT_LIMIT_MB = 2_048

# The retention periods that CloudWatch Logs allows.
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip

ON_OFF = allowed("true or false", True)
Switch = Annotated[bool, ON_OFF]
Retention = Annotated[
    Literal[RETENTION_DAYS],  # type: ignore[valid-type]  # the type is the table
    BeforeValidator(no_switch),
    allowed(f"one of {', '.join(map(str, RETENTION_DAYS))} days", 30),
]


def within(bounds: range, unit: str) -> Any:
    """The limits of a whole number."""
    rule = f"a whole number of {unit} from {bounds[0]} to {bounds[-1]}"
    return allowed(rule, bounds[0], ge=bounds[0], le=bounds[-1])


# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html
_ARN = r"arn:aws(-[a-z]+)*"
AT = "[a-z0-9-]+:[0-9]{12}"
_NAME = "[a-zA-Z0-9_+=,.@/-]+"


def arn(what: str, tail: str, example: str) -> Any:
    """The rule of an ARN; `tail` is a pattern for the part after the partition."""
    return allowed(what, example, pattern=rf"^{_ARN}:{tail}$")


def regional_arn(what: str, service: str, resource: str, example: str) -> Any:
    """The rule of an ARN with a Region and an account; `resource` is a pattern for the part after the account."""
    return arn(what, f"{service}:{AT}:{resource}", f"arn:aws:{service}:us-east-1:222222222222:{example}")


def _digits(value: Any) -> Any:
    """Convert an account ID without quotes, which YAML reads as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


AccountId = Annotated[
    str,
    BeforeValidator(_digits),
    allowed("an AWS account ID, 12 digits in quotes", "222222222222", pattern=r"^[0-9]{12}$"),
]
Region = Annotated[str, allowed("an AWS Region", "us-east-1", pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$")]
# A principal supports no wildcard except a single *, which means everyone.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_principal.html
RoleArn = Annotated[
    str, arn("the ARN of a role", f"iam::[0-9]{{12}}:role/{_NAME}", "arn:aws:iam::222222222222:role/deployer")
]
PrincipalArn = Annotated[
    str, arn("the ARN of a principal", f"(iam|sts)::[0-9]{{12}}:{_NAME}", "arn:aws:iam::222222222222:role/publisher")
]
PolicyArn = Annotated[
    str,
    arn("the ARN of a policy", f"iam::(aws|[0-9]{{12}}):policy/{_NAME}", "arn:aws:iam::222222222222:policy/boundary"),
]
UUID = "1234abcd-12ab-34cd-56ef-1234567890ab"
KmsKeyArn = Annotated[str, regional_arn("the ARN of a KMS key", "kms", "key/[a-zA-Z0-9-]+", f"key/{UUID}")]
TopicArn = Annotated[str, regional_arn("the ARN of an SNS topic", "sns", "[a-zA-Z0-9_.-]+", "alarms")]
FAILED = "arn:aws:sqs:us-east-1:222222222222:failed"
TargetArn = Annotated[str, arn("the ARN of an SQS queue or an SNS topic", f"(sqs|sns):{AT}:[a-zA-Z0-9_.-]+", FAILED)]
# The execution role may read what these ARNs name, so a wildcard is not allowed.
SecretArn = Annotated[
    str,
    arn(
        "the ARN of a Secrets Manager secret or an SSM parameter",
        f"(secretsmanager:{AT}:secret:|ssm:{AT}:parameter/)[a-zA-Z0-9/_+=.@-]+",
        "arn:aws:secretsmanager:us-east-1:222222222222:secret:database",
    ),
]
