"""What calls a function by itself: schedules, queues, topics and events, each with its right and its failure path.

Queues and topics are named by ARN and not created. The ARN may be an output of another resource; its rules are checked
when it is known. A trigger calls the alias `live` if the function has a release.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import pulumi
import pulumi_aws as aws
from pydantic import AfterValidator, ValidationInfo, field_validator

from components import iam
from components.called import Called
from components.expressions import checked_expression, checked_filter, checked_pattern, checked_time_zone
from components.limits import AT, FAILED, KmsKeyArn, Switch, TopicArn, arn, regional_arn, within
from components.model import ByType, Late, Model, Whole, allowed, rule

QUEUE = "[a-zA-Z0-9_-]+"
QueueArn = Annotated[str, regional_arn("the ARN of an SQS queue", "sqs", rf"{QUEUE}(\.fifo)?", "orders")]
# SNS, EventBridge and Scheduler send to standard queues only.
# https://docs.aws.amazon.com/sns/latest/dg/sns-dead-letter-queues.html
# https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
# https://docs.aws.amazon.com/scheduler/latest/UserGuide/configuring-schedule-dlq.html
DeadLetterArn = Annotated[str, regional_arn("the ARN of an SQS queue that is not FIFO", "sqs", QUEUE, "failed")]
# https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html
DESTINATION = f"(sqs|sns):{AT}:{QUEUE}|lambda:{AT}:function:[a-zA-Z0-9_:-]+|events:{AT}:event-bus/[a-zA-Z0-9_./-]+"
SuccessArn = Annotated[
    str,
    arn(
        "the ARN of an SQS queue, an SNS topic (neither FIFO), a Lambda function or an event bus",
        f"({DESTINATION})",
        "arn:aws:sqs:us-east-1:222222222222:done",
    ),
]
FailureArn = Annotated[
    str,
    arn(
        "the ARN of an SQS queue, an SNS topic (neither FIFO), a Lambda function, an event bus or an S3 bucket",
        rf"({DESTINATION}|s3:::[a-z0-9.-]+)",
        FAILED,
    ),
]

# https://docs.aws.amazon.com/lambda/latest/api/API_CreateEventSourceMapping.html
BATCH = range(1, 10_000 + 1)
BATCH_WITHOUT_WINDOW = 10
WINDOW_SECONDS = range(300 + 1)
CONCURRENCY = range(2, 1_000 + 1)
# https://docs.aws.amazon.com/lambda/latest/api/API_PutFunctionEventInvokeConfig.html
ASYNC_RETRIES = range(2 + 1)
ASYNC_SECONDS = range(60, 21_600 + 1)
# https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_RetryPolicy.html
RETRIES = range(185 + 1)
RETRY_SECONDS = range(60, 86_400 + 1)


class Trigger(Model):
    """What all triggers have."""

    name: Annotated[
        str,
        allowed("1 to 30 letters, digits and -, with a letter first", "orders", pattern="^[a-zA-Z][a-zA-Z0-9-]{0,29}$"),
    ]
    """Name of the trigger, part of the names of its resources. A new name replaces them."""


class Delivery(Trigger):
    """How often a service tries to hand an event to Lambda, which then calls the function asynchronously."""

    retries: Annotated[Whole, within(RETRIES, "retries")] = RETRIES[-1]
    """Number of retries if Lambda does not accept the event."""
    maximum_age: Annotated[Whole, within(RETRY_SECONDS, "seconds")] = RETRY_SECONDS[-1]
    """Seconds during which it is retried."""
    dead_letter: DeadLetterArn | pulumi.Output[str] | None = None
    """Queue for events that Lambda did not accept. `asynchronous` configures events on which the function fails. Except
    for a schedule, the queue's policy must allow the service to send: see the output `triggerPolicies`."""


