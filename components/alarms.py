"""CloudWatch alarms of a Lambda function."""

from collections.abc import Mapping
from typing import Annotated

import pulumi
import pulumi_aws as aws

from components.called import Called
from components.limits import TopicArn
from components.model import Model, Share, Whole, allowed

PERIOD_SECONDS = 60
MILLISECONDS = 1000


class Alarms(Model):
    """CloudWatch alarms of a function. https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html."""

    errors: Annotated[Whole, allowed("a whole number of failed calls a minute", 1, ge=1)] = 1
    """Failed calls a minute that raise an alarm."""
    throttles: Annotated[Whole, allowed("a whole number of refused calls a minute", 1, ge=1)] = 1
    """Refused calls a minute that raise an alarm."""
    duration: Annotated[Share, allowed("a number above 0, up to 1", 0.9, gt=0, le=1)] = 0.9
    """Part of the timeout that a call may take before an alarm is raised."""
    queue_age: Annotated[Whole, allowed("a whole number of seconds, 1 or more", 300, ge=1)] = 300
    """Age in seconds of the oldest message of a `queue` trigger that raises an alarm. A queue of another account has
    its metrics there, and needs an alarm there.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html"""
    topic: TopicArn | None = None
    """SNS topic that receives the alarms. Default: a new topic."""


def create_alarms(
    alarms: Alarms, called: Called, *, timeout: int, queues: Mapping[str, pulumi.Input[str]]
) -> pulumi.Output[str]:
    """Create the alarms of a function and, unless `alarms` names one, the topic. Returns the topic's ARN.

    Args:
        alarms: their thresholds and topic.
        called: the function to watch.
        timeout: the function's, in seconds.
        queues: ARNs of the queues it reads, by names of their triggers.
    """
    name, opts = called.prefix, called.opts
    topic = pulumi.Output.from_input(alarms.topic) if alarms.topic else aws.sns.Topic(f"{name}-alarms", opts=opts).arn

    def watch(
        suffix: str, metric: str, statistic: str, threshold: float, queue: pulumi.Output[str] | None = None
    ) -> None:
        aws.cloudwatch.MetricAlarm(
            f"{name}-{suffix}",
            alarm_description=f"{metric} of the Lambda function"
            if queue is None
            else pulumi.Output.concat(metric, " of the queue ", queue),
            namespace="AWS/Lambda" if queue is None else "AWS/SQS",
            metric_name=metric,
            dimensions={"FunctionName": called.function.name} if queue is None else {"QueueName": queue},
            statistic=statistic,
            period=PERIOD_SECONDS,
            evaluation_periods=1,
            comparison_operator="GreaterThanOrEqualToThreshold",
            threshold=threshold,
            # A function that nobody calls is fine, and so is an empty queue.
            treat_missing_data="notBreaching",
            alarm_actions=[topic],
            opts=opts,
        )

    watch("errors", "Errors", "Sum", float(alarms.errors))
    watch("throttles", "Throttles", "Sum", float(alarms.throttles))
    watch("duration", "Duration", "Maximum", timeout * MILLISECONDS * alarms.duration)
    for trigger, arn in queues.items():
        queue = pulumi.Output.from_input(arn).apply(lambda known: known.rpartition(":")[2])
        watch(f"queue-{trigger}-age", "ApproximateAgeOfOldestMessage", "Maximum", float(alarms.queue_age), queue)
    return topic
