"""Triggers on the engine: events reach the function, and failed events reach their failure destination.

`docs/local-cloud.md` lists what the emulator does not support. `tests/unit/test_triggers.py` tests the inputs for it.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

import pytest

from tests.engine.clone import Clone

# A schedule runs at most once a minute, and the emulator checks it every ten seconds.
SECONDS = 120
FUNCTION = "cross-account-function"
APP = '''"""Writes each event to its log, and fails if one says so."""

import json


def handler(event, context):
    """Answer anything but an event that is to fail."""
    text = json.dumps(event)
    print("arrived", text)
    failed = [one["messageId"] for one in event.get("Records", []) if "one-fails" in one.get("body", "")]
    if "all-fails" in text:
        raise ValueError(text)
    return {"batchItemFailures": [{"itemIdentifier": one} for one in failed]}
'''
TRIGGERS = [
    {"type": "queue", "name": "orders", "queue": "arn:aws:sqs:us-east-1:222222222222:orders", "partialFailures": True},
    {
        "type": "topic",
        "name": "news",
        "topic": "arn:aws:sns:us-east-1:222222222222:news",
        "filter": {"kind": ["order"]},
    },
    {"type": "events", "name": "created", "pattern": {"source": ["shop"]}},
    {"type": "schedule", "name": "often", "expression": "rate(1 minute)", "input": {"task": "scheduled"}},
    {"type": "schedule", "name": "fails", "expression": "rate(1 minute)", "input": {"task": "all-fails"}},
]
ASYNCHRONOUS = {"retries": 0, "onFailure": "arn:aws:sqs:us-east-1:222222222222:failed"}


@dataclass
class Triggered:
    """The deployed consumer with triggers.

    Attributes:
        clone: the clone.
        queues: the URL of each queue by name.
    """

    clone: Clone
    queues: dict[str, str]

    def client(self, service: str) -> Any:
        return self.clone.client("consumer", service)

    def arrives(self, *texts: str) -> None:
        """Wait until the function has logged all of these texts."""
        deadline = time.monotonic() + SECONDS
        while missing := [text for text in texts if text not in self.log()]:
            assert time.monotonic() < deadline, (missing, self.log())
            time.sleep(0.5)

    def log(self) -> str:
        events = self.client("logs").filter_log_events(logGroupName=f"/aws/lambda/{FUNCTION}")["events"]
        return "\n".join(event["message"] for event in events if "arrived" in event["message"])

    def send(self, *bodies: str) -> None:
        for body in bodies:
            self.client("sqs").send_message(QueueUrl=self.queues["orders"], MessageBody=body)

    def publish(self, message: str, kind: str = "order") -> None:
        attributes = {"kind": {"DataType": "String", "StringValue": kind}}
        topic = "arn:aws:sns:us-east-1:222222222222:news"
        self.client("sns").publish(TopicArn=topic, Message=message, MessageAttributes=attributes)

    def put(self, source: str, text: str) -> None:
        entry = {"Source": source, "DetailType": "created", "Detail": json.dumps({"order": text})}
        self.client("events").put_events(Entries=[entry])

    def received(self, queue: str) -> str:
        """Receive the next message of a queue."""
        deadline = time.monotonic() + SECONDS
        while True:
            found = self.client("sqs").receive_message(QueueUrl=self.queues[queue], WaitTimeSeconds=5)
            for message in found.get("Messages", []):
                self.client("sqs").delete_message(QueueUrl=self.queues[queue], ReceiptHandle=message["ReceiptHandle"])
                return str(message["Body"])
            assert time.monotonic() < deadline, (queue, self.log())

    def fails(self, *texts: str) -> None:
        """Wait until the failed events with all of these texts are in the queue for failed calls."""
        missing, deadline = set(texts), time.monotonic() + SECONDS
        while missing:
            assert time.monotonic() < deadline, (missing, self.log())
            failed = json.loads(self.received("failed"))
            assert failed["requestContext"]["condition"] == "RetriesExhausted"
            missing -= {text for text in missing if text in json.dumps(failed["requestPayload"])}


@pytest.fixture(scope="module")
def triggered(clone: Clone) -> Triggered:
    sqs, sns = clone.client("consumer", "sqs"), clone.client("consumer", "sns")
    redrive = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:222222222222:unread", "maxReceiveCount": "1"}
    queues = {name: sqs.create_queue(QueueName=name)["QueueUrl"] for name in ("failed", "unread")}
    # A failed message waits this long before it is moved.
    attributes = {"VisibilityTimeout": "10", "RedrivePolicy": json.dumps(redrive)}
    queues["orders"] = sqs.create_queue(QueueName="orders", Attributes=attributes)["QueueUrl"]
    sns.create_topic(Name="news")
    (clone.root / "app" / "app.py").write_text(APP)
    options = json.dumps({"triggers": TRIGGERS, "asynchronous": ASYNCHRONOUS, "alarms": {}})
    clone.edit("Pulumi.consumer.yaml", "{memory: 128, timeout: 3, architecture: x86_64}", options)
    assert clone.up("consumer")["create"] >= 12
    # A cold start may take longer than the message of the queue is invisible.
    clone.client("consumer", "lambda").invoke(FunctionName=FUNCTION)
    return Triggered(clone, queues)


def test_a_message_of_the_queue_arrives_and_one_that_fails_goes_where_the_queue_says(triggered: Triggered) -> None:
    triggered.send("first")
    triggered.arrives("first")
    triggered.send("this one-fails", "all-fails")
    assert {triggered.received("unread"), triggered.received("unread")} == {"this one-fails", "all-fails"}


def test_a_message_of_the_topic_arrives_if_the_filter_takes_it(triggered: Triggered) -> None:
    triggered.publish("not for it", kind="refund")
    # Calls run side by side: a wrong one also has the time until the second is logged.
    for text in ("news for it", "more news for it"):
        triggered.publish(text)
        triggered.arrives(text)
    assert "not for it" not in triggered.log()


def test_an_event_arrives_if_the_pattern_matches(triggered: Triggered) -> None:
    triggered.put("bank", "not of the shop")
    for text in ("of the shop", "more of the shop"):
        triggered.put("shop", text)
        triggered.arrives(f'"order": "{text}"')
    assert "not of the shop" not in triggered.log()


def test_an_asynchronous_call_that_fails_reaches_its_destination(triggered: Triggered) -> None:
    triggered.client("lambda").invoke(FunctionName=FUNCTION, InvocationType="Event", Payload=b'{"it": "all-fails"}')
    triggered.fails('"it": "all-fails"')


def test_a_refresh_finds_drift_of_a_queue_and_no_other_difference(triggered: Triggered) -> None:
    (mapping,) = triggered.client("lambda").list_event_source_mappings(FunctionName=FUNCTION)["EventSourceMappings"]
    triggered.client("lambda").update_event_source_mapping(UUID=mapping["UUID"], BatchSize=1)
    drift = triggered.clone.planned("consumer", refresh=True)
    assert drift == {"aws:lambda/eventSourceMapping:EventSourceMapping": "update"}


def test_a_message_an_event_and_a_schedule_that_fail_reach_the_destination_of_asynchronous_calls(
    triggered: Triggered,
) -> None:
    triggered.publish("news: all-fails")
    triggered.put("shop", "all-fails")
    triggered.fails("news: all-fails", '"order": "all-fails"', '"task": "all-fails"')


def test_a_schedule_calls_the_function_asynchronously_with_its_input(triggered: Triggered) -> None:
    triggered.arrives('{"task": "scheduled"}')


def test_with_a_release_queue_topic_and_events_call_the_alias(triggered: Triggered) -> None:
    triggered.clone.edit("Pulumi.consumer.yaml", '"alarms": {}', '"release": {}')
    triggered.clone.up("consumer")
    alias = triggered.client("lambda").get_alias(FunctionName=FUNCTION, Name="live")["AliasArn"]
    (mapping,) = triggered.client("lambda").list_event_source_mappings(FunctionName=FUNCTION)["EventSourceMappings"]
    assert mapping["FunctionArn"] == alias
    triggered.send("message by the alias")
    triggered.publish("topic by the alias")
    triggered.put("shop", "event by the alias")
    triggered.arrives("message by the alias", "topic by the alias", "event by the alias")