class ScheduleTrigger(Delivery):
    """A schedule of EventBridge Scheduler, with a role of its own that may call the function and nothing else.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html
    """

    type: Annotated[Literal["schedule"], allowed("schedule, queue, topic or events", "schedule")] = "schedule"
    """Type of the trigger: a schedule, an SQS queue, an SNS topic, or events of EventBridge."""
    expression: Annotated[
        str, AfterValidator(checked_expression), allowed("a rate or a cron expression", "cron(0 8 ? * MON-FRI *)")
    ]
    """When the function is called: `rate(5 minutes)`, or `cron(minutes hours day-of-month month day-of-week year)`."""
    time_zone: Annotated[
        str,
        AfterValidator(checked_time_zone),
        allowed("the name of a time zone", "Europe/Berlin", min_length=1, max_length=50),
    ] = "UTC"
    """Time zone of a cron expression, with its daylight saving time."""
    input: Annotated[Mapping[str, Any] | None, allowed("an event", {"task": "clean-up"})] = None
    """Event that the function gets. Default: Scheduler's own."""


class QueueTrigger(Trigger):
    """An SQS queue whose messages Lambda reads and hands to the function.

    Messages on which the function fails go back to the queue, whose redrive policy says where they go in the end. The
    queue's visibility timeout should be six times the function's timeout, which nothing here can check.
    https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    """

    type: Annotated[Literal["queue"], allowed("schedule, queue, topic or events", "queue")] = "queue"
    """Type of the trigger: a schedule, an SQS queue, an SNS topic, or events of EventBridge."""
    queue: QueueArn | pulumi.Output[str]
    """Queue to read, in the function's Region. In another account, its policy must allow this: see the output
    `triggerPolicies`."""
    window: Annotated[Whole, within(WINDOW_SECONDS, "seconds")] = 0
    """Seconds during which messages are collected for one call."""
    batch_size: Annotated[Whole, within(BATCH, "messages")] = 10
    """Maximum number of messages in one call; more than 10 require `window`."""
    partial_failures: Switch = False
    """Whether the function answers with `batchItemFailures`, the messages on which it failed. Otherwise all messages of
    a call that fails are read again."""
    maximum_concurrency: Annotated[Whole | None, within(CONCURRENCY, "calls")] = None
    """Maximum number of concurrent calls for the queue. Default: that of the function."""
    kms_key: KmsKeyArn | pulumi.Output[str] | None = None
    """Customer managed KMS key that encrypts the queue. The function's role may then decrypt with it."""

    @field_validator("window", "batch_size")
    @classmethod
    def _of_fifo(cls, value: int, info: ValidationInfo) -> int:
        is_fifo = _text(info.data.get("queue")).endswith(".fifo")
        if info.field_name == "window" and is_fifo and value:
            raise rule("must be 0: a FIFO queue has no window")
        if info.field_name == "batch_size" and value > BATCH_WITHOUT_WINDOW:
            if is_fifo:
                raise rule(f"must be at most {BATCH_WITHOUT_WINDOW} for a FIFO queue")
            if info.data.get("window") == 0:
                raise rule(f"must be at most {BATCH_WITHOUT_WINDOW}, or `window` at least 1")
        return value


