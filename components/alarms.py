"""CloudWatch alarms of a Lambda function."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.errors import InvalidArgument

NAMESPACE = "AWS/Lambda"
PERIOD_SECONDS = 60
MILLISECONDS = 1000


@dataclass(frozen=True, kw_only=True)
class Alarms:
    """When to be told, and where.

    https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html

    Attributes:
        errors: failed calls a minute from which on an alarm is raised. Default 1.
        throttles: refused calls a minute from which on an alarm is raised. Default 1.
        duration: part of the timeout that a call may take before an alarm is raised, more than 0, up to 1. Default 0.9.
        topic: ARN of the SNS topic that is told. Default: one is made.

    Raises:
        InvalidArgument: a number out of bounds.
    """

    errors: int = 1
    throttles: int = 1
    duration: float = 0.9
    topic: str = ""

    def __post_init__(self) -> None:
        if self.errors < 1 or self.throttles < 1 or not 0 < self.duration <= 1:
            raise InvalidArgument(
                f"Alarms: errors={self.errors}, throttles={self.throttles}, duration={self.duration} given; allowed "
                "are 1 or more calls, and a part of the timeout above 0 and up to 1. Example: Alarms(errors=5)"
            )


def make_alarms(
    name: str, alarms: Alarms, function_name: pulumi.Input[str], timeout: int, opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Make the alarms of one function, and the topic if there is none. Returns the topic's ARN.

    Args:
        name: beginning of the resources' names.
        alarms: when to be told.
        function_name: the function to watch.
        timeout: the function's, in seconds.
        opts: of every resource.
    """
    topic = pulumi.Output.from_input(alarms.topic) if alarms.topic else aws.sns.Topic(f"{name}-alarms", opts=opts).arn
    watched = (
        ("errors", "Errors", "Sum", float(alarms.errors)),
        ("throttles", "Throttles", "Sum", float(alarms.throttles)),
        ("duration", "Duration", "Maximum", timeout * MILLISECONDS * alarms.duration),
    )
    for suffix, metric, statistic, threshold in watched:
        aws.cloudwatch.MetricAlarm(
            f"{name}-{suffix}",
            alarm_description=f"{metric} of the Lambda function",
            namespace=NAMESPACE,
            metric_name=metric,
            dimensions={"FunctionName": function_name},
            statistic=statistic,
            period=PERIOD_SECONDS,
            evaluation_periods=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=threshold,
            # A function that nobody calls is fine.
            treat_missing_data="notBreaching",
            alarm_actions=[topic],
            opts=opts,
        )
    return topic
