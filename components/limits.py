"""Bounds that AWS sets, in one place for components and settings."""

from components.errors import InvalidArgument

# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
MEMORY_MB = range(128, 10_240 + 1)
TIMEOUT_SECONDS = range(1, 900 + 1)
STORAGE_MB = range(512, 10_240 + 1)
ENVIRONMENT_BYTES = 4096

# An image has at most 10 GB, and the context is rarely meant to be a fifth of it: whoever sends more says so.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
CONTEXT_MB = range(1, 10_240 + 1)
CONTEXT_LIMIT_MB = 2_048

# The retention periods that CloudWatch Logs knows.
# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip


def require_retention(what: str, days: int) -> None:
    """Check a retention period.

    Raises:
        InvalidArgument: CloudWatch Logs does not know it.
    """
    if days not in RETENTION_DAYS:
        raise InvalidArgument(
            f"{what}: {days} given; allowed are {', '.join(map(str, RETENTION_DAYS))} days. Example: retention=30"
        )