class TopicTrigger(Trigger):
    """An SNS topic whose messages call the function asynchronously.

    https://docs.aws.amazon.com/lambda/latest/dg/with-sns.html
    """

    type: Annotated[Literal["topic"], allowed("schedule, queue, topic or events", "topic")] = "topic"
    """Type of the trigger: a schedule, an SQS queue, an SNS topic, or events of EventBridge."""
    topic: TopicArn | pulumi.Output[str]
    """Topic to subscribe to; a FIFO topic cannot call a function. In another account, its policy must allow this: see
    the output `triggerPolicies`."""
    filter_scope: Annotated[
        Literal["MessageAttributes", "MessageBody"],
        allowed("MessageAttributes or MessageBody", "MessageBody"),
    ] = "MessageAttributes"
    """What the filter is applied to."""
    filter: Annotated[Mapping[str, Any] | None, allowed("a filter policy", {"kind": ["order"]})] = None
    """Messages that call the function. Default: all.
    https://docs.aws.amazon.com/sns/latest/dg/sns-subscription-filter-policies.html"""
    dead_letter: DeadLetterArn | pulumi.Output[str] | None = None
    """Queue for messages that Lambda did not accept, in the topic's Region and the function's account. Its policy must
    allow SNS to send: see the output `triggerPolicies`."""

    @field_validator("topic")
    @classmethod
    def _standard(cls, topic: Late) -> Late:
        if _text(topic).endswith(".fifo"):
            raise rule("is a FIFO topic, which sends to queues only. Let it send to a queue, and use a queue trigger")
        return topic

    @field_validator("filter")
    @classmethod
    def _filter(cls, policy: Mapping[str, Any] | None, info: ValidationInfo) -> Mapping[str, Any] | None:
        return policy if policy is None else checked_filter(policy, str(info.data.get("filter_scope")))

    @field_validator("dead_letter")
    @classmethod
    def _same_region(cls, queue: Late | None, info: ValidationInfo) -> Late | None:
        ours, others = (_text(arn).split(":")[3:4] for arn in (info.data.get("topic"), queue))
        if ours and others and ours != others:
            raise rule(f"must be in the topic's Region, {ours[0]}")
        return queue


class EventsTrigger(Delivery):
    """Events of an EventBridge bus that match a pattern.

    https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-event-patterns.html
    """

    type: Annotated[Literal["events"], allowed("schedule, queue, topic or events", "events")] = "events"
    """Type of the trigger: a schedule, an SQS queue, an SNS topic, or events of EventBridge."""
    pattern: Annotated[
        Mapping[str, Any],
        AfterValidator(checked_pattern),
        allowed("an event pattern", {"source": ["orders"], "detail-type": ["created"]}),
    ]
    """Events that call the function."""
    bus: Annotated[str, allowed("the name of an event bus", "default", pattern=r"^[a-zA-Z0-9_./-]{1,256}$")] = "default"
    """Name of the event bus, in the function's account and Region."""


AnyTrigger = Annotated[
    ScheduleTrigger | QueueTrigger | TopicTrigger | EventsTrigger,
    ByType(),
    allowed(
        "a section with a type: schedule, queue, topic or events",
        {"type": "queue", "name": "orders", "queue": "arn:aws:sqs:us-east-1:222222222222:orders"},
    ),
]


class Asynchronous(Model):
    """What becomes of asynchronous calls: those of schedules, topics, events and of callers that do not wait.

    https://docs.aws.amazon.com/lambda/latest/dg/invocation-async.html
    """

    retries: Annotated[Whole, within(ASYNC_RETRIES, "retries")] = ASYNC_RETRIES[-1]
    """Number of retries of a failed call."""
    maximum_age: Annotated[Whole, within(ASYNC_SECONDS, "seconds")] = ASYNC_SECONDS[-1]
    """Maximum age of an event in seconds."""
    on_success: SuccessArn | pulumi.Output[str] | None = None
    """Destination of the event and the function's answer."""
    on_failure: FailureArn | pulumi.Output[str] | None = None
    """Destination of the event and the function's last error. `deadLetter` gets only the event."""


Options = TypeVar("Options", bound=Model)
Triggers = TypeVar("Triggers", bound=Trigger)


def known(options: Options) -> pulumi.Output[Options]:
    """The same options, checked again when the values that are outputs of other resources are known."""
    late = {name: value for name, value in options.options().items() if isinstance(value, pulumi.Output)}
    if not late:
        return pulumi.Output.from_input(options)
    return pulumi.Output.all(**late).apply(lambda values: type(options)(**{**options.options(), **values}))


def _arn(options: Model, name: str) -> pulumi.Output[str]:
    """An ARN of some options, when it is known and checked."""
    return known(options).apply(lambda checked: str(getattr(checked, name)))


