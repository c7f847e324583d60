"""What calls a function by itself, as it is registered with the engine, and what is refused before."""

import json
from collections.abc import Callable, Set
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from pydantic_core import PydanticCustomError

from components.alarms import Alarms
from components.errors import InvalidArgument, InvalidConfiguration
from components.function import ImageFunction, ImageFunctionArgs
from components.image.source import ExistingImage
from components.model import Late
from components.triggers import (
    Asynchronous,
    EventsTrigger,
    QueueTrigger,
    ScheduleTrigger,
    TopicTrigger,
    known,
    require_distinct,
)
from tests.unit.conftest import Deploy, Run
from tests.unit.recorder import DIGEST, PROJECT, Recorder
from tests.unit.registered import Deployed, lets, may, read, run_program, stack_file

EXISTING = {"digest": DIGEST}
ARN = "arn:aws:lambda:us-east-1:222222222222:function:cross-account-function"
ROLE_ARN = "arn:aws:iam::222222222222:role/function-role"
SQS, SNS = "arn:aws:sqs:us-east-1:222222222222", "arn:aws:sns:us-east-1:222222222222"
FAILED = f"{SQS}:failed"
KEY = "arn:aws:kms:us-east-1:222222222222:key/1234abcd-12ab-34cd-56ef-1234567890ab"
MAPPING = "aws:lambda/eventSourceMapping:EventSourceMapping"
SUBSCRIPTION = "aws:sns/topicSubscription:TopicSubscription"
RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
SCHEDULE, ASYNCHRONOUS = (
    "aws:scheduler/schedule:Schedule",
    "aws:lambda/functionEventInvokeConfig:FunctionEventInvokeConfig",
)
PERMISSION, ROLE, ROLE_POLICY = "aws:lambda/permission:Permission", "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"

ORDERS: dict[str, Any] = {"type": "queue", "name": "orders", "queue": f"{SQS}:orders"}
NEWS: dict[str, Any] = {"type": "topic", "name": "news", "topic": f"{SNS}:news"}
NIGHTLY: dict[str, Any] = {"type": "schedule", "name": "nightly", "expression": "cron(0 3 * * ? *)"}
CREATED: dict[str, Any] = {"type": "events", "name": "created", "pattern": {"source": ["orders"]}}
ALL = [ORDERS, NEWS, NIGHTLY, CREATED]


def with_triggers(deploy: Deploy, *triggers: dict[str, Any], **function: Any) -> Deployed:
    return deploy("consumer", image=EXISTING, api={"type": "none"}, function={"triggers": list(triggers), **function})


def refusals(*triggers: dict[str, Any], **function: Any) -> list[str]:
    with pytest.raises(InvalidConfiguration) as refused:
        read(stack_file("consumer", function={"triggers": list(triggers), **function}))
    return [line.removeprefix(f"{PROJECT}:function.") for line in str(refused.value).split("\n  ")[1:]]


# ---- a queue


def test_a_queue_is_read_as_lambda_does_by_default(deploy: Deploy) -> None:
    done = with_triggers(deploy, ORDERS)
    mapping = done.one(MAPPING)
    assert mapping.name == "function-queue-orders"
    assert mapping.inputs == {
        "eventSourceArn": f"{SQS}:orders",
        "functionName": ARN,
        "batchSize": 10,
        "maximumBatchingWindowInSeconds": 0,
    }
    # Lambda checks the role when the queue is connected.
    assert "function-role-policy" in mapping.depends_on
    assert "triggerPolicies" not in {name for name, value in done.outputs.items() if value}


def test_the_options_of_a_queue(deploy: Deploy) -> None:
    options = {"batchSize": 1000, "window": 5, "partialFailures": True, "maximumConcurrency": 2}
    assert with_triggers(deploy, {**ORDERS, **options}).one(MAPPING).inputs == {
        "eventSourceArn": f"{SQS}:orders",
        "functionName": ARN,
        "batchSize": 1000,
        "maximumBatchingWindowInSeconds": 5,
        "functionResponseTypes": ["ReportBatchItemFailures"],
        "scalingConfig": {"maximumConcurrency": 2},
    }


@pytest.mark.parametrize("order", [1, -1])
def test_names_and_rights_are_the_same_in_whatever_order_triggers_are_listed(deploy: Deploy, order: int) -> None:
    queues = [{**ORDERS, "name": name, "queue": f"{SQS}:{name}"} for name in ("a", "b")][::order]
    done = with_triggers(deploy, *queues)
    assert {(one.name, one.inputs["eventSourceArn"]) for one in done.of(MAPPING)} == {
        ("function-queue-a", f"{SQS}:a"),
        ("function-queue-b", f"{SQS}:b"),
    }
    (policy,) = (json.loads(one.inputs["policy"]) for one in done.of(ROLE_POLICY))
    assert policy["Statement"][-1]["Resource"] == [f"{SQS}:a", f"{SQS}:b"]


def test_the_owner_of_a_foreign_queue_grants_the_role_to_read_it_and_nobody_else(deploy: Deploy) -> None:
    queue = "arn:aws:sqs:us-east-1:333333333333:orders"
    policies = with_triggers(deploy, {**ORDERS, "queue": queue}).outputs["triggerPolicies"]
    assert set(policies) == {queue}
    for action in ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"):
        assert lets(policies[queue], action, queue, caller=ROLE_ARN)
        assert not lets(policies[queue], action, queue, caller="arn:aws:iam::222222222222:role/other")
    assert not lets(policies[queue], "sqs:SendMessage", queue, caller=ROLE_ARN)


def test_the_age_of_the_oldest_message_of_each_queue_raises_an_alarm(deploy: Deploy) -> None:
    done = with_triggers(deploy, ORDERS, NEWS, alarms={"queueAge": 60})
    alarm = done.one(ALARM, namespace="AWS/SQS")
    assert alarm.name == "function-queue-orders-age"
    assert (
        alarm.inputs.items()
        >= {
            "metricName": "ApproximateAgeOfOldestMessage",
            "dimensions": {"QueueName": "orders"},
            "statistic": "Maximum",
            "threshold": 60,
            "alarmActions": ["arn:topic"],
        }.items()
    )
    assert len(done.of(ALARM)) == 4


# ---- a topic


def test_a_topic_may_call_the_function_before_it_is_subscribed_to(deploy: Deploy) -> None:
    done = with_triggers(deploy, NEWS)
    permission = done.one(PERMISSION)
    assert permission.inputs == {
        "function": "cross-account-function",
        "action": "lambda:InvokeFunction",
        "principal": "sns.amazonaws.com",
        "sourceArn": f"{SNS}:news",
    }
    subscription = done.one(SUBSCRIPTION)
    assert (permission.name, subscription.name) == ("function-topic-news-permission", "function-topic-news")
    assert subscription.inputs == {"topic": f"{SNS}:news", "protocol": "lambda", "endpoint": ARN}
    assert permission.name in subscription.depends_on


def test_a_topic_has_a_filter_and_a_dead_letter_queue(deploy: Deploy) -> None:
    policy = {"order": {"kind": ["new", {"prefix": "re"}]}}
    done = with_triggers(deploy, {**NEWS, "filter": policy, "filterScope": "MessageBody", "deadLetter": FAILED})
    inputs = done.one(SUBSCRIPTION).inputs
    assert json.loads(inputs["filterPolicy"]) == policy
    assert inputs["filterPolicyScope"] == "MessageBody"
    assert json.loads(inputs["redrivePolicy"]) == {"deadLetterTargetArn": FAILED}
    # SNS sends by the queue's policy, which is not this stack's.
    policies = done.outputs["triggerPolicies"]
    sns = {"service": "sns.amazonaws.com"}
    assert lets(policies[FAILED], "sqs:SendMessage", FAILED, keys={"aws:SourceArn": f"{SNS}:news"}, **sns)
    assert not lets(policies[FAILED], "sqs:SendMessage", FAILED, keys={"aws:SourceArn": f"{SNS}:other"}, **sns)