def _text(value: Any) -> str:
    """A value that is known already, as text."""
    return value if isinstance(value, str) else ""


def require_distinct(triggers: Sequence[Triggers]) -> Sequence[Triggers]:
    """Check that no two triggers have the same name, queue or topic: AWS has one mapping or subscription for each."""
    for option in ("name", "queue", "topic"):
        seen: set[Late] = set()
        for index, trigger in enumerate(triggers):
            value = getattr(trigger, option, None)
            if value in seen:
                raise rule("is also used by another trigger", index, option)
            seen |= set() if value is None else {value}
    return triggers


# Resources with the statement that the policy of each must have; None if none is required.
Grants = list[pulumi.Output[tuple[str, iam.Statement] | None]]


def create_triggers(triggers: Sequence[Trigger], called: Called) -> pulumi.Output[Mapping[str, str] | None]:
    """Create the triggers of one function.

    Returns:
        By ARN of a queue or topic, the policy whose statements its owner adds; None if there are none.
    """
    granted: Grants = []
    for trigger in triggers:
        name = f"{called.prefix}-{getattr(trigger, 'type', '')}-{trigger.name}"
        if isinstance(trigger, ScheduleTrigger):
            _schedule(name, trigger, called)
        elif isinstance(trigger, QueueTrigger):
            granted += _queue(name, trigger, called)
        elif isinstance(trigger, TopicTrigger):
            granted += _topic(name, trigger, called)
        elif isinstance(trigger, EventsTrigger):
            granted += _events(name, trigger, called)
    return pulumi.Output.all(*granted).apply(_policies)


def _policies(granted: Iterable[tuple[str, iam.Statement] | None]) -> Mapping[str, str] | None:
    statements: dict[str, list[iam.Statement]] = {}
    for resource, statement in filter(None, granted):
        statements.setdefault(resource, []).append(statement)
    return {arn: json.dumps(iam.document(*found)) for arn, found in sorted(statements.items())} or None


def _schedule(name: str, trigger: ScheduleTrigger, called: Called) -> None:
    dead_letter = _arn(trigger, "dead_letter") if trigger.dead_letter is not None else None
    role = aws.iam.Role(
        f"{name}-role",
        assume_role_policy=called.function.arn.apply(lambda arn: json.dumps(iam.scheduler_trust_policy(arn))),
        permissions_boundary=called.boundary,
        tags=called.tags or None,
        opts=called.opts,
    )
    rights = aws.iam.RolePolicy(
        f"{name}-role-policy",
        role=role.name,
        policy=pulumi.Output.all(called.arn, dead_letter).apply(lambda arns: json.dumps(iam.scheduler_policy(*arns))),
        opts=called.opts,
    )
    target: aws.scheduler.ScheduleTargetArgsDict = {
        "arn": called.arn,
        "role_arn": role.arn,
        "retry_policy": {
            "maximum_retry_attempts": trigger.retries,
            "maximum_event_age_in_seconds": trigger.maximum_age,
        },
    }
    if trigger.input is not None:
        target["input"] = json.dumps(trigger.input)
    if dead_letter is not None:
        target["dead_letter_config"] = {"arn": dead_letter}
    aws.scheduler.Schedule(
        name,
        schedule_expression=trigger.expression,
        schedule_expression_timezone=trigger.time_zone,
        flexible_time_window={"mode": "OFF"},
        target=target,
        opts=called.after(rights),
    )


def _queue(name: str, trigger: QueueTrigger, called: Called) -> Grants:
    queue = _arn(trigger, "queue")
    aws.lambda_.EventSourceMapping(
        name,
        event_source_arn=queue,
        function_name=called.arn,
        batch_size=trigger.batch_size,
        maximum_batching_window_in_seconds=trigger.window,
        function_response_types=["ReportBatchItemFailures"] if trigger.partial_failures else None,
        scaling_config={"maximum_concurrency": trigger.maximum_concurrency} if trigger.maximum_concurrency else None,
        opts=called.after(called.rights),
    )

    def grant(arns: Sequence[str]) -> tuple[str, iam.Statement] | None:
        queue, role, function = arns
        is_foreign = queue.split(":")[4] != function.split(":")[4]
        return (queue, iam.role_polls(role, queue)) if is_foreign else None

    return [pulumi.Output.all(queue, called.role.arn, called.function.arn).apply(grant)]