def test_the_owner_of_a_foreign_topic_grants_this_subscription_only(deploy: Deploy) -> None:
    topic = "arn:aws:sns:us-east-1:333333333333:news"
    policy = with_triggers(deploy, {**NEWS, "topic": topic}).outputs["triggerPolicies"][topic]
    caller, keys = "arn:aws:iam::222222222222:root", {"sns:Protocol": "lambda", "sns:Endpoint": ARN}
    assert lets(policy, "sns:Subscribe", topic, caller=caller, keys=keys)
    assert not lets(policy, "sns:Subscribe", topic, caller=caller, keys={**keys, "sns:Endpoint": f"{ARN}2"})
    assert not lets(policy, "sns:Publish", topic, caller=caller, keys=keys)


# ---- events


def test_events_call_the_function_by_a_rule_that_may(deploy: Deploy) -> None:
    done = with_triggers(deploy, {**CREATED, "bus": "shop", "retries": 3, "maximumAge": 600, "deadLetter": FAILED})
    rule, target, permission = done.one(RULE), done.one(TARGET), done.one(PERMISSION)
    arn = "arn:aws:events:us-east-1:222222222222:rule/function-events-created"
    assert rule.name == "function-events-created"
    assert rule.inputs == {"eventBusName": "shop", "eventPattern": '{"source": ["orders"]}'}
    assert permission.inputs.items() >= {"principal": "events.amazonaws.com", "sourceArn": arn}.items()
    assert target.inputs == {
        "rule": "function-events-created",
        "targetId": "created",
        "eventBusName": "shop",
        "arn": ARN,
        "retryPolicy": {"maximumRetryAttempts": 3, "maximumEventAgeInSeconds": 600},
        "deadLetterConfig": {"arn": FAILED},
    }
    assert permission.name in target.depends_on
    events = {"service": "events.amazonaws.com"}
    policy = done.outputs["triggerPolicies"][FAILED]
    assert lets(policy, "sqs:SendMessage", FAILED, keys={"aws:SourceArn": arn}, **events)
    assert not lets(policy, "sqs:SendMessage", FAILED, keys={"aws:SourceArn": f"{arn}2"}, **events)


def test_what_is_to_be_added_to_one_queue_is_one_policy(deploy: Deploy) -> None:
    triggers = [{**one, "deadLetter": FAILED} for one in (NEWS, CREATED)]
    policies = with_triggers(deploy, *triggers).outputs["triggerPolicies"]
    statements = json.loads(policies[FAILED])["Statement"]
    assert {one["Principal"]["Service"] for one in statements} == {"sns.amazonaws.com", "events.amazonaws.com"}


# ---- a schedule


def test_a_schedule_has_a_role_that_may_call_this_function_and_nothing_else(deploy: Deploy) -> None:
    done = with_triggers(
        deploy,
        {**NIGHTLY, "timeZone": "Europe/Berlin", "input": {"task": "tidy"}, "retries": 0, "deadLetter": FAILED},
        permissionsBoundary="arn:aws:iam::222222222222:policy/boundary",
        tags={"team": "orders"},
    )
    schedule, role = done.one(SCHEDULE), done.named("function-schedule-nightly-role")
    assert schedule.name == "function-schedule-nightly"
    assert schedule.inputs == {
        "scheduleExpression": "cron(0 3 * * ? *)",
        "scheduleExpressionTimezone": "Europe/Berlin",
        "flexibleTimeWindow": {"mode": "OFF"},
        "target": {
            "arn": ARN,
            "roleArn": "arn:aws:iam::222222222222:role/function-schedule-nightly-role",
            "input": '{"task": "tidy"}',
            "retryPolicy": {"maximumRetryAttempts": 0, "maximumEventAgeInSeconds": 86_400},
            "deadLetterConfig": {"arn": FAILED},
        },
    }
    # A deployer may be allowed to create roles with the boundary only.
    assert role.inputs["permissionsBoundary"] == "arn:aws:iam::222222222222:policy/boundary"
    assert role.inputs["tags"] == {"team": "orders"}
    policy = done.named("function-schedule-nightly-role-policy")
    assert policy.name in schedule.depends_on
    document = policy.inputs["policy"]
    assert may(document, "lambda:InvokeFunction", ARN)
    assert may(document, "sqs:SendMessage", FAILED)
    assert not may(document, "lambda:InvokeFunction", f"{ARN}:live")
    assert not may(document, "lambda:InvokeFunction", f"{ARN}2")
    trust = role.inputs["assumeRolePolicy"]
    group = "arn:aws:scheduler:us-east-1:222222222222:schedule-group/default"
    keys = {"aws:SourceAccount": "222222222222", "aws:SourceArn": group}
    assert lets(trust, "sts:AssumeRole", service="scheduler.amazonaws.com", keys=keys)
    for wrong in ({"aws:SourceAccount": "333333333333"}, {"aws:SourceArn": f"{group}2"}):
        assert not lets(trust, "sts:AssumeRole", service="scheduler.amazonaws.com", keys={**keys, **wrong})
    # Scheduler sends by its role; the queue has nothing to grant.
    assert not done.outputs.get("triggerPolicies")


def test_a_schedule_without_options_has_no_input_and_no_dead_letter_queue(deploy: Deploy) -> None:
    done = with_triggers(deploy, NIGHTLY)
    assert set(done.one(SCHEDULE).inputs["target"]) == {"arn", "roleArn", "retryPolicy"}
    assert not may(done.named("function-schedule-nightly-role-policy").inputs["policy"], "sqs:SendMessage", FAILED)


# ---- asynchronous calls


def test_asynchronous_calls_have_retries_an_age_and_destinations(deploy: Deploy) -> None:
    settings = {"retries": 0, "maximumAge": 60, "onSuccess": f"{SNS}:done", "onFailure": FAILED}
    done = with_triggers(deploy, asynchronous=settings)
    configured = done.one(ASYNCHRONOUS)
    assert configured.name == "function-asynchronous"
    assert configured.inputs == {
        "functionName": "cross-account-function",
        "maximumRetryAttempts": 0,
        "maximumEventAgeInSeconds": 60,
        "destinationConfig": {"onSuccess": {"destination": f"{SNS}:done"}, "onFailure": {"destination": FAILED}},
    }
    # Lambda checks the role's rights for the destinations.
    assert "function-role-policy" in configured.depends_on


# ---- ARNs of other resources of the program


def late(arn: str) -> Late:
    return pulumi.Output.from_input(arn)


def program(recorder: Recorder, arn: Callable[[str], Late], unknown: Set[str] | None = None) -> Deployed:
    """A program with all triggers, whose queues and topics are `arn` of their ARNs."""

    async def create() -> pulumi.Inputs:
        function = ImageFunction(
            "function",
            ImageFunctionArgs(
                image=ExistingImage(uri=f"it@{DIGEST}"),
                triggers=[
                    QueueTrigger(name="orders", queue=arn(f"{SQS}:orders"), kms_key=arn(KEY)),
                    QueueTrigger(name="others", queue=arn("arn:aws:sqs:us-east-1:333333333333:orders")),
                    TopicTrigger(name="news", topic=arn(f"{SNS}:news"), dead_letter=arn(FAILED)),
                    ScheduleTrigger(name="nightly", expression="rate(1 day)", dead_letter=arn(FAILED)),
                    EventsTrigger(name="created", pattern={"source": ["orders"]}, dead_letter=arn(FAILED)),
                ],
                asynchronous=Asynchronous(on_success=arn(f"{SNS}:done"), on_failure=arn(FAILED)),
                alarms=Alarms(),
            ),
        )
        return {"policies": function.trigger_policies}

    return run_program(recorder, create, unknown=unknown)


def test_an_arn_may_be_an_output_of_another_resource(recorder: Recorder) -> None:
    given, waited = program(recorder, lambda arn: arn), program(recorder, late)
    assert len(given.of(MAPPING)) == 2
    assert {one.name: one.inputs for one in waited.resources} == {one.name: one.inputs for one in given.resources}
    assert waited.outputs == given.outputs
    assert set(given.outputs["policies"]) == {"arn:aws:sqs:us-east-1:333333333333:orders", FAILED}


def test_a_preview_does_not_know_the_arn_of_a_queue_that_is_not_created_yet(recorder: Recorder) -> None:
    queue = "aws:sqs/queue:Queue"
    done = program(recorder, lambda arn: aws.sqs.Queue(arn.replace(":", "-")).arn, unknown={queue})
    assert done.of(MAPPING)
    assert done.of(SUBSCRIPTION)
    assert done.unknown == {"policies"}