def _topic(name: str, trigger: TopicTrigger, called: Called) -> Grants:
    topic = _arn(trigger, "topic")
    dead_letter = _arn(trigger, "dead_letter") if trigger.dead_letter is not None else None
    permission = called.permission(f"{name}-permission", "sns.amazonaws.com", source_arn=topic)
    aws.sns.TopicSubscription(
        name,
        topic=topic,
        protocol="lambda",
        endpoint=called.arn,
        filter_policy=json.dumps(trigger.filter) if trigger.filter is not None else None,
        filter_policy_scope=trigger.filter_scope if trigger.filter is not None else None,
        redrive_policy=None if dead_letter is None else pulumi.Output.json_dumps({"deadLetterTargetArn": dead_letter}),
        opts=called.after(permission),
    )

    def grant(arns: Sequence[str]) -> tuple[str, iam.Statement] | None:
        topic, function, endpoint = arns
        region, account = function.split(":")[3:5]
        if topic.split(":")[4] == account:
            return None
        return topic, iam.account_subscribes(iam.account_arn(account, region), endpoint, topic)

    grants: Grants = [pulumi.Output.all(topic, called.function.arn, called.arn).apply(grant)]
    if dead_letter is not None:
        grants.append(pulumi.Output.all(dead_letter, topic).apply(lambda arns: _sends("sns", *arns)))
    return grants


def _sends(service: str, queue: str, source: str) -> tuple[str, iam.Statement] | None:
    return queue, iam.service_sends(f"{service}.amazonaws.com", source, queue)


def _events(name: str, trigger: EventsTrigger, called: Called) -> Grants:
    dead_letter = _arn(trigger, "dead_letter") if trigger.dead_letter is not None else None
    bus = trigger.bus if trigger.bus != "default" else None
    watched = aws.cloudwatch.EventRule(
        name, event_bus_name=bus, event_pattern=json.dumps(trigger.pattern), opts=called.opts
    )
    permission = called.permission(f"{name}-permission", "events.amazonaws.com", source_arn=watched.arn)
    aws.cloudwatch.EventTarget(
        f"{name}-target",
        rule=watched.name,
        target_id=trigger.name,
        event_bus_name=bus,
        arn=called.arn,
        retry_policy={
            "maximum_retry_attempts": trigger.retries,
            "maximum_event_age_in_seconds": trigger.maximum_age,
        },
        dead_letter_config={"arn": dead_letter} if dead_letter is not None else None,
        opts=called.after(permission),
    )
    if dead_letter is None:
        return []
    return [pulumi.Output.all(dead_letter, watched.arn).apply(lambda arns: _sends("events", *arns))]


def configure_asynchronous(settings: Asynchronous, called: Called) -> None:
    """Set what becomes of a function's asynchronous calls."""
    destinations: aws.lambda_.FunctionEventInvokeConfigDestinationConfigArgsDict = {}
    if settings.on_success is not None:
        destinations["on_success"] = {"destination": _arn(settings, "on_success")}
    if settings.on_failure is not None:
        destinations["on_failure"] = {"destination": _arn(settings, "on_failure")}
    aws.lambda_.FunctionEventInvokeConfig(
        f"{called.prefix}-asynchronous",
        function_name=called.function.name,
        qualifier=called.qualifier,
        maximum_retry_attempts=settings.retries,
        maximum_event_age_in_seconds=settings.maximum_age,
        destination_config=destinations or None,
        opts=called.after(called.rights),
    )