@pytest.mark.parametrize(
    ("arn", "words"),
    [
        (f"{SNS}:news.fifo", "TopicTrigger.topic: is a FIFO topic"),
        (f"{SQS}:news", "TopicTrigger.topic: .* must be the ARN of an SNS topic"),
        ("arn:aws:sns:eu-west-1:222222222222:news", "TopicTrigger.dead_letter: must be in the topic's Region"),
    ],
)
def test_the_rules_hold_for_it_when_it_is_known(run: Run, arn: str, words: str) -> None:
    async def create() -> pulumi.Inputs:
        checked = known(TopicTrigger(name="news", topic=late(arn), dead_letter=late(FAILED)))
        return {"topic": checked.apply(lambda trigger: trigger.topic)}

    with pytest.raises(InvalidArgument, match=words):
        run(create)


def test_the_same_output_is_refused_for_two_triggers(run: Run) -> None:
    async def create() -> pulumi.Inputs:
        queue = late(f"{SQS}:orders")
        require_distinct([QueueTrigger(name=name, queue=queue) for name in ("first", "second")])
        return {}

    with pytest.raises(PydanticCustomError, match="is also used by another trigger"):
        run(create)


# ---- a release


def test_with_a_release_everything_calls_the_alias(deploy: Deploy) -> None:
    done = with_triggers(deploy, *ALL, release={"previousShare": 0}, asynchronous={})
    assert done.one(MAPPING).inputs["functionName"] == "arn:live"
    assert done.one(SUBSCRIPTION).inputs["endpoint"] == "arn:live"
    assert done.one(TARGET).inputs["arn"] == "arn:live"
    assert done.one(SCHEDULE).inputs["target"]["arn"] == "arn:live"
    assert may(
        done.named("function-schedule-nightly-role-policy").inputs["policy"], "lambda:InvokeFunction", "arn:live"
    )
    assert {one.inputs["qualifier"] for one in [*done.of(PERMISSION), done.one(ASYNCHRONOUS)]} == {"live"}


def test_without_triggers_nothing_is_added(deploy: Deploy) -> None:
    done = deploy("consumer", image=EXISTING)
    kinds = {one.type for one in done.resources}
    assert not kinds & {MAPPING, SUBSCRIPTION, RULE, TARGET, SCHEDULE, ASYNCHRONOUS}
    assert done.outputs["triggerPolicies"] is None


def test_all_triggers_belong_to_the_function(deploy: Deploy) -> None:
    done = with_triggers(deploy, *ALL, asynchronous={})
    mine = [one for one in done.resources if one.name.startswith(("function-", "function"))]
    assert {one.parent for one in mine if one.name != "function"} == {"function"}


# ---- what is refused


@pytest.mark.parametrize(
    ("trigger", "key", "words"),
    [
        ({**ORDERS, "type": "sqs"}, "triggers[0].type", '"sqs" is not allowed; it must be schedule, queue'),
        ({"name": "orders"}, "triggers[0].type", "is missing; it must be schedule"),
        ({**ORDERS, "name": "1"}, "triggers[0].name", "1 to 30 letters, digits and -, with a letter first"),
        ({**ORDERS, "name": "x" * 31}, "triggers[0].name", "1 to 30 letters"),
        ({**ORDERS, "queue": "orders"}, "triggers[0].queue", "the ARN of an SQS queue"),
        ({**ORDERS, "queue": f"{SQS}:*"}, "triggers[0].queue", "the ARN of an SQS queue"),
        ({**ORDERS, "batchSize": 11}, "triggers[0].batchSize", "must be at most 10, or `window` at least 1"),
        ({**ORDERS, "batchSize": 10_001, "window": 1}, "triggers[0].batchSize", "from 1 to 10000"),
        ({**ORDERS, "window": 301}, "triggers[0].window", "from 0 to 300"),
        ({**ORDERS, "queue": f"{SQS}:a.fifo", "window": 1}, "triggers[0].window", "a FIFO queue has no window"),
        ({**ORDERS, "queue": f"{SQS}:a.fifo", "batchSize": 11}, "triggers[0].batchSize", "at most 10 for a FIFO"),
        ({**ORDERS, "maximumConcurrency": 1}, "triggers[0].maximumConcurrency", "from 2 to 1000"),
        ({**ORDERS, "maximumConcurrency": 1001}, "triggers[0].maximumConcurrency", "from 2 to 1000"),
        ({**ORDERS, "topic": f"{SNS}:news"}, "triggers[0].topic", "is not an option; the options are name, type"),
        ({**NEWS, "topic": f"{SNS}:news.fifo"}, "triggers[0].topic", "is a FIFO topic, which sends to queues only"),
        ({**NEWS, "deadLetter": f"{FAILED}.fifo"}, "triggers[0].deadLetter", "an SQS queue that is not FIFO"),
        (
            {**NEWS, "deadLetter": FAILED.replace("us-east-1", "eu-west-1")},
            "triggers[0].deadLetter",
            "must be in the topic's Region, us-east-1",
        ),
        ({**NEWS, "filter": {"kind": "order"}}, "triggers[0].filter", "'kind' must be a list of values"),
        ({**NEWS, "filter": {"a": {"b": ["c"]}}}, "triggers[0].filter", "which only `filterScope` MessageBody allows"),
        ({**NEWS, "filter": {key: ["x"] for key in "abcdef"}}, "triggers[0].filter", "has 6 keys; SNS allows 5"),
        (
            {**NEWS, "filter": {"a": list(range(13)), "b": list(range(12))}},
            "triggers[0].filter",
            "has 156 combinations of values; SNS allows 150",
        ),
        ({**CREATED, "pattern": {}}, "triggers[0].pattern", "the pattern must be a list of values, or a section"),
        ({**CREATED, "pattern": {"source": "a"}}, "triggers[0].pattern", "'source' must be a list of values"),
        ({**CREATED, "pattern": {"detail": {"a": {}}}}, "triggers[0].pattern", "'detail.a' must be a list"),
        ({**CREATED, "pattern": {"$or": [{"source": "a"}]}}, "triggers[0].pattern", "'$or.source' must be a list"),
        ({**CREATED, "pattern": {"source": ["x" * 4096]}}, "triggers[0].pattern", "EventBridge allows 4096"),
        ({**CREATED, "bus": "a b"}, "triggers[0].bus", "the name of an event bus"),
        ({**CREATED, "retries": 186}, "triggers[0].retries", "from 0 to 185"),
        ({**CREATED, "maximumAge": 59}, "triggers[0].maximumAge", "from 60 to 86400"),
        ({**NIGHTLY, "timeZone": "Berlin"}, "triggers[0].timeZone", "'Berlin' is not a time zone"),
        ({**NIGHTLY, "timeZone": "../etc"}, "triggers[0].timeZone", "is not a time zone"),
        ({**NIGHTLY, "input": "text"}, "triggers[0].input", "must be an event"),
    ],
)  # fmt: skip
def test_a_wrong_trigger_is_refused(trigger: dict[str, Any], key: str, words: str) -> None:
    (line,) = refusals(trigger)
    assert line.startswith(f"{key}: ")
    assert words in line


@pytest.mark.parametrize(
    "expression",
    [
        "rate(1 minute)", "rate(1 minutes)", "rate(12 hours)", "rate(30 days)", "cron(0 3 * * ? *)",
        "cron(0/15 8-17 ? * MON-FRI *)", "cron(0,30 8 1,15 JAN,JUL ? 2026-2030)", "cron(0 8 L * ? *)",
        "cron(0 8 15W * ? *)", "cron(0 8 ? * 6L *)", "cron(0 8 ? * MON#1 *)", "cron(*/1 * ? * * *)",
        "cron(0 8 1 JAN,FEB,MAR,APR,MAY,JUN,JUL,AUG,SEP,OCT,NOV,DEC ? *)",
        "cron(0 8 ? * SUN,MON,TUE,WED,THU,FRI,SAT *)",
    ],
)  # fmt: skip
def test_an_expression_of_scheduler_is_allowed(expression: str) -> None:
    assert ScheduleTrigger(name="it", expression=expression).expression == expression


def test_names_of_queues_and_topics_have_letters_of_both_cases_digits_dashes_and_underlines() -> None:
    QueueTrigger(name="it", queue=f"{SQS}:aZ09-_")
    TopicTrigger(name="it", topic=f"{SNS}:aZ09-_")


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("5 minutes", "must be rate"),
        ("rate(0 minutes)", "must be rate"),
        ("rate(5 weeks)", "must be rate"),
        ("cron(0 3 * * *)", "with six fields"),
        ("cron(60 3 * * ? *)", "has '60' as minutes; it must be values from 0 to 59"),
        ("cron(0 24 * * ? *)", "has '24' as hours"),
        ("cron(0 3 32 * ? *)", "has '32' as day of the month"),
        ("cron(0 3 * XXX ? *)", "has 'XXX' as month"),
        ("cron(0 3 ? * 8 *)", "has '8' as day of the week"),
        ("cron(0 3 * * ? 1969)", "has '1969' as year"),
        ("cron(0/0 3 * * ? *)", "has '0/0' as minutes"),
        ("cron(0 3 * * * *)", "must have ? as either the day of the month or the day of the week"),
        ("cron(0 3 ? * ? *)", "must have ? as either"),
    ],
)
def test_another_expression_is_refused(expression: str, words: str) -> None:
    (line,) = refusals({**NIGHTLY, "expression": expression})
    assert line.startswith("triggers[0].expression: ")
    assert words in line


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"retries": 3}, "retries", "from 0 to 2"),
        ({"maximumAge": 59}, "maximumAge", "from 60 to 21600"),
        ({"maximumAge": 21_601}, "maximumAge", "from 60 to 21600"),
        ({"onSuccess": "arn:aws:s3:::bucket"}, "onSuccess", "an SNS topic (neither FIFO), a Lambda function"),
        ({"onFailure": f"{FAILED}.fifo"}, "onFailure", "an event bus or an S3 bucket"),
    ],
)
def test_wrong_settings_of_asynchronous_calls_are_refused(settings: dict[str, Any], key: str, words: str) -> None:
    (line,) = refusals(asynchronous=settings)
    assert line.startswith(f"asynchronous.{key}: ")
    assert words in line


@pytest.mark.parametrize(
    "destination",
    [
        FAILED, f"{SNS}:done", f"{ARN}2:live", "arn:aws:events:us-east-1:222222222222:event-bus/default",
        "arn:aws:s3:::failed-events",
    ],
)  # fmt: skip
def test_all_destinations_of_lambda_are_allowed(destination: str) -> None:
    assert read(stack_file("consumer", function={"asynchronous": {"onFailure": destination}}))


@pytest.mark.parametrize(("option", "value"), [("name", "orders"), ("queue", f"{SQS}:orders")])
def test_two_triggers_do_not_share_a_name_or_a_queue(option: str, value: str) -> None:
    other = {**ORDERS, "name": "second", "queue": f"{SQS}:second", option: value}
    assert refusals(ORDERS, other) == [f"triggers[1].{option}: is also used by another trigger."]


def test_what_is_no_section_is_refused() -> None:
    (line,) = refusals("orders")  # type: ignore[arg-type]  # as a stack file may have it
    assert line.startswith('triggers[0]: "orders" is not allowed; it must be a section with a type: schedule, queue')


def test_all_that_is_wrong_is_said_at_once() -> None:
    lines = refusals({**ORDERS, "batchSize": 11}, {**NIGHTLY, "expression": "daily", "timeZone": "Mars"}, timeout=0)
    assert {line.partition(":")[0] for line in lines} == {
        "timeout", "triggers[0].batchSize", "triggers[1].expression", "triggers[1].timeZone",
    }  # fmt: skip


def test_a_program_names_the_options_in_its_own_spelling() -> None:
    with pytest.raises(InvalidArgument, match="QueueTrigger.batch_size: must be at most 10, or `window` at least 1"):
        QueueTrigger(name="it", queue=f"{SQS}:orders", batch_size=11)
    assert EventsTrigger(name="it", pattern={"detail": {"a": [{"exists": False}]}}).bus == "default"
    assert TopicTrigger(name="it", topic=f"{SNS}:news", filter={"$or": [{"a": ["b"]}]}).filter
